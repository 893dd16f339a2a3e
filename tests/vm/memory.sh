#!/bin/sh
# SPDX-License-Identifier: MIT
# What the host engine does with memory and disks that only a guest has: several memory
# nodes, a pool of huge pages, disks that fail, control groups of version 2 (these with a
# device, too). Prints TAP. Debian's own kernel in QEMU, but for the last.
#
# usage: sh tests/vm/memory.sh [nodes | faults | groups]
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

build=${LINNET_BUILD:-${O:-build}}
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac
linnet=$build/linnet
mkdir -p "$VM_OUT"
dir=$(mktemp -d "$VM_OUT/memory.XXXXXX")
trap 'vm_device_stop; rm -rf "$dir"' EXIT

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 77
}

# check NAME: a result of the guest's, a file with its status in it
check()
{
	status=1
	[ ! -s "$dir/out/$1" ] || status=$(cat "$dir/out/$1")
	result "$status" "$2" "$dir/out/$1.why"
}

status=0
sh tests/vm/stock.sh >/dev/null 2>"$dir/stock.err" || status=$?
[ $status != 77 ] || skip_all "Debian's kernel cannot be fetched ($(tail -n 1 "$dir/stock.err"))"
if [ $status != 0 ]; then
	result 1 "there is Debian's kernel" "$dir/stock.err"
	end_tests
fi
model=$dir/model.gguf
"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --preset llama --type q8_0 --layers 4 \
	--embd 512 --ff 1024 -o "$model" >/dev/null 2>"$dir/make_model" ||
	skip_all "models cannot be made ($(tail -n 1 "$dir/make_model"))"
run="run -m $model -p a -n 24 -c 256 --temp 0 --ignore-eos"
# shellcheck disable=SC2086
"$linnet" $run -q >"$dir/text" 2>/dev/null

