#!/bin/sh
# SPDX-License-Identifier: MIT
# The driver and devices behind virtqueues: one that is good, and some that lie. Prints
# TAP. A name in front of a test is a statement of Documentation/device-spec.rst. In each
# guest, the kernel must have nothing to complain of.
#
# usage: sh tests/vm/virtio.sh [--kernel NAME]
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

flavour=debug
[ "${1:-}" != --kernel ] || flavour=$2
build=${LINNET_BUILD:-${O:-build}}
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-virtio.XXXXXX")
liar=
trap '[ -z "$liar" ] || kill $liar 2>/dev/null; vm_device_stop; rm -rf "$dir"' EXIT
model=tools/demo/linnet-demo.gguf
run="NO_COLOR=1 $build/linnet run -m $model -p 'Once upon a time' --temp 0 -q --engine"

# guest SOCKET OPTION... COMMAND: status in $status, output in $dir/out, the end of all that was
# said in $dir/why
guest()
{
	socket=$1
	shift
	status=0
	sh tests/vm/guest.sh --kernel "$flavour" --module "$module" \
		--device "$socket:$VM_DEVICE_ID" \
		--seconds 900 "$@" >"$dir/out" 2>"$dir/said" || status=$?
	{ tail -n 40 "$dir/said"; tail -n 10 "$dir/out"; } >"$dir/why"
}

# ------------------------------------------------------------- a good device
sh -c "$run host -n 60" >"$dir/host" 2>/dev/null
VM_DEVICE_LOG=$dir/device vm_device_start -v
same="$run accel -n 60 >/tmp/text && cmp /tmp/text $dir/host"
guest "$VM_DEVICE_SOCKET" --see "$dir" "for i in 1 2 3; do $same || exit 1; done
	$run auto -n 60 --stats /tmp/stats >/tmp/text && cmp /tmp/text $dir/host || exit 2
	grep -q '\"engine\": *\"accel\"' /tmp/stats || exit 3
	$build/linnet info --devices | grep -q /dev/accel/accel0 || exit 4"
result $status "a model writes in a guest what it writes on the host; auto takes the device" \
	"$dir/why"
jobs=$(sed -n 's/.*context [0-9]*: \([0-9]*\) jobs took.*/\1/p' "$dir/device" | tail -n 1)
[ "${jobs:-1000}" -le 80 ] && bad=0 || bad=1
result $bad "a token is one job, when all weights are in memory ($jobs jobs for 60 tokens)" \
	"$dir/device"
grep -q "failed with status" "$dir/device" && bad=1 || bad=0
result $bad "R-REQ-RESERVED, R-RES-JOBS: no request of the driver was refused" "$dir/device"
grep -q "ended with status" "$dir/device" && bad=1 || bad=0
result $bad "R-JOB-BUFFERS: no submission was, either" "$dir/device"

guest "$VM_DEVICE_SOCKET" --see "$dir" "for i in 1 2 3 4; do $run accel -n 400 >/dev/null & done
	sleep 1; kill -9 %1 %3; wait; $same"
result $status "R-RES-PAGES: programs are killed in the middle of jobs, and the next one runs" \
	"$dir/why"

# Weights that do not fit are read again in every pass, while jobs run, past the page cache:
# what is in there afterwards is what reading the file's head alone brings in. Jobs of many
# tokens last longer than the reads of one piece: reads begin beside them.
mkdir -p "$dir/files"
"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --preset llama --type q8_0 --layers 4 \
	--embd 512 --ff 1024 -o "$dir/files/model.gguf" >/dev/null 2>"$dir/said"
