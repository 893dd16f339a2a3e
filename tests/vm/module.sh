#!/bin/sh
# SPDX-License-Identifier: MIT
# Build kernel modules out of tree for a kernel of the bench; print the folder with them.
#
# usage: sh tests/vm/module.sh [--kernel NAME] [FOLDER]
#
# FOLDER has a Kbuild file; the default is the project's root, with Linnet's own module.
# The sources are copied to $O/vm/KERNEL/ first: the checkout stays clean, and modules for
# several kernels do not disturb each other. Files that did not change are not built again.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=debug
if [ "${1:-}" = --kernel ]; then
	flavour=$2
	shift 2
fi
from=${1:-.}
[ -f "$from/Kbuild" ] || vm_die "$from/Kbuild: no such file"
build=$(vm_kernel "$flavour")
# kbuild does not notice when what it built is for another kernel
place=$VM_OUT/$(basename "$build")
arch=um
if vm_in_qemu "$flavour"; then
	# no type information: it would need a tool and the kernel's debugging symbols
	build=$build/headers arch='x86 CONFIG_DEBUG_INFO_BTF_MODULES='
	# where functions begin is a matter of speed, and older compilers cannot say it
	echo | ${CC:-gcc} -fmin-function-alignment=16 -x c -fsyntax-only - 2>/dev/null ||
		arch="$arch CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT="
	# nor do they know what that kernel's own compiler is told of arrays
	echo 'struct a { int n; int a[] __attribute__((counted_by(n))); };' |
		${CC:-gcc} -Werror -x c -fsyntax-only - 2>/dev/null ||
			arch="$arch KCFLAGS=-Wno-attributes"
fi

case $from in
.) to=$place/linnet what='Kbuild driver uapi' ;;
*) to=$place/$(basename "$from") what=. ;;
esac
mkdir -p "$to"
exec 9>"$to.lock"
flock 9

# Copy what changed, and forget what is gone.
# shellcheck disable=SC2086
(cd "$from" && find $what -type f ! -name '*.o' ! -name '*.ko' ! -name '*.mod*' ! -name '.*') |
	sed 's|^\./||' | sort >"$to.files"
if [ -f "$to.files.old" ]; then
	comm -13 "$to.files" "$to.files.old" | while read -r file; do rm -f "$to/$file"; done
fi
mv "$to.files" "$to.files.old"
while read -r file; do
	cmp -s "$from/$file" "$to/$file" && continue
	mkdir -p "$(dirname "$to/$file")"
	cp "$from/$file" "$to/$file"
done <"$to.files.old"

log=$to.log
# shellcheck disable=SC2086
env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u CFLAGS -u CPPFLAGS -u LDFLAGS \
	make -C "$build" ARCH=$arch CC="${CC:-gcc}" M="$to" W=1 -j"$VM_JOBS" modules \
		>"$log" 2>&1 9>&- || {
	tail -n 40 "$log" >&2
	vm_die "the module does not build for the $flavour kernel"
}
# A warning is a defect. What the kernel's own headers say at W=1 is not ours; newer kernels
# name the module's files by relative paths.
if grep -E "^($to/|[^/ ][^: ]*:[0-9]+:|WARNING: modpost).*" "$log" |
	grep -E 'warning:|WARNING:' >&2; then
	vm_die "the module builds with warnings for the $flavour kernel"
fi
echo "$to"
