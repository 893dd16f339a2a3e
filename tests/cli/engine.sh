#!/bin/sh
# SPDX-License-Identifier: MIT
# --engine where there is no device: what is missing has a name. (With one: tests/vm.)
. "$(dirname "$0")/lib.sh"

if [ -e /dev/accel ]; then
	skip "engines without a device" "this machine has accelerator devices"
	done_testing
	exit
fi

expect 0 "run --engine host" run -m "$demo" -p a -n 3 --temp 0 --engine host
check "run --engine host: says so" grep -q "(host, " "$err"
cp "$out" "$tmp/host"
expect 0 "run --engine auto" run -m "$demo" -p a -n 3 --temp 0 --engine auto
check "run --engine auto: the host" grep -q "(host, " "$err"
check "run --engine auto: the same text" cmp -s "$out" "$tmp/host"
expect 2 "run with an engine that is none" run -m "$demo" -p a -n 3 --engine magic

expect 0 "info --devices" info --devices
check "info --devices: none, or why there can be none" \
	grep -q -e "no Linnet device" -e "built without libdrm" "$err"
expect 0 "info --devices --json" info --devices --json
check "info --devices --json: an empty list" [ "$(tr -d ' \n' <"$out")" = "[]" ]

for command in "run -p a" "logits -p a" plan "bench -p 1 -n 1"; do
	name=${command%% *}
	# shellcheck disable=SC2086
	expect 1 "$name --engine accel" $command -m "$demo" --engine accel
	check "$name --engine accel: what is missing" \
		grep -q -e "there is no Linnet device" -e "libdrm was not there" "$err"
done
expect 1 "run --engine accel --no-io-uring" run -p a -m "$demo" --engine accel --no-io-uring
check "run --engine accel --no-io-uring: what is missing" \
	grep -q -e "needs io_uring" -e "libdrm was not there" "$err"
done_testing
