#!/bin/sh
# SPDX-License-Identifier: MIT
# The module's source, as people build and install it: `make modules` against the headers of
# Debian's kernels without a warning at W=1, sparse, checkpatch --strict, kernel-doc, DKMS, the
# documented parameters, and its size. No guest is booted. Prints TAP.
#
# usage: sh tests/vm/source.sh [KERNEL...]
#
# KERNEL is stock and sid-stock by default; one whose packages cannot be had is skipped.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/tap.sh

kernels=${*:-stock sid-stock}
mkdir -p "$VM_OUT"
tmp=$(mktemp -d "$VM_OUT/source.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# What the module is built of, in a folder of its own.
copy()
{
	mkdir -p "$1"
	cp -r Makefile Kbuild dkms.conf driver uapi "$1/"
	# the Makefile asks it for the version
	mkdir -p "$1/runtime/include/linnet"
	cp runtime/include/linnet/linnet.h "$1/runtime/include/linnet/"
	find "$1" \( -name '*.o' -o -name '*.ko' -o -name '*.mod*' -o -name '.*.cmd' \) -delete
}

# complaints LOG: what it says of our files, not of the kernel's own headers
complaints()
{
	grep -E 'warning:|WARNING:|error:' "$1" | grep -E "^($tmp/|driver/|WARNING: modpost)" || :
}

# find_sparse KERNEL FOLDER: one that understands the kernel's headers (it is silent after the
# first line that it does not), to $sparse; empty: there is none, and $why
find_sparse()
{
	sparse=$(command -v sparse || :) why="sparse is not there (Debian's package sparse)"
	case $1 in
	sid-*) ;;
	*) return 0 ;;
	esac
	echo 'static int f(const int *q) { __typeof_unqual__(*q) v = *q; return v; }' >"$tmp/word.c"
	if [ -n "$sparse" ] && ! "$sparse" "$tmp/word.c" 2>&1 | grep -q error; then
		return 0
	fi
	sparse=$2/sparse
	[ ! -x "$sparse" ] || return 0
	# that of the kernel's own suite, with its libraries
	sparse='' why="sparse of Debian's unstable suite cannot be had"
	lib=$2/libs/usr/lib/x86_64-linux-gnu
	mkdir -p "$tmp/debs"
	APT_CONFIG=$(sh tests/vm/sid.sh) || return 0
	(cd "$tmp/debs" && APT_CONFIG=$APT_CONFIG apt-get download -q sparse) >"$tmp/err" 2>&1 ||
		return 0
	dpkg-deb -x "$tmp/debs"/sparse*.deb "$tmp/debs"
	cp "$tmp/debs/usr/bin/sparse" "$2/sparse.elf"
	loader=
	[ ! -d "$lib" ] || loader="'$lib/ld-linux-x86-64.so.2' --library-path '$lib'"
	printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$loader" "$2/sparse.elf" >"$2/sparse.new"
	chmod 755 "$2/sparse.new"
	mv "$2/sparse.new" "$2/sparse"
	sparse=$2/sparse
}

# build KERNEL FOLDER
build()
{
	headers=$(readlink -f "$2/headers") release=$(basename "$(readlink -f "$2/modules")")
	# as in module.sh: what an older compiler or a machine without pahole cannot do
	options=CONFIG_DEBUG_INFO_BTF_MODULES=
	echo | ${CC:-gcc} -fmin-function-alignment=16 -x c -fsyntax-only - 2>/dev/null ||
		options="$options CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT="
	echo 'struct a { int n; int a[] __attribute__((counted_by(n))); };' |
		${CC:-gcc} -Werror -x c -fsyntax-only - 2>/dev/null ||
		options="$options KCFLAGS=-Wno-attributes"
	copy "$tmp/$1"
	find_sparse "$1" "$2"
	check=
	# not C=1: Debian's headers lack the script that looks whether sparse is new enough
	[ -z "$sparse" ] || check="KBUILD_CHECKSRC=1 CHECK=$sparse"
	status=0
	# shellcheck disable=SC2086
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u CFLAGS -u CPPFLAGS -u LDFLAGS \
		make -C "$tmp/$1" -j"$VM_JOBS" modules KDIR="$headers" CC="${CC:-gcc}" W=1 $check \
		$options >"$tmp/$1.log" 2>&1 || status=1
	[ -f "$tmp/$1/driver/linnet.ko" ] || status=1
	result $status "$1: make modules KDIR=... W=1 builds linnet.ko for $release" "$tmp/$1.log"
	complaints "$tmp/$1.log" >"$tmp/complaints"
	status=0
	[ ! -s "$tmp/complaints" ] || status=1
	if [ -n "$sparse" ]; then
		# it has looked at each file, or its silence says nothing
		missing=0
		for file in driver/*.c; do
			grep -q "CHECK *.*$file" "$tmp/$1.log" || missing=1
		done
		result $missing "$1: sparse has seen every file" "$tmp/$1.log"
		result $status "$1: no warning, of the compiler (W=1) or of sparse" \
			"$tmp/complaints"
	else
		result $status "$1: no warning of the compiler (W=1)" "$tmp/complaints"
		skip "$1: sparse" "$why"
	fi
}

# parameters KERNEL: those of the module are those that are documented
parameters()
{
	modinfo -F parm "$tmp/$1/driver/linnet.ko" | sed 's/:.*//' | sort >"$tmp/has"
	sed -n '/^Parameters/,/^Objects/s/^``\([a-z_]*\)`` .*/\1/p' Documentation/driver.rst |
		sort >"$tmp/documented"
	status=0
	[ -s "$tmp/has" ] && diff "$tmp/has" "$tmp/documented" >"$tmp/diff" || status=1
	result $status "every parameter of the module is documented, and no other" "$tmp/diff"
}

