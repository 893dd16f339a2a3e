#!/bin/sh
# SPDX-License-Identifier: MIT
# What the driver costs: of a job, and of a token. In a User-Mode Linux guest without
# debugging (tests/vm/kernel.sh base builds it), with `linnet device` beside it.
#
# usage: sh tests/bench/overhead.sh [-m MODEL] [-n TOKENS] [-t THREADS] [-j JOBS]
#
#   -m MODEL    a model (default: one of 15 M parameters in Q8_0, made here)
#   -n TOKENS   to write (default 256)
#   -t THREADS  of the device and of the host engine (default: the processors but one)
#   -j JOBS     for each line of the first two tables (default 20000)
#
# The first table is of the simulated device: driver alone. The second is of the device
# behind virtqueues: one at a time is a round trip. The third: a token, and the share of its
# time in which the device executes nothing, as the device itself counts (-v).
# The guest keeps the first processor and the device has the others: User-Mode Linux is
# several times slower where it is moved about.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh

model='' tokens=256 threads='' jobs=20000
first='' others=''
if [ "$(nproc)" -gt 1 ]; then
	first="taskset -c 0" others="taskset -c 1-$(($(nproc) - 1))"
fi
while getopts m:n:t:j: opt; do
	case $opt in
	m) model=$OPTARG ;;
	n) tokens=$OPTARG ;;
	t) threads=$OPTARG ;;
	j) jobs=$OPTARG ;;
	*) exit 2 ;;
	esac
done
[ -n "$threads" ] || threads=$(($(nproc) > 1 ? $(nproc) - 1 : 1))
build=${LINNET_BUILD:-${O:-build}}
[ -x "$build/tests/bench/submit" ] || make -s O="$build" selftests >&2
module=$(sh tests/vm/module.sh --kernel base)/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-overhead.XXXXXX")
trap 'vm_device_stop; rm -rf "$dir"' EXIT
if [ -z "$model" ]; then
	model=$dir/15m-q8_0.gguf
	"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --arch llama --layers 6 --embd 288 \
		--heads 6 --kv-heads 6 --ff 768 --vocab 32000 --ctx 2048 --tied --type q8_0 \
		-o "$model" >/dev/null
fi

guest()
{
	$first sh tests/vm/guest.sh --kernel base --no-leaks --module "$module" --memory 2G \
		--see "$dir" --see "$(dirname "$model")" --see "$build" --dir "$dir/out" "$@"
}

echo "A job of the simulated device:"
guest --params sim=1 "$build/tests/bench/submit $jobs"

VM_DEVICE_LOG=$dir/device
vm_device_start -v -t "$threads"
[ -z "$others" ] || taskset -a -p -c "${others##* }" "$VM_DEVICE_PID" >/dev/null
echo
echo "A job of linnet device:"
run="-m $model -p '' --temp 0 --ignore-eos -q"
guest --device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" "
	LINNET_TEST_NODE=/dev/accel/accel0 $build/tests/bench/submit $jobs
	for i in 1 2 3; do
		$build/linnet run $run -n 1 --engine accel >/dev/null || exit 1
		$build/linnet run $run -n $tokens --engine accel --stats /vm/out/stats.\$i \
			>/dev/null || exit 1
	done"
vm_device_stop
for i in 1 2 3; do
	$others sh -c \
		"$build/linnet run $run -n $tokens -t $threads --stats $dir/out/host.$i >/dev/null"
done

echo
echo "A token of $(basename "$model"), $threads threads:"
sed -n 's/.*context [0-9]*: \([0-9]*\) jobs took \([0-9.]*\) ms.*/\1 \2/p' "$dir/device" |
	tail -n 6 | paste -d ' ' - - >"$dir/contexts"
value()
{
	sed -n "s/.*\"$2\": *\([0-9.e+-]*\).*/\1/p" "$1"
}
printf '%-8s %12s %12s %12s %12s %10s\n' run 'us, accel' 'in device' 'outside' 'us, host' \
	'jobs/token'
i=0
while read -r n0 ms0 n ms; do
	i=$((i + 1))
	awk -v i=$i -v n="$((n - n0))" -v ms="$ms" -v ms0="$ms0" \
		-v tokens="$(value "$dir/out/stats.$i" decode_tokens)" \
		-v s="$(value "$dir/out/stats.$i" decode_s)" \
		-v hs="$(value "$dir/out/host.$i" decode_s)" 'BEGIN {
		# the first token is that of the prompt, while weights are read: not counted
		token = s / tokens * 1e6
		device = (ms - ms0) * 1e3 / tokens
		printf "%-8d %12.1f %12.1f %11.1f%% %12.1f %10.1f\n", i, token, device,
			100 * (1 - device / token), hs / tokens * 1e6, n / tokens
	}'
done <"$dir/contexts"
