#!/bin/sh
# SPDX-License-Identifier: MIT
# Make sure that Debian's own kernel is in the cache; print its folder.
#
# usage: sh tests/vm/stock.sh
#
# The kernel's package and those that modules are built with are downloaded by apt and
# unpacked into the cache; nothing is installed, so the machine keeps booting what it
# booted. In the folder: vmlinuz, modules/ (with modules.dep), headers/ (to build modules).
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

# what a package depends on whose name begins with $2
depends()
{
	apt-cache depends "$1" 2>/dev/null | sed -n "s/^ *Depends: \($2.*\)/\1/p"
}

for tool in apt-get apt-cache dpkg-deb depmod; do
	command -v $tool >/dev/null || vm_die "$tool is not there"
done
image=$(depends linux-image-$VM_KERNEL_SERIES-amd64 linux-image- | head -n 1)
headers=$(depends linux-headers-$VM_KERNEL_SERIES-amd64 linux-headers- | head -n 1)
[ -n "$image" ] && [ -n "$headers" ] ||
	vm_die "apt knows no package linux-image-$VM_KERNEL_SERIES-amd64"
release=${image#linux-image-}
version=$(apt-cache policy "$image" | sed -n 's/^ *Candidate: //p')
folder=$VM_CACHE/stock-$(echo "$version" | tr -c 'A-Za-z0-9.\n-' _)
if [ -e "$folder/complete" ]; then
	echo "$folder"
	exit 0
fi

mkdir -p "$VM_CACHE"
exec 9>"$VM_CACHE/lock-stock"
flock 9
if [ ! -e "$folder/complete" ]; then
	rm -rf "$folder" "$folder.new"
	mkdir -p "$folder.new/debs"
	others=$(depends "$headers" 'linux-\(headers\|kbuild\)-')
	vm_say "downloading $image, $headers and what they are built with"
	# shellcheck disable=SC2086
	(cd "$folder.new/debs" && apt-get download -q "$image" "$headers" $others) >&2
	for deb in "$folder.new/debs"/*.deb; do
		dpkg-deb -x "$deb" "$folder.new"
	done
	rm -r "$folder.new/debs"
	modules=$folder.new/lib/modules
	[ -d "$modules" ] || modules=$folder.new/usr/lib/modules
	# depmod looks in lib/modules
	[ -d "$folder.new/lib/modules" ] || { mkdir -p "$folder.new/lib"; mv "$modules" "$folder.new/lib/"; }
	depmod -b "$folder.new" "$release"
	# what the packages say about themselves by absolute paths
	src=usr/src/$headers
	sed -i "s|/usr/src/|$folder/usr/src/|" "$folder.new/$src/Makefile"
	ln -s "boot/vmlinuz-$release" "$folder.new/vmlinuz"
	ln -s "lib/modules/$release" "$folder.new/modules"
	ln -s "$src" "$folder.new/headers"
	: >"$folder.new/complete"
	mv "$folder.new" "$folder"
fi
echo "$folder"
