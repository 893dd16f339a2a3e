#!/bin/sh
# SPDX-License-Identifier: MIT
# The test runner's own judgement: what counts as passed, failed and skipped.
. "$(dirname "$0")/lib.sh"

mkdir -p "$tmp/build/test-logs"
ln -s "$PWD/tests" "$tmp/tests"

# judged WHAT COUNTS COMMANDS: a test of these commands is counted "passed failed skipped"
judged()
{
	printf '#!/bin/sh\n%s\n' "$3" >"$tmp/test.sh"
	(cd "$tmp" && O=build LINNET_TEST_TIMEOUT=1 \
		sh "$tmp/tests/run.sh" --one x A=1 "sh $tmp/test.sh") >"$out" 2>"$err"
	check "$1" test "$(cat "$tmp/build/test-logs/x.count")" = "$2"
}
judged "passed" "2 0 0" 'echo "ok 1 - a"; echo "ok 2 - b"; echo 1..2'
judged "failed" "1 1 0" 'echo "ok 1 - a"; echo "not ok 2 - b"; echo 1..2; exit 1'
judged "skipped with a reason" "1 0 1" 'echo "ok 1 - a # SKIP no data"; echo "ok 2"; echo 1..2'
judged "skipped without a reason" "1 1 0" 'echo "ok 1 - a # SKIP"; echo "ok 2"; echo 1..2; exit 1'
judged "all skipped" "0 0 1" 'echo "1..0 # SKIP no data"; exit 77'
judged "status 77 without a reason" "0 1 0" 'exit 77'
judged "killed" "1 1 0" 'echo "ok 1 - a"; echo 1..1; kill -SEGV $$'
judged "an unknown status" "1 1 0" 'echo "ok 1 - a"; echo 1..1; exit 3'
judged "fewer than planned" "1 1 0" 'echo "ok 1 - a"; echo 1..2'
judged "no plan" "1 1 0" 'echo "ok 1 - a"'
judged "no output at all" "0 1 0" ':'
judged "failed, and status 0" "0 2 0" 'echo "not ok 1 - a"; echo 1..1'
judged "status 1 and nothing failed" "1 1 0" 'echo "ok 1 - a"; echo 1..1; exit 1'
judged "gives up" "0 1 0" 'echo "Bail out! no disk"; echo 1..0; exit 1'
judged "hangs" "0 1 0" 'sleep 5'
done_testing
