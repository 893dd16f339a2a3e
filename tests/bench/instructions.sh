#!/bin/sh
# SPDX-License-Identifier: MIT
# Instructions that an AArch64 product of weights takes, per 1,024 multiplications and
# additions, counted by qemu: unpacking weights and writing results included, packing
# activations not. 64 rows of 1,024 columns. No measure of time: that is the processor's.
#
#   sh tests/bench/instructions.sh [-l dotprod,i8mm] [-n 8,32] [-t Q4_K,Q6_K]
set -eu
cd "$(dirname "$0")/../.."

levels=neon,dotprod,i8mm tokens=8,32 types=Q2_K,Q3_K,Q4_K,Q5_K,Q6_K,IQ4_XS
while getopts l:n:t: o; do
	case $o in
	l) levels=$OPTARG ;;
	n) tokens=$OPTARG ;;
	t) types=$OPTARG ;;
	*) exit 2 ;;
	esac
done
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null ||
	{ echo "instructions.sh: no $cc (Debian package gcc-aarch64-linux-gnu)" >&2; exit 1; }
for qemu in qemu-aarch64-static qemu-aarch64 none; do
	! command -v $qemu >/dev/null || break
done
[ $qemu != none ] ||
	{ echo "instructions.sh: no qemu-aarch64 (Debian package qemu-user-static)" >&2; exit 1; }
# one instruction in each piece of translated code; the option's name since qemu 8.1 comes first
step=-one-insn-per-tb
$qemu -help | grep -q -e "$step" || step=-singlestep

out=${LINNET_BUILD:-build}/aarch64
make -s O="$out" CC=$cc AR=aarch64-linux-gnu-ar CFLAGS="-O2" "$out/tests/kernels/checkasm-static"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-instructions.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
mkfifo "$tmp/log"
printf '%-8s %-8s %6s  %s\n' type level tokens "instructions per 1,024 products"
for type in $(echo "$types" | tr , ' '); do
	for level in $(echo "$levels" | tr , ' '); do
		# functions of the product, by name: qemu says which function an instruction is of
		aarch64-linux-gnu-nm "$out"/obj/kernels/arm/matmul_*_"$level".o |
			awk '$2 == "t" || $2 == "T" { print $3 }' | sort -u >"$tmp/names"
		for n in $(echo "$tokens" | tr , ' '); do
			$qemu $step -d nochain,exec -D "$tmp/log" -cpu max \
				"$out/tests/kernels/checkasm-static" --once="$n" \
				--filter="$level/matmul/$type" >"$tmp/out" &
			awk -v names="$tmp/names" -v n="$n" -v type="$type" -v level="$level" '
				BEGIN { while ((getline f < names) > 0) name[f] = 1 }
				$NF in name { count++ }
				END { if (!count) exit 1
				      printf "%-8s %-8s %6d  %.1f\n", type, level, n,
					     count / (64 * n) }' <"$tmp/log" ||
				{ echo "instructions.sh: $level has no $type" >&2; exit 1; }
			wait $!
		done
	done
done
