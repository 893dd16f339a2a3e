#!/bin/sh
# SPDX-License-Identifier: MIT
# The object files of a level use the instructions of that level alone: those of avxvnni have
# VEX-encoded vpdpbusd, those of avx2 none, and neither has anything of AVX-512, which machines
# of these levels lack. Few machines that build can run avxvnni, so its code is read.
set -u
build=${LINNET_BUILD:-build}

skip()
{
	echo "1..0 # SKIP $1"
	exit 77
}

case $(uname -m) in
x86_64) ;;
*) skip "the levels avx2 and avxvnni are x86's" ;;
esac
command -v objdump >/dev/null || skip "no objdump (Debian package binutils)"
set -- "$build"/obj/kernels/x86/*_avxvnni.o
[ -e "$1" ] || skip "no object files under $build"

n=0 status=0
# check NAME COMMAND...: the command must find nothing
check()
{
	n=$((n + 1)) name=$1
	shift
	if found=$("$@" | head -n 5) && [ -z "$found" ]; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		printf '%s\n' "$found" | sed 's/^/# /'
		status=1
	fi
}
code()
{
	objdump -d --no-show-raw-insn "$build"/obj/kernels/x86/*"_$1.o"
}
avx512()
{
	code "$1" | grep -E 'zmm|%[xy]mm(1[6-9]|2[0-9]|3[01])|%k[0-7]|\{evex\}'
}
other_vnni()
{
	code avxvnni | grep vpdp | grep -v -F '{vex}'
}
any_vnni()
{
	code avx2 | grep vpdp
}
files_without_vnni()
{
	for f in "$build"/obj/kernels/x86/*_avxvnni.o; do
		objdump -d --no-show-raw-insn "$f" | grep -q -F '{vex} vpdpbusd' || echo "$f"
	done
}
check "avxvnni: nothing of AVX-512" avx512 avxvnni
check "avxvnni: vpdpbusd is VEX-encoded" other_vnni
check "avxvnni: every file has it" files_without_vnni
check "avx2: nothing of AVX-512" avx512 avx2
check "avx2: no VNNI" any_vnni
echo "1..$n"
exit $status
