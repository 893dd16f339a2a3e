#!/bin/sh
# SPDX-License-Identifier: MIT
# --share on a device: processes hold the weights once, in buffers of the driver that they pass
# to each other. Any of them may be killed; the others write what they would have written alone.
# What is sent that is no such buffer is not used. Afterwards nothing is left. Prints TAP.
#
# usage: sh tests/vm/share.sh [--kernel NAME] [--rounds N]
#
# N, of three processes at once one of which is killed, is 6, or 100 with LINNET_TEST_LONG=1.
# LINNET_SEED repeats the moments.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

flavour=debug rounds=6
[ -z "${LINNET_TEST_LONG:-}" ] || rounds=100
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) flavour=$2 ;;
	--rounds) rounds=$2 ;;
	*) vm_die "unknown option $1" ;;
	esac
	shift 2
done
seed=${LINNET_SEED:-$$}
build=${LINNET_BUILD:-${O:-build}}
python=${PYTHON:-/usr/bin/python3}
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-share.XXXXXX")
trap 'vm_device_stop; rm -rf "$dir"' EXIT

mkdir -p "$dir/files" "$dir/out"
"$python" tests/tools/make_model.py --preset llama --type q8_0 --layers 4 --embd 512 --ff 1536 \
	-o "$dir/files/model.gguf" >/dev/null
weights=$(($(stat -c %s "$dir/files/model.gguf") / 1024))
mke2fs -q -t ext4 -d "$dir/files" "$dir/disk" 64M >"$dir/said" 2>&1
echo "{% for m in messages %}{{ m['content'] }} {% endfor %}" >"$dir/template"
printf 'Once upon a time\nand so on\n' >"$dir/lines"
awk -v seed="$seed" -v n="$rounds" \
	'BEGIN { srand(seed); while (n-- > 0) printf "%.3f\n", 1.5 * rand() }' >"$dir/moments"

# what all of them have to write
text="-c 256 --temp 0"
chat="chat $text --chat-template $dir/template -n 8"
# shellcheck disable=SC2086
"$build/linnet" run -m "$dir/files/model.gguf" $text -p Once -n 24 --engine host -q >"$dir/text"
# shellcheck disable=SC2086
"$build/linnet" $chat -m "$dir/files/model.gguf" --engine host <"$dir/lines" >"$dir/chat" \
	2>/dev/null
