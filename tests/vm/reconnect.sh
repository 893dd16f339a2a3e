#!/bin/sh
# SPDX-License-Identifier: MIT
# QEMU connects again (reconnect=1) to a device that was killed under a program and started
# anew: the program ends with an error and not by hanging, the next one computes what the
# host does, nothing is held and the module unloads. Several times in one guest. Prints TAP.
#
# usage: sh tests/vm/reconnect.sh [--kernel stock | sid-stock]
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/tap.sh
. tests/vm/device.sh

flavour=stock
[ "${1:-}" != --kernel ] || flavour=$2
rounds=4
[ -z "${LINNET_TEST_LONG:-}" ] || rounds=40
linnet=${LINNET_BUILD:-$PWD/${O:-build}}/linnet
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-reconnect.XXXXXX")
socket=$dir/device
mkdir -p "$dir/out"
device=
trap 'stop; rm -rf "$dir"' EXIT

# The device and the process that has the guest.
stop()
{
	[ -n "$device" ] || return 0
	# shellcheck disable=SC2046
	kill -KILL $(pgrep -P "$device") "$device" 2>/dev/null || :
	wait "$device" 2>/dev/null || :
	device=
}

start()
{
	"$linnet" device -s "$socket" >>"$dir/log" 2>&1 </dev/null &
	device=$!
	for _ in $(seq 300); do
		[ ! -S "$socket" ] || return 0
		sleep 0.2
	done
}

run='run -m tools/demo/linnet-demo.gguf -p Once --temp 0 -q'
# shellcheck disable=SC2086
"$linnet" $run -n 40 --engine host >"$dir/host"

cat >"$dir/guest" <<END
fail() { echo "round \$round: \$*" >&2; exit 1; }
for round in $(seq -s ' ' $rounds); do
	timeout -s KILL 300 $linnet $run -n -1 --ignore-eos -c 200000 --engine accel \
		>/tmp/endless 2>/tmp/err & endless=\$!
	until [ -s /tmp/endless ]; do
		kill -0 \$endless || fail "\$(cat /tmp/err)"
		sleep 0.1
	done
	: >/vm/out/ready.\$round
	status=0
	wait \$endless || status=\$?
	[ \$status = 1 ] && [ -s /tmp/err ] ||
		fail "the program under which it died: status \$status"
	until [ -e /vm/out/back.\$round ]; do sleep 0.1; done
	# it may not be connected yet
	for try in 1 2 3 4 5; do
		timeout -s KILL 200 $linnet $run -n 40 --engine accel >/tmp/text 2>/tmp/err && break
	done
	cmp /tmp/text $dir/host || fail "the next program: \$(cat /tmp/err)"
	rm /tmp/endless
done
cat /sys/kernel/debug/accel/*/linnet_state >/vm/out/state
grep -q '^held by the device 0' /vm/out/state && grep -q '^gone 0' /vm/out/state &&
	! grep -q '^context' /vm/out/state || fail "\$(cat /vm/out/state)"
END

start
status=0
sh tests/vm/guest.sh --kernel "$flavour" --reconnect --module "$module" --params virtio_id=2 \
	--device "$socket:$VM_DEVICE_ID" --dir "$dir/out" --see "$dir" --seconds 1800 \
	". $dir/guest" >"$dir/said" 2>&1 &
guest=$!
for round in $(seq $rounds); do
	until [ -e "$dir/out/ready.$round" ]; do
		kill -0 $guest 2>/dev/null || break 2
		sleep 0.1
	done
	stop
	rm -f "$socket"
	start
	: >"$dir/out/back.$round"
done
wait $guest || status=$?
tail -n 30 "$dir/said" "$dir/log" >"$dir/why"
result $status "a device that was killed and started anew serves the same guest ($rounds times)" \
	"$dir/why"
end_tests
