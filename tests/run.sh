#!/bin/sh
# SPDX-License-Identifier: MIT
# Install what tests need, build with warnings as errors, run the whole suite.
#
# usage: sh tests/run.sh [--filter TEXT] [--quick | --long] [-j N] [--no-packages]
#
#   --filter TEXT   only tests whose name contains TEXT
#   --quick         no sanitizer build, no fuzzing, no repeats for other CPU levels, no guests
#   --long          fuzz for ten minutes a target instead of one (and LINNET_TEST_LONG=1)
#   -j N            build jobs, and tests at once (default: the number of CPUs)
#   --no-packages   do not look at packages
#
# A test is a program that prints TAP and exits with 0 (passed), 1 (failed) or 77
# (nothing could run). C tests are built from
# tests/{unit,kernels,model,fault,device}/*.c;
# *.py and *.sh of those folders and of tests/cli run as they are. Each finds in its
# environment: LINNET_BUILD (the folder with the programs), LINNET_TEST_DATA.
# The last line is "N passed, N failed, N skipped"; the exit status is 1 when
# anything failed. Logs stay in build/test-logs.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
O=${O:-build}
logs=$root/$O/test-logs

# --------------------------------------------------------------- one test
# sh tests/run.sh --one NAME ENVIRONMENT COMMAND: run, judge, print, and leave
# "passed failed skipped" in NAME.count. Called through xargs, several at once.
if [ "${1:-}" = --one ]; then
	name=$2 vars=$3 command=$4
	log=$logs/$(echo "$name" | tr '/: ' '___')
	start=$(date +%s.%N)
	status=0
	# shellcheck disable=SC2086
	env $vars timeout -k 10 "${LINNET_TEST_TIMEOUT:-900}" $command \
		>"$log.log" 2>"$log.err" </dev/null || status=$?
	end=$(date +%s.%N)
	awk -v status="$status" -v name="$name" -v time="$start $end" -v count="$log.count" \
	    -v log_file="$log.log" -v err_file="$log.err" '
	function lost(why) { failed++; say[++n] = "    not ok - " why }
	/^ok( |$)/ {
		seen++
		if (match($0, /# *[Ss][Kk][Ii][Pp]/)) {
			reason = substr($0, RSTART + RLENGTH)
			sub(/^ +/, "", reason)
			what = substr($0, 1, RSTART - 1)
			sub(/^ok *[0-9]* *-* */, "", what)
			sub(/ +$/, "", what)
			if (reason == "")
				lost(what ": skipped without a reason")
			else {
				skipped++
				say[++n] = "    skip   " what ": " reason
			}
		} else
			passed++
	}
	/^not ok( |$)/ { seen++; failed++; say[++n] = "    " $0; bad = 1; next }
	/^Bail out!/ { lost($0) }
	/^1\.\.[0-9]+/ {
		plan = substr($1, 4) + 0
		planned = 1
		if (plan == 0 && match($0, /# *[Ss][Kk][Ii][Pp] */)) {
			reason = substr($0, RSTART + RLENGTH)
			if (reason == "")
				lost("skipped without a reason")
			else {
				skipped++
				say[++n] = "    skip   " reason
			}
		}
	}
	# what a failed test says about itself follows its line
	bad && /^#/ { say[++n] = "    " $0; next }
	{ bad = 0 }
	END {
		if (status == 124 || status == 137)
			lost("ran out of time")
		else if (status == 1 && failed == 0)
			lost("exit status 1 without a failed test")
		else if (status != 0 && status != 1 && status != 77)
			lost("exit status " status)
		else if (status == 77 && skipped == 0)
			lost("exit status 77 without a reason")
		else if (status == 0 && failed > 0)
			lost("exit status 0 in spite of failures")
		if (!planned && status < 2)
			lost("ended before its plan")
		else if (planned && seen != plan)
			lost("planned " plan " and ran " seen)
		split(time, t, " ")
		printf "%-6s %-42s %5d passed%s%s %7.1f s\n",
			failed ? "FAIL" : passed ? "ok" : "skip", name, passed,
			failed ? ", " failed " failed" : "",
			skipped ? ", " skipped " skipped" : "", t[2] - t[1]
		for (i = 1; i <= n && i <= 60; i++)
			print say[i]
		if (n > 60)
			print "    ... " n - 60 " more in " log_file
		printf "%d %d %d\n", passed, failed, skipped > count
	}' "$log.log" >"$log.verdict"
	if grep -q '^FAIL' "$log.verdict" && [ -s "$log.err" ]; then
		tail -n 30 "$log.err" | sed 's/^/    | /' >>"$log.verdict"
	fi
	cat "$log.verdict"
	exit 0
fi

# ---------------------------------------------------------------- options
usage()
{
	echo "usage: sh tests/run.sh [--filter TEXT] [--quick | --long] [-j N] [--no-packages]"
}

filter='' quick=no long=no packages=yes
jobs=$(nproc 2>/dev/null || echo 2)
while [ $# -gt 0 ]; do
	case $1 in
	--filter)	[ $# -gt 1 ] || { usage >&2; exit 2; }; filter=$2; shift ;;
	--filter=*)	filter=${1#*=} ;;
	--quick)	quick=yes ;;
	--long)		long=yes ;;
	-j)		[ $# -gt 1 ] || { usage >&2; exit 2; }; jobs=$2; shift ;;
	-j*)		jobs=${1#-j} ;;
	--no-packages)	packages=no ;;
	-h | --help)	usage; exit 0 ;;
	*)		echo "tests/run.sh: unknown argument $1" >&2; usage >&2; exit 2 ;;
	esac
	shift
