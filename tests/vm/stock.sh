#!/bin/sh
# SPDX-License-Identifier: MIT
# Make sure that Debian's own kernel is in the cache; print its folder.
#
# usage: sh tests/vm/stock.sh [stock | sid-stock]
#
# stock is the kernel of the series that the suite is for, from the machine's own suite;
# sid-stock is the newest one of Debian's unstable suite. The kernel's packages and those
# that modules are built with are downloaded by apt and unpacked into the cache; nothing is
# installed, so the machine keeps booting what it booted. In the folder: vmlinuz, modules/
# (with modules.dep), headers/ (to build modules).
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=${1:-stock}
case $flavour in
stock) series=$VM_KERNEL_SERIES- sid= ;;
sid-stock) series='' sid=sid- ;;
*) vm_die "no such kernel ($flavour): stock or sid-stock" ;;
esac

# what a package depends on whose name begins with $2
depends()
{
	apt-cache depends "$1" 2>/dev/null | sed -n "s/^ *Depends: \($2.*\)/\1/p"
}

# find: the packages' names and the folder for them
find_packages()
{
	image=$(depends "linux-image-${series}amd64" 'linux-image-' | head -n 1)
	headers=$(depends "linux-headers-${series}amd64" 'linux-headers-' | head -n 1)
	[ -n "$image" ] && [ -n "$headers" ] ||
		vm_lack "apt knows no package linux-image-${series}amd64"
	release=${image#linux-image-}
	version=$(apt-cache policy "$image" | sed -n 's/^ *Candidate: //p')
	folder=$VM_CACHE/${sid}stock-$(vm_word "$version")
}

for tool in apt-get apt-cache dpkg-deb depmod; do
	command -v $tool >/dev/null || vm_lack "$tool is not there"
done
if [ -n "$sid" ]; then
	APT_CONFIG=$(sh tests/vm/sid.sh)
	export APT_CONFIG
fi
find_packages
if [ -n "$sid" ] && [ ! -e "$folder/complete" ]; then
	sh tests/vm/sid.sh --fresh >/dev/null
	find_packages
fi
if [ -e "$folder/complete" ]; then
	[ -z "$sid" ] || touch "$folder/complete"
	echo "$folder"
	exit 0
fi

mkdir -p "$VM_CACHE"
exec 9>"$VM_CACHE/lock-stock"
flock 9
[ -z "$sid" ] || vm_forget_old

# Programs of the headers that the machine's C library is too old for run with their own
# suite's libraries.
old_libraries()
{
	tools=$(find "$1/usr/lib" -type f -perm -100 -path '*linux-kbuild*' |
		while read -r file; do
			[ "$(head -c 4 "$file" | tail -c 3)" != ELF ] || echo "$file"
		done)
	# shellcheck disable=SC2086
	! ldd $tools 2>&1 | grep -q 'version .* not found' || echo "$tools"
}

if [ ! -e "$folder/complete" ]; then
	new=$folder.new
	rm -rf "$folder" "$new"
	mkdir -p "$new/debs"
	# the kernel and its modules may be packages of their own
	others="$(depends "$image" 'linux-\(base\|binary\|modules\)-[0-9]') \
		$(depends "$headers" 'linux-\(headers\|kbuild\)-')"
	vm_say "downloading $image, $headers and what they are built with"
	# shellcheck disable=SC2086
	(cd "$new/debs" && apt-get download -q "$image" "$headers" $others 9>&-) >&2 ||
		vm_lack "$image cannot be downloaded"
	for deb in "$new/debs"/*.deb; do
		dpkg-deb -x "$deb" "$new"
	done
	rm -r "$new/debs"
	modules=$new/lib/modules
	[ -d "$modules" ] || modules=$new/usr/lib/modules
	# depmod looks in lib/modules
	[ -d "$new/lib/modules" ] || { mkdir -p "$new/lib"; mv "$modules" "$new/lib/"; }
	depmod -b "$new" "$release"
	# what the packages say about themselves by absolute paths
	src=usr/src/$headers
	sed -i "s|/usr/src/|$folder/usr/src/|" "$new/$src/Makefile"
	vmlinuz=boot/vmlinuz-$release
	[ -e "$new/$vmlinuz" ] || vmlinuz=lib/modules/$release/vmlinuz
	ln -s "$vmlinuz" "$new/vmlinuz"
	ln -s "lib/modules/$release" "$new/modules"
	ln -s "$src" "$new/headers"

	tools=$(old_libraries "$new")
	if [ -n "$tools" ]; then
		vm_say "this machine's C library is too old for the kernel's build tools;" \
			"fetching theirs"
		mkdir "$new/debs" "$new/libs"
		(cd "$new/debs" &&
			apt-get download -q libc6 libelf1t64 libssl3t64 libzstd1 zlib1g 9>&-) >&2 ||
			vm_lack "the libraries of the kernel's build tools cannot be downloaded"
		for deb in "$new/debs"/*.deb; do
			dpkg-deb -x "$deb" "$new/libs"
		done
		rm -r "$new/debs"
		lib=usr/lib/x86_64-linux-gnu
		# some run others that are named after themselves
		for tool in $tools; do
			mv "$tool" "$tool.elf"
			cat >"$tool" <<-END
			#!/bin/sh
			exec "$folder/libs/$lib/ld-linux-x86-64.so.2" --library-path "$folder/libs/$lib" \
				--argv0 "\$0" "$folder${tool#"$new"}.elf" "\$@"
			END
			chmod 755 "$tool"
		done
	fi
	: >"$new/complete"
	mv "$new" "$folder"
fi
echo "$folder"
