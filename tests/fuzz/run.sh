#!/bin/sh
# SPDX-License-Identifier: MIT
# Build the fuzz targets under the address and undefined behaviour sanitizers and
# run each for some time.
#
# usage: sh tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# SECONDS is per target (60). Targets are the files tests/fuzz/TARGET.c. With clang
# and its runtime they are built with libFuzzer; else with $CC and a driver that
# only mutates. Prints TAP; a failed target's input and log stay in build/fuzz.
# LINNET_FUZZ_ENGINE=driver forces the driver. O names the build folder.
set -eu
cd "$(dirname "$0")/../.."
O=${O:-build}/fuzz
PYTHON=${PYTHON:-/usr/bin/python3}
seconds=${1:-60}
[ $# -eq 0 ] || shift
case $seconds in
'' | *[!0-9]*) echo "usage: sh tests/fuzz/run.sh [SECONDS [TARGET...]]" >&2; exit 2 ;;
esac
jobs=$(nproc 2>/dev/null || echo 2)
mkdir -p "$O"

if [ $# -eq 0 ]; then
	for src in tests/fuzz/*.c; do
		base=${src##*/}
		[ "$base" = driver.c ] || set -- "$@" "${base%.c}"
	done
fi

san='-g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all'
vector='-O1 -fno-sanitize=undefined'
probe=$O/probe
echo 'int LLVMFuzzerTestOneInput(const void *p, unsigned long n) { return !p && n; }' >"$probe.c"
# A program that links may still lack its runtime: it must also run.
if [ "${LINNET_FUZZ_ENGINE:-}" != driver ] && command -v clang >/dev/null &&
   clang -fsanitize=fuzzer,address,undefined -o "$probe" "$probe.c" >"$O/probe.log" 2>&1 &&
   "$probe" -runs=1 >>"$O/probe.log" 2>&1; then
	engine=libFuzzer
	set -- "$@" -- CC=clang \
		"VECTOR_CFLAGS=$vector -fsanitize-address-outline-instrumentation" \
		"CFLAGS=-O1 $san -fsanitize=fuzzer-no-link" "LDFLAGS=-fsanitize=fuzzer"
else
	engine=driver
	set -- "$@" -- "VECTOR_CFLAGS=$vector --param asan-instrumentation-with-call-threshold=0" \
		"CFLAGS=-O1 $san" "LDFLAGS=$O/$engine/obj/tests/fuzz/driver.o"
fi
dir=$O/$engine
# Split the arguments again: targets, and what make gets.
targets=
while [ "$1" != -- ]; do
	targets="$targets $1"
	shift
done
shift
bins=
for t in $targets; do
	bins="$bins $dir/tests/fuzz/$t"
done
echo "# $engine, $seconds s for each of$targets"
# The driver is no library of the targets: it must be there before they are linked.
build()
{
	[ $engine = libFuzzer ] || make -s -j "$jobs" O="$dir" "$@" "$dir/obj/tests/fuzz/driver.o"
	# shellcheck disable=SC2086
	make -s -j "$jobs" O="$dir" "$@" $bins
}
if ! build "$@" >"$O/make.log" 2>&1; then
	tail -n 40 "$O/make.log" | sed 's/^/# /'
	echo "not ok 1 - build the targets"
	echo "1..1"
	exit 1
fi
"$PYTHON" tests/fuzz/seeds.py "$O/seeds"

# One target: its log ends with what the engine counted.
one()
{
	mkdir -p "$O/corpus/$1" "$O/seeds/$1"
	dict=
	[ ! -f "$O/seeds/$1.dict" ] || dict=-dict=$O/seeds/$1.dict
	rm -f "$O/$1-"*
	status=0
	# shellcheck disable=SC2086
	ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 \
		timeout -k 10 $((seconds + 120)) "$dir/tests/fuzz/$1" -max_total_time="$seconds" \
		-timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1 \
		-max_len=8192 \
		$dict -artifact_prefix="$O/$1-" "$O/corpus/$1" "$O/seeds/$1" >"$O/$1.log" 2>&1 ||
		status=$?
	echo "$status" >"$O/$1.status"
}

n=0
for t in $targets; do
	one "$t" &
	n=$((n + 1))
	[ $((n % jobs)) -ne 0 ] || wait
done
wait

n=0
failed=0
for t in $targets; do
	n=$((n + 1))
	status=$(cat "$O/$t.status")
	runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$O/$t.log" | tail -n 1)
	cover=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$O/$t.log" | tail -n 1)
	if [ "$status" -eq 0 ] && [ "${runs:-0}" -gt 0 ]; then
		echo "ok $n - fuzz $t: $runs inputs${cover:+, $cover places reached}"
		continue
	fi
	failed=1
	echo "not ok $n - fuzz $t: exit status $status"
	grep -n -m 1 -A 25 -E 'ERROR|SUMMARY|runtime error|not true' "$O/$t.log" | sed 's/^/# /'
	for f in "$O/$t-"*; do
		[ ! -f "$f" ] || echo "# the input is $f"
	done
done
echo "1..$n"
exit $failed