done
case $jobs in
'' | *[!0-9]* | 0) echo "tests/run.sh: not a number of jobs (-j, \"$jobs\")" >&2; exit 2 ;;
esac

say()
{
	echo "== $*"
}

# ------------------------------------------------------- packages and build
if [ $packages = yes ]; then
	say "packages"
	sh tools/packages.sh build test
	# without these the test that wants them says what is missing
	[ "$(uname -m)" = aarch64 ] || sh tools/packages.sh cross || :
fi

rm -rf "$logs"
mkdir -p "$logs"
total=$logs/total
: >"$total"

# A step that is not a test program counts as one test when it fails.
step_failed()
{
	echo "FAIL   $1"
	tail -n 40 "$2" | sed 's/^/    | /'
	echo "0 1 0" >>"$total"
}

# build FOLDER [VAR=VALUE...]: the library, the tool and the C tests
build()
{
	dir=$1
	shift
	say "build $dir"
	start=$(date +%s)
	name=$logs/build_$(echo "$dir" | tr / _)
	if ! make -j "$jobs" O="$dir" "$@" tests >"$name.log" 2>&1; then
		step_failed "build $dir" "$name.log"
		return 1
	fi
	echo "built in $(($(date +%s) - start)) s"
}

if ! build "$O" WERROR=-Werror; then
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi

programs=$(make -s O="$O" list-tests)

# Debian's python3, the one that python3-numpy is for, before any other.
PYTHON=/usr/bin/python3
[ -x $PYTHON ] || PYTHON=python3
LINNET_TEST_DATA=${LINNET_TEST_DATA:-$root/../shared/data}
export PYTHON LINNET_TEST_DATA
export PYTHONDONTWRITEBYTECODE=1
[ $long = no ] || export LINNET_TEST_LONG=1
[ $quick = no ] || export LINNET_TEST_QUICK=1

# --------------------------------------------------------------- the phases
list=$logs/list

# add NAME VARS COMMAND...: to the phase's list, unless filtered out
add()
{
	case $1 in
	*"$filter"*) ;;
	*) return 0 ;;
	esac
	name=$1 vars=$2
	shift 2
	printf '%s\0%s\0%s\0' "$name" "$vars" "$*" >>"$list"
}

# tests_of FOLDER BUILD PREFIX VARS [c]: every test of tests/FOLDER; c: programs only
tests_of()
{
	vars_all="LINNET_BUILD=$root/$2 $4"
	for test in $programs; do
		case $test in
		"$1"/*) add "$3$test" "$vars_all" "$root/$2/tests/$test" ;;
		esac
	done
	[ "${5:-}" != c ] || return 0
	for src in tests/"$1"/test_*.py; do
		[ ! -f "$src" ] || add "$3${src#tests/}" "$vars_all" "$PYTHON $src"
	done
	for src in tests/"$1"/*.sh; do
		case $src in
		*'*'* | */lib.sh) ;;
		*) add "$3${src#tests/}" "$vars_all" "sh $src" ;;
		esac
	done
}

# Run the list, several at once.
run_phase()
{
	[ -s "$list" ] || return 0
	say "$1 ($(tr -cd '\0' <"$list" | wc -c | awk '{ print $1 / 3 }') programs)"
	xargs -0 -n 3 -P "${2:-$jobs}" sh "$root/tests/run.sh" --one <"$list" || {
		echo "FAIL   $1: the runner itself"
		echo "0 1 0" >>"$total"
	}
	: >"$list"
}
export O
: >"$list"

for folder in unit kernels fault device; do
	tests_of $folder "$O" '' ''
	run_phase $folder
done
tests_of model "$O" '' ''
run_phase "model"
tests_of cli "$O" '' ''
run_phase "command line"

if [ $quick = no ]; then
	for level in ref avx2; do
		tests_of model "$O" "$level:" "LINNET_CPU=$level" c
	done
	run_phase "models at other CPU levels"

	san='-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer'
	# checks as calls: inline they make the compiler take minutes for vector code
	if build "$O/asan" CFLAGS="$san --param=asan-instrumentation-with-call-threshold=0" \
		KERNEL_OPT=-O1; then
		# 99: no status of a program under test
		vars="ASAN_OPTIONS=detect_leaks=1:exitcode=99:allocator_may_return_null=1 \
UBSAN_OPTIONS=print_stacktrace=1:exitcode=99 LINNET_SANITIZER=1"
		# the longest first, so that none is left alone at the end
		for folder in model unit kernels fault device; do
			tests_of $folder "$O/asan" asan: "$vars" c
		done
		for test in run streams json tokenize chat usage; do
			add "asan:cli/$test.sh" "LINNET_BUILD=$root/$O/asan $vars" \
				"sh tests/cli/$test.sh"
		done
		run_phase "address and undefined behaviour sanitizers"
	fi

	# The driver, in guests with a kernel of their own (tests/vm). The first run builds
	# that kernel.
	LINNET_TEST_TIMEOUT=3600
	export LINNET_TEST_TIMEOUT
	for half in driver device; do
		add vm:$half "LINNET_BUILD=$root/$O O=$O VM_JOBS=$jobs" "sh tests/vm/run.sh $half"
	done
	run_phase "driver, in guests"

	# it runs its targets side by side itself, and limits its own time
	seconds=60
	[ $long = no ] || seconds=600
	LINNET_TEST_TIMEOUT=7200
	export LINNET_TEST_TIMEOUT
	add fuzz "O=$O" "sh tests/fuzz/run.sh $seconds"
	run_phase "fuzzing, $seconds s for each target"
fi

# ------------------------------------------------------------------ the sum
find "$logs" -name '*.count' -exec cat {} + >>"$total"
awk '{ p += $1; f += $2; s += $3 }
END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$total"