least=$("$build/linnet" plan -m "$dir/files/model.gguf" --memory 1 -c 512 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')
yes word | head -n 120 | tr '\n' ' ' >"$dir/prompt"
mke2fs -q -t ext4 -d "$dir/files" "$dir/disk" 64M >"$dir/said" 2>&1
cat >"$dir/read" <<END
mkdir -p /mnt
mount -o ro /dev/ubda /mnt
t=/sys/kernel/tracing
echo counter >\$t/trace_clock
echo 8192 >\$t/buffer_size_kb
for event in linnet/linnet_job_run linnet/linnet_job_done block/block_rq_issue; do
	echo 1 >\$t/events/\$event/enable
done
$build/linnet info -m /mnt/model.gguf >/dev/null
before=\$(fincore -n -o PAGES /mnt/model.gguf)
$build/linnet run -m /mnt/model.gguf -f $dir/prompt -n 2 -c 512 -b 128 --temp 0 \
	--memory $((least + 65536)) --engine accel --stats /tmp/stats >/dev/null || exit 1
grep -q '"direct_io": *true' /tmp/stats || exit 2
after=\$(fincore -n -o PAGES /mnt/model.gguf)
awk '/linnet_job_run:/ { jobs++ } /linnet_job_done:/ { jobs-- }
	/block_rq_issue:.* RS? / { n++; during += jobs > 0 }
	END { print n + 0 " reads, " during + 0 " while a job ran"; exit during < 10 }' \$t/trace ||
	exit 3
echo "pages of the file in the page cache: \$before before, \$after after"
[ \$((after)) -le \$((before)) ] || exit 4
sed -n 's/.*linnet_job_run:.* job=\([0-9]*\) .*/\1/p' \$t/trace | sort | uniq -c |
	awk '{ jobs += \$1; n++ } END { print jobs + 0, "jobs had", n + 0, "numbers" }'
END
guest "$VM_DEVICE_SOCKET" --see "$dir" --disk "$dir/disk" ". $dir/read"
counts=$(grep -e 'while a job ran' -e 'in the page cache' "$dir/out" | paste -s -d ,)
result $status "weights are read into buffers while jobs run, past the page cache ($counts)" \
	"$dir/why"
numbers=$(grep 'jobs had' "$dir/out" || :)
echo "$numbers" | awk '{ exit !($1 > 0 && $1 == $4) }' && bad=0 || bad=1
result $bad "R-JOB-NUMBERS: no job has the number of another ($numbers)" "$dir/why"

# budgets NAME OPTION...: of a model; they change, and what the driver's buffers take follows. Then
# it is idle, and the kernel takes weights
budgets()
{
	name=$1
	shift
	"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --type q8_0 "$@" \
		-o "$dir/$name.gguf" >/dev/null 2>"$dir/said"
	guest "$VM_DEVICE_SOCKET" --see "$dir" --see "$build" \
		"$build/tests/vm/budget $dir/$name.gguf; bad=\$?
		$build/tests/vm/idle $dir/$name.gguf && exit \$bad"
	while read -r line; do
		text="budgets of a model ($name): ${line#* - }"
		case $line in
		ok*)	result 0 "$text" ;;
		not*)	result 1 "$text" "$dir/why" ;;
		esac
	done <"$dir/out"
	[ "$(grep -c '^1\.\.[1-9]' "$dir/out")" = 2 ] && [ $status -le 1 ] && bad=0 || bad=1
	result $bad "budgets of a model ($name): they come to their end" "$dir/why"
}

budgets dense --preset llama --layers 12 --embd 256 --heads 8 --kv-heads 2 --ff 1024 \
	--vocab 2048 --no-tied
budgets experts --preset qwen3moe --layers 4 --experts 16 --embd 256 --ff 256 --heads 4 \
	--kv-heads 2 --vocab 2048

# A person at a terminal thinks for longer than the chat waits, and memory is short meanwhile.
echo "Once upon a time" | "$build/linnet" chat -m $model --temp 0 -n 30 -q --engine host \
	>"$dir/reply"
