#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/selftests/fields.c has a wrong value for each field of uapi/drm/linnet_accel.h that
# user space fills in. Prints TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-fields.XXXXXX") || exit 1
trap 'rm -rf "$tmp"' EXIT

# "@field: in: ..." in a structure; all fields of those that have no direction; an array
# is the two that a submission has.
awk '/^struct drm_linnet_[a-z_]+ \{/ {
		name = substr($2, 12)
		plain = name ~ /^(binding|sync|uring_cmd)$/
	}
	/^};/ { name = "" }
	name && match($0, /@[a-z_]+:/) {
		field = substr($0, RSTART + 1, RLENGTH - 2)
		if (name == "array") {
			print "submit." "bindings." field
			print "submit." "syncs." field
		} else if ((plain || $0 ~ /: in: /) &&
			   !(name == "submit" && field ~ /^(bindings|syncs)$/))
			print name "." field
	}' uapi/drm/linnet_accel.h | sort -u >"$tmp/fields"
sed -n 's/^\t\(WRONG\|ANY\)(\([a-z_]*\), \([a-z_.]*\).*/\2.\3/p
	s/^\tROW([A-Z]*, \([a-z_]*\), \([a-z_.]*\).*/\1.\2/p' tests/selftests/fields.c |
	sort -u >"$tmp/tested"

test "$(wc -l <"$tmp/fields")" -gt 40
result $? "there are fields" "$tmp/fields"
comm -23 "$tmp/fields" "$tmp/tested" >"$tmp/missing"
test ! -s "$tmp/missing"
result $? "each has a value that is refused, or takes any" "$tmp/missing"
comm -13 "$tmp/fields" "$tmp/tested" >"$tmp/unknown"
test ! -s "$tmp/unknown"
result $? "each that is tested is a field" "$tmp/unknown"
end_tests
