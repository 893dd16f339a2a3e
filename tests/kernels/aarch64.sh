#!/bin/sh
# SPDX-License-Identifier: MIT
# The AArch64 kernels on another machine: checkasm is cross-built and run under qemu, on
# a processor with all extensions, on one with SDOT and no SMMLA, and on one with none. On
# AArch64 itself checkasm runs as it is, and this test has nothing to add.
set -u
build=${LINNET_BUILD:-build}
cd "$(dirname "$0")/../.."

skip()
{
	echo "1..0 # SKIP $1"
	exit 77
}

case $(uname -m) in
aarch64) skip "this is AArch64: checkasm itself runs its kernels" ;;
esac
cc=aarch64-linux-gnu-gcc
command -v $cc >/dev/null || skip "no cross compiler ($cc, Debian package gcc-aarch64-linux-gnu)"
for qemu in qemu-aarch64-static qemu-aarch64 none; do
	! command -v $qemu >/dev/null || break
done
[ $qemu != none ] || skip "no emulator (qemu-aarch64, Debian package qemu-user-static)"

out=$build/aarch64
if ! make -s O="$out" CC=$cc AR=aarch64-linux-gnu-ar WERROR=-Werror CFLAGS="-O2" \
     "$out/tests/kernels/checkasm-static" >"$build/aarch64.log" 2>&1; then
	echo "1..1"
	echo "not ok 1 - cross build"
	head -n 30 "$build/aarch64.log" | sed 's/^/# /'
	exit 1
fi

n=0 status=0
# every CPU LEVELS ROUNDS: the kernels of these levels there
every()
{
	for level in $2; do
		n=$((n + 1))
		if $qemu -cpu "$1" "$out/tests/kernels/checkasm-static" --filter="$level/" \
		   --rounds="$3" >"$build/aarch64.log" 2>&1 &&
		   grep -q "^ok .* $level/matmul/Q4_0" "$build/aarch64.log"; then
			echo "ok $n - $1: $level"
		else
			echo "not ok $n - $1: $level"
			grep -v '^ok' "$build/aarch64.log" | tail -n 20 | sed 's/^/# /'
			status=1
		fi
	done
}
every max "neon dotprod i8mm" 20
every neoverse-n1 dotprod 8
every cortex-a53 neon 8
echo "1..$n"
exit $status