cat >"$dir/person" <<END
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts 2>/dev/null
state=\$(echo /sys/kernel/debug/accel/*/linnet_state)
offered()
{
	for _ in \$(seq 300); do
		! grep -q 'purgeable pages [1-9]' \$state || return 0
		sleep 0.2
	done
}
{ offered; echo 2 >/proc/sys/vm/drop_caches; echo Once upon a time; echo /exit; } |
	NO_COLOR=1 script -qec "$build/linnet chat -m $model --temp 0 -n 30 --engine accel" /tmp/text
grep 'purged bytes [1-9]' \$state && grep -qF "\$(head -n 1 $dir/reply)" /tmp/text
END
guest "$VM_DEVICE_SOCKET" --see "$dir" ". $dir/person"
result $status "a chat that waits for a person: weights are taken, and its reply is the host's" \
	"$dir/why"

# io_uring is refused: by name, or done without
guest "$VM_DEVICE_SOCKET" --see "$dir" "echo 2 >/proc/sys/kernel/io_uring_disabled
	$run accel -n 5 2>/tmp/err && exit 1
	cat /tmp/err
	grep -q 'the accel engine needs io_uring, which is not used here: Operation not permitted' \
		/tmp/err &&
		$run auto -n 60 >/tmp/text && cmp /tmp/text $dir/host"
result $status "where io_uring is refused, accel says so and auto takes the host" "$dir/why"

if [ "${flavour#sid-}" = debug ]; then
	# with every allocation and copy of the driver's failing once
	guest "$VM_DEVICE_SOCKET" --seconds 900 \
		"LINNET_TEST_NODE=/dev/accel/accel0 $build/tests/selftests/sweep"
	result $status "each command with each of its allocations failing; nothing is lost" \
		"$dir/why"
fi
vm_device_stop

# -------------------------------------------------------------- liars
# lie LIE SEED COMMAND [OPTION...]: run it with such a device
lie()
{
	rm -f "$dir/socket"
	told=$1 number=$2 command=$3
	shift 3
	"$build/tests/vm/liar" "$dir/socket" "$told" "$number" 2>"$dir/liar" &
	liar=$!
	for _ in $(seq 300); do
		[ ! -S "$dir/socket" ] || break
		sleep 0.2
	done
	guest "$dir/socket" --see "$dir" "$@" --no-leaks "$command"
	kill $liar 2>/dev/null || :
	wait $liar 2>/dev/null || :
	liar=
}

lie version 1 'test ! -e /dev/accel/accel0'
result $status "R-CFG-VERSION: a version that is not known" "$dir/why"
lie limits 1 'test ! -e /dev/accel/accel0'
result $status "R-CFG-LIMITS: limits that are of no use" "$dir/why"
lie feature 1 'test ! -e /dev/accel/accel0'
result $status "R-FEAT-VERSION: a device of old" "$dir/why"
lie platform 1 "$same"
result $status "R-RES-PAGES: a device that sees DMA addresses (VIRTIO_F_ACCESS_PLATFORM)" \
	"$dir/why"
lie isa 1 "$run accel -n 20"
result $status "R-CFG-ISA: control characters for a name" "$dir/why"
# A device that lies when it is to be reset keeps the pages that it may use, and they keep
# the module, until the driver is unbound. Nobody is served well, and nobody hangs: KILL is the
# end of one that did. Jobs that are lost end by a short time limit.
some="for i in 1 2 3 4 5 6; do
	NO_COLOR=1 timeout -s KILL 120 ${run#* } accel -n 30 >/dev/null 2>/tmp/err
	[ \$? != 137 ] || exit 9; done; echo virtio0 >/sys/bus/virtio/drivers/linnet/unbind"
while read -r what number text; do
	says=
	[ "$what" != silent ] ||
		says='; cat /tmp/err; grep -q "gone, or failed and is not used until" /tmp/err'
	lie "$what" "$number" "$some$says" --params timeout_ms=500
	result $status "$text" "$dir/why"
done <<END
used 1 R-TRUST-USED: numbers of buffers at random
used 2 R-TRUST-USED: others
length 1 R-VQ-LENGTH: lengths at random
status 1 R-REQ-STATUS: statuses at random
twice 1 R-TRUST-USED: buffers that come back twice
index 1 R-TRUST-USED: indices that are ahead of what was used
silent 1 R-REQ-HANG, R-ERR-TIMEOUT: a device that falls silent, and what a program says then
END
# all of these mixed, with numbers that nobody has chosen
rounds=1
[ -z "${LINNET_TEST_LONG:-}" ] || rounds=50
first=${LINNET_SEED:-$$}
for number in $(seq "$first" $((first + rounds - 1))); do
	lie any "$number" "$some" --params timeout_ms=500
	result $status "R-TRUST-USED, R-VQ-LENGTH, R-REQ-STATUS: all lies at random" "$dir/why"
	[ $status = 0 ] || echo "# LINNET_SEED=$number"
done

end_tests
