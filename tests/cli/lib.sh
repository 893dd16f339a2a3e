# SPDX-License-Identifier: MIT
# Sourced by the tests of the linnet tool: TAP, and commands that are expected to
# end in a certain way. Runs in the root of the tree.
set -u
cd "$(dirname "$0")/../.." || exit 1

linnet=${LINNET_BUILD:-$PWD/build}/linnet
demo=tools/demo/linnet-demo.gguf
data=${LINNET_TEST_DATA:-../shared/data}
python=${PYTHON:-/usr/bin/python3}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-cli.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT
out=$tmp/stdout err=$tmp/stderr
count=0 failed=0

ok()
{
	count=$((count + 1))
	echo "ok $count - $*"
}

not_ok()
{
	count=$((count + 1))
	failed=$((failed + 1))
	echo "not ok $count - $*"
	[ ! -s "$err" ] || sed 's/^/# stderr: /' "$err" | head -n 10
	[ ! -s "$out" ] || head -c 400 "$out" | sed 's/^/# stdout: /' | head -n 10
}

skip()
{
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

# check WHAT COMMAND...: the command succeeds
check()
{
	what=$1
	shift
	if "$@"; then ok "$what"; else not_ok "$what"; fi
}

# expect STATUS WHAT ARGUMENTS...: linnet ends with the status; a failure says why in
# the form "linnet: ..." and nothing else than 0, 1 and 2 ever comes. Standard
# input is what the caller gives.
expect()
{
	status=$1 what=$2
	shift 2
	got=0
	timeout -k 5 120 "$linnet" "$@" >"$out" 2>"$err" || got=$?
	if [ "$got" -ne "$status" ]; then
		not_ok "$what: exit status $got, not $status"
		return 0
	fi
	if [ "$status" -ne 0 ] && ! grep -q '^linnet: ' "$err"; then
		not_ok "$what: no message"
		return 0
	fi
	ok "$what"
}

stderr_has()
{
	check "$1" grep -q -e "$2" "$err"
}

stdout_is()
{
	printf '%s' "$2" >"$tmp/expected"
	check "$1" cmp -s "$out" "$tmp/expected"
}

done_testing()
{
	echo "1..$count"
	[ "$failed" -eq 0 ] || exit 1
	exit 0
}

if [ ! -x "$linnet" ]; then
	echo "1..1"
	echo "not ok 1 - $linnet is not there"
	exit 1
fi
