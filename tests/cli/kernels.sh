#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet bench --kernels: figures that can be true, in every format, and a picture.
. "$(dirname "$0")/lib.sh"

expect 0 "JSON" bench --kernels --type q4_0 -t 1,2 -o json
check "JSON: kernels against their limits" /usr/bin/python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))
assert [(r["n_threads"], r["n_tokens"]) for r in rows] == \
    [(t, n) for t in (1, 2) for n in (1, 4, 512)], rows
for r in rows:
    assert r["type"] == "Q4_0" and r["n_cols"] == 4096, r
    weights = r["n_rows"] * r["n_cols"] / 32 * 18
    per_s = r["bytes_per_s"] / weights
    assert abs(r["ops_per_s"] / (2 * r["n_rows"] * r["n_cols"] * r["n_tokens"] * per_s) - 1) < 1e-6, r
    assert 1e6 < r["read_bytes_per_s"] < 1e13, r
' "$out"
expect 0 "table and picture" bench --kernels --type F16 -t 1 --roofline "$tmp/roof.svg"
check "table: a row for each number of tokens" sh -c "[ \$(grep -c '^| F16 ' $out) = 3 ]"
check "picture: well-formed, with a point for each row" /usr/bin/python3 -c '
import sys, xml.dom.minidom as m
d = m.parse(sys.argv[1])
assert len(d.getElementsByTagName("circle")) == 3' "$tmp/roof.svg"
LINNET_CPU=ref expect 0 "CSV of the reference, which has no peak" bench --kernels --type Q2_K -t 1 -o csv
check "CSV: keys and three rows" /usr/bin/python3 -c '
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert len(rows) == 3 and all(r["isa"] == "ref" and r["peak_ops_per_s"] == "" for r in rows), rows' "$out"
expect 1 "a type that is none" bench --kernels --type Q9_9
stderr_has "a type that is none: named" "no such type of weights (type, \"Q9_9\")"
expect 1 "a picture in a folder that is not there" bench --kernels --type F32 -t 1 --roofline "$tmp/none/x.svg"
stderr_has "a picture in a folder that is not there: named" "none/x.svg: cannot write"
done_testing
