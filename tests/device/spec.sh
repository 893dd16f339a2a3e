#!/bin/sh
# SPDX-License-Identifier: MIT
# Documentation/device-spec.rst: every MUST stands in a statement with a name, every name
# stands in a test, and every name in a test is one of a statement.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh

spec=Documentation/device-spec.rst
tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-spec.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT

name='[DR]-[A-Z]+(-[A-Z]+)*'
grep -oE "^:$name:" $spec | tr -d : >"$tmp/all"
sort -u "$tmp/all" >"$tmp/spec"
find tests/device tests/vm tests/kernels tests/selftests -type f ! -name spec.sh \
	-exec grep -ohE "\\b(D|R)-[A-Z]+(-[A-Z]+)*\\b" {} + | sort -u >"$tmp/tests"

test "$(wc -l <"$tmp/all")" -gt 60
result $? "there are statements" "$tmp/all"
sort "$tmp/all" | uniq -d >"$tmp/twice"
test ! -s "$tmp/twice"
result $? "no name is given twice" "$tmp/twice"
comm -23 "$tmp/spec" "$tmp/tests" >"$tmp/untested"
test ! -s "$tmp/untested"
result $? "each statement has a test" "$tmp/untested"
comm -13 "$tmp/spec" "$tmp/tests" >"$tmp/unknown"
test ! -s "$tmp/unknown"
result $? "each name in a test is a statement's" "$tmp/unknown"
# statements are the lines from ":NAME:" on that are indented after it
awk '/^:[DR]-/ { inside = 1 } !/^:[DR]-/ && !/^ / { inside = 0 }
	/MUST/ && !inside && !/RFC 2119/ && !/^MUST, MUST NOT/ { print FNR ": " $0 }' \
	$spec >"$tmp/loose"
test ! -s "$tmp/loose"
result $? "MUST is said in statements only" "$tmp/loose"
end_tests