# ----------------------------------------------------------------- memory nodes
group_nodes()
{
cat >"$dir/numa" <<END
linnet='$linnet' run='$run' dir='$dir'
END
cat >>"$dir/numa" <<'END'
# asked here, as it depends on the processor's kernels and on the number of threads
least=$("$linnet" plan -m $dir/model.gguf --memory 1M -c 256 -t 4 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')

# look NAME OPTION...: a text, and what the kernel says of the process in the middle of it
look()
{
	name=$1
	shift
	rm -f /tmp/text
	: >/tmp/text
	"$linnet" $run -t 4 --stats /tmp/stats "$@" >/tmp/text 2>/tmp/err &
	pid=$!
	while [ ! -s /tmp/text ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
	sleep 1
	cat /proc/$pid/numa_maps >/tmp/maps
	# the kernel's threads, which read for us, are its own affair
	for task in /proc/$pid/task/*; do
		grep -q iou- $task/comm || sed -n 's/^Cpus_allowed_list:.//p' $task/status
	done | sort >/tmp/cpus
	wait $pid
	cmp /tmp/text $dir/text >/tmp/cmp
	say $? $name-text /tmp/err /tmp/cmp
}

# say STATUS NAME FILE...
say()
{
	[ "$1" = 0 ] || cat $3 $4 >/vm/out/$2.why
	echo $1 >/vm/out/$2
}

# pages of ranges with the policy: on the first node, on the second; in kB
spread()
{
	awk '/ interleave:0-1 / {
		size = 4
		for (i = 1; i <= NF; i++)
			if ($i ~ /^kernelpagesize_kB=/) size = substr($i, 19)
		for (i = 1; i <= NF; i++) {
			if ($i ~ /^N0=/) a += substr($i, 4) * size
			if ($i ~ /^N1=/) b += substr($i, 4) * size
		}
	} END { print a + 0, b + 0 }' /tmp/maps
}

# both nodes have at least $1 kB, and neither has 4 MB more than the other
even()
{
	set -- $1 $(spread)
	echo "$2 and $3 kB, at least $1" >/tmp/spread
	[ $2 -ge $1 ] && [ $3 -ge $1 ] && [ $(($2 - $3)) -le 4096 ] && [ $(($3 - $2)) -le 4096 ]
}

"$linnet" info $dir/model.gguf >/tmp/info
grep -q '2 memory nodes' /tmp/info
say $? info /tmp/info

look auto
even 4000; say $? auto-spread /tmp/maps /tmp/spread
# the caller's own thread, and three that are kept: on nodes 1, 0, 1
printf '0\n0-1\n1\n1\n' | cmp - /tmp/cpus >/tmp/cmp; say $? auto-threads /tmp/cpus
grep -q '"n_nodes": 2' /tmp/stats; say $? auto-stats /tmp/stats

# almost half of the weights stays
look streamed --memory $((least + 4194304))
even 1000; say $? streamed-spread /tmp/maps /tmp/spread

look off --numa off
[ "$(spread)" = "0 0" ] && printf '0-1\n0-1\n0-1\n0-1\n' | cmp - /tmp/cpus >/tmp/cmp
say $? off-nothing /tmp/maps /tmp/cpus

echo 3 >/proc/sys/vm/nr_hugepages
look pool
awk '/ huge / { for (i = 1; i <= NF; i++) if ($i ~ /^N[01]=/) n += substr($i, 4) }
	END { exit n < 3 }' /tmp/maps
say $? pool-used /tmp/maps
grep -q '"pool_bytes": 6291456' /tmp/stats; say $? pool-stats /tmp/stats
look pool-streamed --memory $((least + 65536))
grep -q '^HugePages_Free: *3$' /proc/meminfo; say $? pool-back /proc/meminfo
exit 0
END
status=0
sh tests/vm/guest.sh --kernel stock --nodes 2 --see "$dir" --dir "$dir/out" --seconds 900 \
	". $dir/numa" >"$dir/said" 2>&1 || status=$?
result $status "a guest with two memory nodes comes to its end" "$dir/said"
check info "linnet info tells of two memory nodes"
check auto-text "memory nodes: the text of a machine of one"
check auto-spread "memory nodes: weights are on both, evenly"
check auto-threads "memory nodes: each thread but the caller's stays on the processors of one"
check auto-stats "memory nodes: the summary tells"
check streamed-text "memory nodes: the same text when weights are streamed"
check streamed-spread "memory nodes: the ring and what is resident are on both, evenly"
check off-text "--numa off: the same text"
check off-nothing "--numa off: no memory is spread, no thread is kept anywhere"
check pool-text "a pool of huge pages: the same text"
check pool-used "a pool of huge pages: weights take all of it, and other memory for the rest"
check pool-stats "a pool of huge pages: the summary tells"
check pool-streamed-text "a pool of huge pages: the same text when weights are streamed"
check pool-back "a pool of huge pages: it is whole again afterwards"
}

# ------------------------------------------------ control groups of version 2
# An automatic budget under the limit of a group above, and memory.high that is lowered and
# lifted while a text is written. In User-Mode Linux, which is faster and tells of no stalls:
# what the group's own events bring about.

# groups_of ENGINE OPTION...: the options are the guest's
groups_of()
{
engine=$1
shift
cat >"$dir/groups" <<END
linnet='$linnet' write='$write --engine $engine' dir='$dir' engine=$engine
END
cat >>"$dir/groups" <<'END'
say()
{
	[ "$1" = 0 ] || tail -n 20 $3 $4 >/vm/out/$2.why
	echo $1 >/vm/out/$2
}

# begin WHAT...: in the inner group
begin()
{
	rm -f /tmp/text
	: >/tmp/text
	sh -c 'echo $$ >/sys/fs/cgroup/outer/inner/cgroup.procs; exec "$0" "$@"' \
		"$linnet" $write --stats /tmp/stats "$@" >/tmp/text 2>/tmp/err &
	pid=$!
}

cd /sys/fs/cgroup || exit 1
mkdir outer
echo +memory >cgroup.subtree_control
echo +memory >outer/cgroup.subtree_control
mkdir outer/inner

# all of it would take more than that
total=$("$linnet" plan -m $dir/big.gguf -c 1024 -b 64 -t 2 --memory none \
	--engine $engine --json --no-probe |
	sed -n 's/^ *"total": \([0-9]*\),.*/\1/p')
echo $total >outer/memory.max
begin -n 24
got=0
wait $pid || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/auto >/tmp/cmp && grep -q '"plan_kept": true' /tmp/stats &&
	grep -q '"planned_pass_bytes": [1-9]' /tmp/stats
say $? auto /tmp/err /tmp/cmp
cat outer/memory.peak outer/memory.max outer/memory.events >/tmp/events
grep -q '^oom_kill 0$' outer/memory.events && [ "$(cat outer/memory.peak)" -le "$total" ]
say $? auto-peak /tmp/events
echo max >outer/memory.max

begin
while [ ! -s /tmp/text ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
sleep 2
all=$(cat outer/inner/memory.current)
# step by step: of a program that is far beyond, the kernel takes the code first
high=$all n=0
while [ $high -gt $((all - 16777216)) ]; do
	high=$((high - 2097152))
	echo $high >outer/inner/memory.high
	while [ "$(cat outer/inner/memory.current)" -gt $high ] && [ $n -lt 100 ]; do
		sleep 0.1
		n=$((n + 1))
	done
done
# and what may stay, stays; a ring that is new is empty at first
sleep 1
has=$(cat outer/inner/memory.current)
echo "$has bytes after $n tenths of a second and one more, $high of $all" >/tmp/high
[ $n -lt 100 ] && [ "$has" -gt $((high / 2)) ]
say $? high /tmp/high
# there is memory again
echo max >outer/inner/memory.high
n=0
while [ "$(cat outer/inner/memory.current)" -lt $((all - 2097152)) ] && [ $n -lt 600 ]; do
	sleep 0.1
	n=$((n + 1))
done
echo "$(cat outer/inner/memory.current) bytes after $n tenths of a second, of $all" >/tmp/lifted
[ $n -lt 600 ] && kill -0 $pid
say $? lifted /tmp/lifted
got=0
wait $pid || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/high >/tmp/cmp
say $? high-text /tmp/err /tmp/cmp
cat /tmp/high /tmp/lifted
exit 0
END
status=0
rm -rf "$dir/out"
sh tests/vm/guest.sh --kernel base --no-leaks --see "$dir" --see "$build" --dir "$dir/out" \
	--seconds 300 "$@" ". $dir/groups" >"$dir/said" 2>&1 || status=$?
result $status "$engine: a guest with control groups of version 2 comes to its end" "$dir/said"
check auto "$engine: an automatic budget is that of the group above: the text, and as planned"
check auto-peak "$engine: an automatic budget: the group's maximum is within its limit, no kill"
check high "$engine: memory.high is lowered: the group is below it soon, and uses what it may"
check lifted "$engine: memory.high is lifted: the memory is used again"
check high-text "$engine: memory.high is lowered and lifted: the same text"
}

group_groups()
{
big=$dir/big.gguf
"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --preset llama --type q8_0 --layers 12 \
	--embd 768 --heads 12 --kv-heads 1 --ff 3072 --vocab 2048 --no-tied -o "$big" \
	>/dev/null 2>"$dir/make_model"
write="run -m $big -p a -n 1000 -c 1024 -b 64 --temp 0 --ignore-eos --lookup 0"
# shellcheck disable=SC2086
"$linnet" $write -q >"$dir/high" 2>/dev/null
# shellcheck disable=SC2086
"$linnet" $write -n 24 -q >"$dir/auto" 2>/dev/null
groups_of host
# what a device computes with is memory of the group's, too
module=$(sh tests/vm/module.sh --kernel base)/driver/linnet.ko
vm_device_start
groups_of accel --module "$module" --device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID"
vm_device_stop
}

# -------------------------------------------------------------- disks that fail
# The model's file system lies on a device of the device mapper, whose table is changed
# while a text is written.
group_faults()
{
"$linnet" run -m "$model" -p a -n 400 -c 512 --temp 0 --ignore-eos -q >"$dir/long" 2>/dev/null
small=$dir/small.gguf
"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --preset llama --type q8_0 --layers 4 \
	--embd 64 --heads 2 --kv-heads 2 --ff 96 --ctx 2048 -o "$small" \
	>/dev/null 2>"$dir/make_model"
prompt=$(yes 'the little dog said so and' | head -n 90 | tr '\n' ' ')
"$linnet" run -m "$small" -p "$prompt" -n 20 -c 2048 --temp 0 --ignore-eos -q \
	>"$dir/cold" 2>/dev/null
mkdir "$dir/fs"
cp "$model" "$dir/fs/model.gguf"
if ! mke2fs -q -t ext4 -O ^has_journal -d "$dir/fs" "$dir/disk" 64M >"$dir/mke2fs" 2>&1; then
	result 1 "there is a file system with the model" "$dir/mke2fs"
	return
fi

# one block of weights that cannot be read the first time: by QEMU, as the device mapper
# does not forget
"${PYTHON:-/usr/bin/python3}" - "$model" "$dir/disk" >"$dir/blkdebug" <<'PY'
import sys
model, disk = (open(f, "rb").read() for f in sys.argv[1:])
at = disk.find(model[len(model) // 8192 * 4096:][:4096])
assert at >= 0 and at % 512 == 0
print(f'[inject-error]\nevent = "read_aio"\nerrno = "5"\nonce = "on"\nsector = "{at // 512}"')
PY
few=$("$linnet" plan -m "$model" --memory 1M -c 512 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')
cat >"$dir/faults" <<END
linnet='$linnet' dir='$dir' least=$few small='$small' prompt='$prompt'
END
cat >>"$dir/faults" <<'END'
say()
{
	[ "$1" = 0 ] || tail -n 20 $3 $4 >/vm/out/$2.why
	echo $1 >/vm/out/$2
}

for m in dm-mod dm-flakey; do
	xz -dc "$(find $VM_KERNEL/ -name $m.ko.xz | head -n 1)" >/tmp/$m.ko
	insmod /tmp/$m.ko || exit 1
done
disk=/dev/nvme0n1
sectors=$(blockdev --getsz $disk)
good="0 $sectors linear $disk 0"
broken="0 $sectors error"
lying="0 $sectors flakey $disk 0 0 1 2 random_read_corrupt 300000000"
# what lies on the disk is never to be had from the page cache
table()
{
	dmsetup suspend --noudevsync --nolockfs m && dmsetup load m --table "$1" &&
		dmsetup resume --noudevsync m
}
dmsetup create --noudevsync m --table "$good" || exit 1
mkdir -p /mnt
mount -o ro /dev/dm-0 /mnt || exit 1

# begin OPTION...: a text is being written, more than its beginning will not come
begin()
{
	rm -f /tmp/text
	: >/tmp/text
	"$linnet" run -m /mnt/model.gguf -p a -n 400 -c 512 --temp 0 --ignore-eos \
		--memory $((least + 300000)) --stats /tmp/stats "$@" >/tmp/text 2>/tmp/err &
	pid=$!
	while [ ! -s /tmp/text ] && kill -0 $pid 2>/dev/null; do sleep 0.1; done
	sleep 1
}

# What was written is the beginning of the text.
is_beginning()
{
	head -c "$(stat -c %s /tmp/text)" $dir/long | cmp - /tmp/text
}

# end NAME STATUS MESSAGE: how the text ends
end()
{
	got=0
	wait $pid || got=$?
	[ $got = $2 ] && is_beginning >/tmp/cmp 2>&1 && { [ -z "$3" ] || grep -q "$3" /tmp/err; }
	say $? $1 /tmp/err /tmp/cmp
}

# nobody but us tries again
echo 0 >/sys/module/nvme_core/parameters/max_retries
begin
got=0
wait $pid || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/long >/tmp/cmp && grep -q '"read_retries": [1-9]' /tmp/stats
say $? once /tmp/err /tmp/cmp
for how in '' --no-io-uring; do
	begin $how
	table "$broken"
	end "broken$how" 1 \
		'^linnet: /mnt/model.gguf: cannot read weights (offset, [0-9]*): Input/output error'
	table "$good"
done
begin --verify
table "$lying"
got=0
wait $pid || got=$?
is_beginning >/tmp/cmp 2>&1 && [ $got = 1 ] &&
	grep -q '^linnet: .*is not what was read at first' /tmp/err
say $? lying /tmp/err /tmp/cmp
table "$good"

mount -o remount,rw /mnt
begin
truncate -s 1M /mnt/model.gguf
end cut 1 '^linnet: /mnt/model.gguf: '

# ------------------------------------------------- disks that are full
mkdir -p /tiny /cold
# pages of this model take 256 KiB: one fits, and not two
mount -t tmpfs -o size=400k tmpfs /tiny
cold="run -m $small -n 20 -c 2048 -b 64 --temp 0 --ignore-eos"
got=0
"$linnet" $cold -p "$prompt" --kv-cache /tiny/kv >/tmp/text 2>/tmp/err || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/cold >/tmp/cmp && grep -q 'No space left' /tmp/err
say $? full-cache /tmp/err /tmp/cmp
got=0
"$linnet" $cold -p "$prompt" --kv-cache /tiny/kv >/tmp/text 2>/tmp/err || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/cold >/tmp/cmp && ! ls /tiny/kv/*.tmp >/dev/null 2>&1
say $? full-cache-again /tmp/err /tmp/cmp

truncate -s 2M /tmp/cold.img
mke2fs -q -t ext4 -O ^has_journal /tmp/cold.img
mount -o loop /tmp/cold.img /cold
dd if=/dev/zero of=/cold/all bs=4k 2>/dev/null
kv=$("$linnet" plan -m $small -c 2048 -b 64 --kv-memory 4096 --no-probe 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')
export TMPDIR=/cold
got=0
"$linnet" $cold -p "$prompt" --kv-memory $kv --stats /tmp/stats >/tmp/text 2>/tmp/err || got=$?
[ $got = 1 ] && grep -q 'No space left' /tmp/err &&
	head -c "$(stat -c %s /tmp/text)" $dir/cold | cmp - /tmp/text >/tmp/cmp
say $? full-cold /tmp/err /tmp/cmp
umount /cold
truncate -s 16M /tmp/cold.img
mke2fs -q -F -t ext4 -O ^has_journal /tmp/cold.img
mount -o loop /tmp/cold.img /cold
got=0
"$linnet" $cold -p "$prompt" --kv-memory $kv --stats /tmp/stats >/tmp/text 2>/tmp/err || got=$?
[ $got = 0 ] && cmp /tmp/text $dir/cold >/tmp/cmp && grep -q '"kv_bytes_written": [1-9]' /tmp/stats
say $? cold /tmp/err /tmp/cmp
exit 0
END
status=0
rm -rf "$dir/out"
sh tests/vm/guest.sh --kernel stock --see "$dir" --dir "$dir/out" \
	--disk "blkdebug:$dir/blkdebug:$dir/disk" --seconds 900 ". $dir/faults" \
	>"$dir/said" 2>&1 || status=$?
result $status "a guest whose disks fail comes to its end" "$dir/said"
check once "a read fails once: it is made again, and the text is right"
check broken "a disk breaks: an error that names file and offset, and no wrong text before it"
check broken--no-io-uring "a disk breaks, reads by threads: the same"
check lying "a disk lies: checksums find it, and no wrong text comes"
check cut "the model is cut: an error that names the file, and no wrong text before it"
check full-cache "no room for saved prefixes: said, and the same text"
check full-cache-again "no room for saved prefixes: the same text again, and no file half written"
check full-cold "no room for keys and values: an error that says so"
check cold "keys and values on a disk with room: the same text"
}

for group in ${*:-nodes faults groups}; do
	case $group in
	nodes | faults | groups) group_$group ;;
	*) vm_die "no such group ($group): nodes, faults or groups" ;;
	esac
done
end_tests
