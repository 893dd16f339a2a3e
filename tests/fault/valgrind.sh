#!/bin/sh
# SPDX-License-Identifier: MIT
# The demo model under valgrind: no use of unwritten or freed memory, no leak. AVX2 and
# reference kernels; this valgrind does not know AVX-512.
set -u
build=${LINNET_BUILD:-build}
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null; then
	echo "1..0 # SKIP valgrind is not installed"
	exit 77
fi
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0 status=0

# clean NAME ARGUMENT...: runs without a complaint
clean()
{
	name=$1
	shift
	n=$((n + 1))
	if valgrind -q --error-exitcode=9 --leak-check=full \
	   --errors-for-leak-kinds=definite,indirect,possible \
	   "$build/linnet" "$@" >"$tmp/out" 2>"$tmp/err"; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		grep '^==' "$tmp/err" | head -n 40 | sed 's/^/# /'
		status=1
	fi
}

levels="ref"
if LINNET_CPU=avx2 "$build/linnet" run -p Once -n 1 -q >"$tmp/out" 2>&1; then
	levels="ref avx2"
fi
for LINNET_CPU in $levels; do
	export LINNET_CPU
	clean "$LINNET_CPU: run" run -p "Once upon a time" -n 24 --temp 0
	clean "$LINNET_CPU: run, q8_0 cache, drafts, sampled" run -p "The cat and the dog and the" \
		-n 16 --seed 1 --kv-type q8_0 --lookup 4
	clean "$LINNET_CPU: bench" bench -p 16 -n 4 -r 1 -o json
done
clean "logits" logits --tokens 1,5,9 --all --raw
clean "tokenize" tokenize -p "Once upon a time"
clean "plan" plan
clean "info" info --json
echo "1..$n"
exit $status
