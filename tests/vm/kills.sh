#!/bin/sh
# SPDX-License-Identifier: MIT
# The device is killed (kill -9) at random moments, under programs that use it: each of its
# guests' processes once, until none is left. Afterwards no program hangs, no memory of a
# buffer is left, the module unloads (so no job is left, and no fence), the kernel knows of
# no lost memory and complains of nothing. Prints TAP.
#
# usage: sh tests/vm/kills.sh [--kernel debug | base] [--kills N]
#
# A guest has 48 devices at most, so as many guests are booted as it takes. N is 6, or 1,000
# with LINNET_TEST_LONG=1. LINNET_SEED repeats the moments.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

flavour=debug kills=6
[ -z "${LINNET_TEST_LONG:-}" ] || kills=1000
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) flavour=$2 ;;
	--kills) kills=$2 ;;
	*) vm_die "unknown option $1" ;;
	esac
	shift 2
done
seed=${LINNET_SEED:-$$}
build=${LINNET_BUILD:-${O:-build}}
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-kills.XXXXXX")
trap 'vm_device_stop; rm -rf "$dir"' EXIT
done=0

# What runs in the guest: two programs at a time, until there is no device.
cat >"$dir/guest" <<END
shmem()
{
	sed -n 's/^Shmem: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

# they go while this looks
devices()
{
	for node in /dev/accel/accel*; do
		[ ! -c "\$node" ] || return 0
	done
	return 1
}

# 137: it had to be killed, so it hung
use()
{
	while devices; do
		timeout -s KILL 120 $build/linnet run -m tools/demo/linnet-demo.gguf -p '' -n 3000 \
			-c 4096 --ignore-eos --temp 0 -q --engine accel >/dev/null 2>&1
		[ \$? != 137 ] || exit 1
	done
}

# it works before it is killed
timeout -s KILL 120 $build/linnet run -m tools/demo/linnet-demo.gguf -p '' -n 8 --temp 0 -q \
	--engine accel >/dev/null || exit 8
before=\$(shmem)
: >/vm/out/ready
use & first=\$!
use & second=\$!
wait \$first && wait \$second || exit 9
sleep 1
after=\$(shmem)
echo "shared memory: \$before KiB before, \$after after" >&2
[ \$after -le \$((before + 64)) ]
END

# boot COUNT: a guest with as many devices; they are killed one after the other
boot()
{
	VM_DEVICE_LOG=$dir/device
	vm_device_start -t 1 --max-guests 64
	rm -rf "$dir/out"
	mkdir -p "$dir/out"
	devices=
	for _ in $(seq "$1"); do
		devices="$devices --device $VM_DEVICE_SOCKET:$VM_DEVICE_ID"
	done
	# what the kernel's own side of the socket says about its loss is not ours
	# shellcheck disable=SC2086
	sh tests/vm/guest.sh --kernel "$flavour" --allow 'drivers/virtio_uml.c' \
		--allow 'Call Trace' \
		--module "$module" $devices --see "$dir" --dir "$dir/out" --seconds 900 \
		". $dir/guest" >"$dir/said" 2>&1 &
	guest=$!
	while [ ! -e "$dir/out/ready" ] && kill -0 $guest 2>/dev/null; do
		sleep 0.1
	done
	sed -n 's/.*guest [0-9]*: connected (process \([0-9]*\)).*/\1/p' "$dir/device" >"$dir/pids"
	awk -v seed="$seed$done" 'BEGIN { srand(seed) }
		{ printf "%s %.3f\n", $1, rand() }' "$dir/pids" >"$dir/plan"
	while read -r pid seconds; do
		sleep "$seconds"
		kill -KILL "$pid" 2>/dev/null && done=$((done + 1))
	done <"$dir/plan"
	status=0
	wait $guest || status=$?
	vm_device_stop
	result $status "nothing is left when the device was killed ($done times by now)" "$dir/said"
	[ $status = 0 ] || echo "# LINNET_SEED=$seed"
}

while [ $done -lt "$kills" ]; do
	was=$done
	boot $((kills - done < 48 ? kills - done : 48))
	if [ $done = $was ]; then
		result 1 "there are devices to kill" "$dir/device"
		break
	fi
done
end_tests
