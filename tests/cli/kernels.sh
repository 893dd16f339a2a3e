#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet bench --kernels: figures that can be true, in every format, and a picture.
. "$(dirname "$0")/lib.sh"

expect 0 "JSON" bench --kernels --type q4_0 -t 1,2 -o json
check "JSON: kernels against their limits" /usr/bin/python3 -c '
import json, sys
rows = json.load(open(sys.argv[1]))
ran = [(t, op, n) for t in (1, 2) for op, n in
    (("matmul", 1), ("matmul", 4), ("matmul", 512), ("attention", 1), ("attention", 512))]
assert [(r["n_threads"], r["op"], r["n_tokens"]) for r in rows] == ran, rows
for r in rows:
    n, cols, tokens = r["n_rows"], r["n_cols"], r["n_tokens"]
    assert r["type"] == "Q4_0", r
    if r["op"] == "matmul":
        assert cols == 4096, r
        size, ops = n * cols / 32 * 18, 2 * n * cols * tokens
    else:
        # keys and values of 8 heads; 32 heads of queries, each token sees one position more
        assert cols == 128 and n == 4096 or tokens == 1, r
        size = 2 * 8 * n * cols / 32 * 18
        ops = 4 * 32 * cols * sum(range(n - tokens + 1, n + 1))
    per_s = r["bytes_per_s"] / size
    assert abs(r["ops_per_s"] / (ops * per_s) - 1) < 1e-6, r
    assert 1e6 < r["read_bytes_per_s"] < 1e13, r
' "$out"
expect 0 "table and picture" bench --kernels --type F16 -t 1 --roofline "$tmp/roof.svg"
check "table: a row for each number of tokens" \
	sh -c "[ \$(grep -c '^| matmul    | F16 ' $out) = 3 ] &&
	[ \$(grep -c '^| attention | F16 ' $out) = 2 ]"
check "picture: well-formed, with a point for each row" /usr/bin/python3 -c '
import sys, xml.dom.minidom as m
d = m.parse(sys.argv[1])
assert len(d.getElementsByTagName("circle")) == 5' "$tmp/roof.svg"
LINNET_CPU=ref expect 0 "CSV of the reference, which has no peak" bench --kernels --type Q2_K -t 1 \
	-o csv
check "CSV: keys and three rows" /usr/bin/python3 -c '
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))
assert len(rows) == 3, rows
assert all(r["isa"] == "ref" and r["peak_ops_per_s"] == "" for r in rows), rows' "$out"
expect 1 "a type that is none" bench --kernels --type Q9_9
stderr_has "a type that is none: named" "no such type of weights (type, \"Q9_9\")"
expect 1 "a picture in a folder that is not there" bench --kernels --type F32 -t 1 \
	--roofline "$tmp/none/x.svg"
stderr_has "a picture in a folder that is not there: named" "none/x.svg: cannot write"
done_testing