# with_dkms KERNEL: in trees of their own, add, build and install
with_dkms()
{
	if ! command -v dkms >/dev/null; then
		skip "dkms" "dkms is not there (Debian's package dkms)"
		return
	fi
	if [ "$(id -u)" != 0 ]; then
		skip "dkms" "dkms wants to be root"
		return
	fi
	source=$tmp/src/linnet-$(sed -n 's/^PACKAGE_VERSION="\(.*\)"/\1/p' dkms.conf)
	copy "$source"
	mkdir -p "$tmp/dkms" "$tmp/installed/$release"
	status=0
	for step in add build 'install --no-depmod'; do
		# shellcheck disable=SC2086
		dkms $step "linnet/${source##*-}" -k "$release" --kernelsourcedir "$headers" \
			--dkmstree "$tmp/dkms" --sourcetree "$tmp/src" \
			--installtree "$tmp/installed" >>"$tmp/dkms.log" 2>&1 </dev/null || status=1
	done
	module=$(find "$tmp/installed/$release/updates/dkms" -name 'linnet.ko*' 2>/dev/null)
	[ -n "$module" ] && modinfo -F vermagic "$module" | grep -q "^$release " || status=1
	result $status "dkms adds, builds and installs the module for $release" "$tmp/dkms.log"
}

# checkpatch of the newest kernel source that is there. What it is told not to say: a header
# of tracepoints has a shape of its own; BIT() and static_assert() are not for user space; one
# file asks for the kernel's version, so that no other does.
check_style()
{
	script=$(find "$VM_CACHE" -maxdepth 3 -path '*/scripts/checkpatch.pl' 2>/dev/null |
		sort -V | tail -n 1)
	if [ -z "$script" ] || ! command -v perl >/dev/null; then
		skip "checkpatch" \
			"no kernel source in $VM_CACHE yet (sh tests/vm/kernel.sh), or no perl"
		return
	fi
	: >"$tmp/style"
	# in a Git tree it leaves a file of its own; elsewhere it wants a folder of headers
	mkdir -p "$tmp/styled/include"
	: >"$tmp/styled/include/none.h"
	cp -r driver uapi "$tmp/styled"
	for file in driver/*.[ch] driver/tests/*.c uapi/drm/*.h uapi/linux/*.h; do
		ignore=NONE
		case $file in
		*_trace.h) ignore=OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT,SPACING ;;
		*_compat.h) ignore=LINUX_VERSION_CODE,CONSTANT_COMPARISON ;;
		uapi/*) ignore=BIT_MACRO,CAMELCASE,MACRO_ARG_REUSE ;;
		esac
		(cd "$tmp/styled" && perl "$script" --no-tree --root . --strict \
			--max-line-length=100 --terse --show-types --no-summary \
			--ignore "$ignore" -f "$file") \
			>>"$tmp/style" 2>&1 || :
	done
	status=0
	[ ! -s "$tmp/style" ] || status=1
	result $status "checkpatch --strict has nothing to say" "$tmp/style"
}

# Every comment for kernel-doc has all that it should, for the scripts of both kernels.
check_comments()
{
	for script in "$VM_CACHE"/linux-source-*/scripts/kernel-doc \
		"$VM_CACHE"/sid-source-*/tools/docs/kernel-doc; do
		[ -f "$script" ] || continue
		case $(head -n 1 "$script") in
		*python*) run=${PYTHON:-/usr/bin/python3} ;;
		*) run=perl ;;
		esac
		status=0
		"$run" "$script" -none -Wall -Werror driver/*.[ch] uapi/drm/*.h uapi/linux/*.h \
			>"$tmp/comments" 2>&1 || status=1
		source=${script#"$VM_CACHE/"}
		result $status "kernel-doc has nothing to say (${source%%/*})" "$tmp/comments"
		checked=yes
	done
	[ -n "${checked:-}" ] || skip "kernel-doc" \
		"no kernel source in $VM_CACHE yet (sh tests/vm/kernel.sh)"
}

# Small enough to be read in a day.
size()
{
	lines=$(cat driver/*.c driver/*.h | ${CC:-gcc} -fpreprocessed -dD -E -P -x c - 2>/dev/null |
		grep -vc '^[[:space:]]*$')
	status=0
	[ "$lines" -gt 2000 ] && [ "$lines" -le 4000 ] || status=1
	echo "$lines" >"$tmp/lines"
	result $status "the driver has at most 4,000 lines of code" "$tmp/lines"
}

built=
for kernel in $kernels; do
	status=0
	folder=$(vm_kernel "$kernel" 2>"$tmp/err") || status=$?
	case $status in
	0)	build "$kernel" "$folder"
		[ -n "$built" ] || { parameters "$kernel"; with_dkms; }
		built=yes ;;
	77)	skip "$kernel" "Debian's packages cannot be had ($(tail -n 1 "$tmp/err"))" ;;
	*)	result 1 "$kernel: there is a kernel" "$tmp/err" ;;
	esac
done
check_style
check_comments
size
end_tests