least=$("$build/linnet" plan -m "$dir/files/model.gguf" --memory 1 -c 256 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')

cat >"$dir/guest" <<GUEST
XDG_RUNTIME_DIR=/tmp/run
export XDG_RUNTIME_DIR
mkdir -m 700 /tmp/run
mkdir -p /mnt
for disk in /dev/ubda /dev/nvme0n1; do
	[ ! -b \$disk ] || mount -o ro \$disk /mnt
done
model="-m /mnt/model.gguf --engine accel"

# check WHAT COMMAND...: a result
check()
{
	what=\$1
	shift
	"\$@" && echo "ok \$what" >>/vm/out/results || echo "not ok \$what" >>/vm/out/results
}
memory()
{
	sed -n 's/^Shmem: *\([0-9]*\) kB/\1/p' /proc/meminfo
}
contexts()
{
	cat /sys/kernel/debug/accel/*/linnet_state | grep -c '^context'
}
# told KEY PROCESS: the sum over its files of the device, in KiB
told()
{
	cat /proc/\$2/fdinfo/* 2>/dev/null | awk -v key="drm-\$1-memory:" '
		/^drm-driver:/ { ours = \$2 == "linnet" }
		ours && \$1 == key { n += \$2 * (\$3 == "MiB" ? 1024 : \$3 == "KiB" ? 1 : 1 / 1024) }
		END { printf "%.0f\n", n }'
}
# number KEY: of the last run
number()
{
	sed -n "s/.*\"\$1\": *\([0-9]*\).*/\1/p" /tmp/stats
}
# writes OPTION...: a run writes the right text
writes()
{
	timeout -s KILL 200 $build/linnet run \$model $text -p Once -n 24 -q --stats /tmp/stats \
		"\$@" >/tmp/text 2>/tmp/err && cmp /tmp/text $dir/text ||
		{ cat /tmp/err >&2; false; }
}
reads_nothing()
{
	writes --share "\$@" && [ "\$(number bytes_read)" = 0 ] &&
		[ \$(number shared_bytes) -gt $((weights * 900)) ]
}
reads_all()
{
	writes --share "\$@" && [ \$(number bytes_read) -gt $((weights * 900)) ] &&
		[ "\$(number shared_bytes)" = 0 ]
}

# hold NAME FILE OPTION...: a process that has the weights, and waits for a line on that
# descriptor; its process is \$pid
hold()
{
	name=\$1 line=\$2
	shift 2
	rm -f /tmp/lines.\$name /tmp/chat.\$name
	mkfifo /tmp/lines.\$name
	$build/linnet $chat \$model "\$@" </tmp/lines.\$name >/tmp/chat.\$name 2>/tmp/err.\$name &
	pid=\$!
	eval "exec \$line>/tmp/lines.\$name"
	head -n 1 $dir/lines >&\$line
}
# held NAME: it has written its first answer
held()
{
	for try in \$(seq 600); do
		[ ! -s /tmp/chat.\$1 ] || break
		sleep 0.1
	done
	sleep 0.5
	[ -s /tmp/chat.\$1 ] || cat /tmp/err.\$1 >&2
}
# all of the memory that was taken: as much as by one alone, and for each the rest of it
holds_once()
{
	[ \$1 -le \$((2 * alone - $weights * 9 / 10)) ]
}

writes || exit 6
before=\$(memory)
hold alone 7; alone=\$pid; held alone
used=\$((\$(memory) - before))
kill -KILL \$alone; wait \$alone; exec 7>&-
for try in \$(seq 100); do
	[ \$(contexts) != 0 ] || break
	sleep 0.1
done
alone=\$used start=\$(memory)
check "alone: the weights are in memory (\$alone KiB)" [ \$alone -ge $((weights * 9 / 10)) ]

hold 1 8 --share; first=\$pid; held 1
hold 2 9 --share; second=\$pid; held 2
both=\$((\$(memory) - start))
check "two hold the weights once (\$both KiB; one alone: \$alone)" holds_once \$both
for p in \$first \$second; do
	shared=\$(told shared \$p) total=\$(told total \$p)
	check "fdinfo says so (shared \$shared KiB of \$total)" \
		[ \$shared -ge $((weights * 9 / 10)) -a \$shared -le \$total ]
done
check "a third reads nothing, and writes the same" reads_nothing
check "one that does not share writes the same beside them" writes
check "with all weights compared" writes --share --verify
check "with little memory" writes --share --memory $((least + 65536))

kill -KILL \$first; wait \$first; exec 8>&-
check "the first is killed: a third reads nothing, and writes the same" reads_nothing
tail -n 1 $dir/lines >&9
exec 9>&-
wait \$second
check "and the second goes on with the same text" cmp /tmp/chat.2 $dir/chat
check "when all have ended the next one reads" reads_all

hold 1 8 --share; first=\$pid
hold 2 9 --share; second=\$pid
held 1; held 2
both=\$((\$(memory) - start))
check "two that start at once hold the weights once, too (\$both KiB)" holds_once \$both
for i in 8 9; do tail -n 1 $dir/lines >&\$i; done
exec 8>&- 9>&-
wait \$first; wait \$second
check "and write the same" sh -c "cmp /tmp/chat.1 $dir/chat && cmp /tmp/chat.2 $dir/chat"

# another device, or the host, is another share
hold 1 8 --share; first=\$pid; held 1
check "the host engine takes nothing of it" reads_all --engine host
kill -KILL \$first; wait \$first; exec 8>&-

for kind in memfd udmabuf size; do
	rm -f /tmp/ready*
	hold 1 8 --share; first=\$pid; held 1
	timeout -s KILL 200 $python tests/vm/impostor.py /tmp/run /dev/accel/accel0 \$kind \
		/tmp/ready 2>/tmp/err.impostor & impostor=\$!
	for file in /tmp/ready.learned /tmp/ready; do
		for try in \$(seq 600); do
			[ ! -e \$file ] && kill -0 \$impostor || break
			sleep 0.1
		done 2>/dev/null
		[ \$file = /tmp/ready ] || { kill -KILL \$first; wait \$first; exec 8>&-; }
	done
	check "a peer that sends what is not to be used (\$kind)" [ -e /tmp/ready ]
	check "is not believed: the weights are read (\$kind)" reads_all
	wait \$impostor
	check "it has sent all that it had (\$kind)" [ \$? = 0 ]
	cat /tmp/err.impostor >&2
done

n=0 bad=0
while read -r seconds; do
	for i in 1 2 3; do
		$build/linnet run \$model $text -p Once -n 24 -q --share >/tmp/many.\$i \
			2>/tmp/err.\$i &
		eval "many\$i=\\\$!"
	done
	sleep \$seconds
	kill -KILL \$many1
	for i in 2 3; do
		eval "wait \\\$many\$i" && cmp /tmp/many.\$i $dir/text || {
			bad=\$((bad + 1))
			cat /tmp/err.\$i >&2
		}
	done
	wait \$many1
	n=\$((n + 1))
done <$dir/moments
check "three at once, one of them killed, \$n times: the same text" [ \$bad = 0 ]

rm -f /tmp/chat.* /tmp/err.* /tmp/lines.* /tmp/many.* /tmp/ready*
for try in \$(seq 600); do
	[ \$(contexts) != 0 ] || [ \$(memory) -gt \$((before + 64)) ] || break
	sleep 0.1
done
buffers=\$(sed -n 's/^Total \([0-9]*\) objects.*/\1/p' /sys/kernel/debug/dma_buf/bufinfo)
check "nothing is left (contexts \$(contexts), dma-bufs \$buffers, memory \$before KiB before and \
\$(memory) after)" [ \$(contexts) = 0 -a "\$buffers" = 0 -a \$(memory) -le \$((before + 64)) ]
check "and nothing held by the device" \
	grep -q '^held by the device 0' /sys/kernel/debug/accel/*/linnet_state
GUEST
: >"$dir/out/results"
VM_DEVICE_LOG=$dir/device
vm_device_start -v
status=0
# in QEMU the device has the id of a block device
params=
! vm_in_qemu "$flavour" || params=virtio_id=2
sh tests/vm/guest.sh --kernel "$flavour" --module "$module" --params "$params" \
	--device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" --disk "$dir/disk" --see "$dir" \
	--dir "$dir/out" --seconds $((1200 + 20 * rounds)) ". $dir/guest" >"$dir/said" 2>&1 ||
	status=$?
vm_device_stop
while read -r line; do
	case $line in
	ok*) result 0 "${line#ok }" ;;
	*) result 1 "${line#not ok }" "$dir/said" ;;
	esac
done <"$dir/out/results"
result $status "the guest comes to its end, and the kernel does not complain" "$dir/said"
[ $failed = 0 ] || echo "# LINNET_SEED=$seed"
end_tests
