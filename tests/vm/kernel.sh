#!/bin/sh
# SPDX-License-Identifier: MIT
# Make sure that a User-Mode Linux kernel is in the cache; print its build folder.
#
# usage: sh tests/vm/kernel.sh [base | debug | sid-base | sid-debug]
#
# The kernel is built from Debian's linux-source package with tests/vm/config: the installed
# package of the series that the suite is for, or for sid-* the newest one of Debian's
# unstable suite, which is unpacked into the cache and not installed. The name
# of its folder is made of all that it depends on: the package's version, the compiler's,
# the configuration. A folder with a file `complete` is never changed again, so any number
# of checkouts share it; builders of the same kernel wait for each other. An interrupted
# build continues where it was.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=${1:-debug}
case $flavour in
base | debug) sid= ;;
sid-base | sid-debug) sid=sid- ;;
*) vm_die "no such kernel ($flavour): base, debug, sid-base or sid-debug" ;;
esac

# newest: the source package that unstable's linux-source is
newest()
{
	package=$(apt-cache depends linux-source | sed -n 's/^ *Depends: \(linux-source-.*\)/\1/p')
	version=$(apt-cache policy "$package" | sed -n 's/^ *Candidate: //p')
	[ -n "$package" ] && [ -n "$version" ] ||
		vm_lack "Debian's unstable suite has no linux-source"
}

archive=
if [ -n "$sid" ]; then
	APT_CONFIG=$(sh tests/vm/sid.sh)
	export APT_CONFIG
	newest
	if [ ! -e "$VM_CACHE/sid-source-$(vm_word "$version")/complete" ]; then
		sh tests/vm/sid.sh --fresh >/dev/null
		newest
	fi
	version=$(vm_word "$version")
	source=$VM_CACHE/sid-source-$version
else
	package=linux-source-$VM_KERNEL_SERIES
	archive=/usr/src/$package.tar.xz
	[ -r "$archive" ] || vm_die "$archive is not there (Debian's package $package)"
	version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) ||
		version=$(sha256sum "$archive" | cut -c 1-16)
	version=$(vm_word "$version")
	source=$VM_CACHE/$package-$version
fi

fragments=tests/vm/config/base.config
[ "$flavour" = "${sid}base" ] || fragments="$fragments tests/vm/config/debug.config"
[ "$flavour" != debug ] || fragments="$fragments tests/vm/config/coredump.config"
[ -z "$sid" ] || fragments="$fragments tests/vm/config/sid.config"
# shellcheck disable=SC2086
key=$({ ${CC:-gcc} --version | head -n 1; cat $fragments; } | sha256sum | cut -c 1-12)
build=$VM_CACHE/${sid}um-$version-${flavour#sid-}-$key

if [ -e "$build/complete" ] && [ -e "$source/complete" ]; then
	[ -z "$sid" ] || touch "$build/complete" "$source/complete"
	echo "$build"
	exit 0
fi

mkdir -p "$VM_CACHE"
# one builder at a time in the whole cache: they share the source tree
exec 9>"$VM_CACHE/lock"
flock 9

if [ ! -e "$source/complete" ]; then
	rm -rf "$source" "$source.new"
	mkdir "$source.new"
	if [ -n "$sid" ]; then
		vm_forget_old
		vm_say "downloading $package $version"
		(cd "$source.new" && apt-get download -q "$package" 9>&-) >&2 ||
			vm_lack "$package cannot be downloaded"
		deb=$(ls "$source.new"/*.deb)
		archive=$source.new/archive
		dpkg-deb --fsys-tarfile "$deb" | tar xO --wildcards './usr/src/*.tar.xz' >"$archive"
		rm "$deb"
	fi
	vm_say "unpacking $package"
	# a quarter of the source is the registers of one driver, which nothing here builds
	tar xf "$archive" -C "$source.new" --strip-components=1 \
		--exclude='*/drivers/gpu/drm/amd/include/asic_reg/*'
	rm -f "$source.new/archive"
	: >"$source.new/complete"
	mv "$source.new" "$source"
fi

# The tree may have come back at the same place; the build refers to it by path alone.
if [ ! -e "$build/complete" ]; then
	log=$build/build.log
	mkdir -p "$build"
	vm_say "building the $flavour kernel $version with $VM_JOBS jobs (log: $log)"
	# the caller's make and its flags are not the kernel's
	um()
	{
		env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u O -u CFLAGS -u CPPFLAGS -u LDFLAGS \
			make -C "$source" ARCH=um O="$build" CC="${CC:-gcc}" "$@" 9>&-
	}
	{
		um x86_64_defconfig
		# shellcheck disable=SC2086
		cat $fragments >>"$build/.config"
		um olddefconfig
	} >"$log" 2>&1 || { tail -n 20 "$log" >&2; vm_die "cannot configure the kernel"; }
	# a line that a later fragment overrides is not missing
	# shellcheck disable=SC2086
	sed -n 's/^# \(CONFIG_[A-Z0-9_]*\) is not set$/\1=n/p; /^CONFIG_/p' $fragments |
	awk -F= -v config="$build/.config" '
	{ want[$1] = $2 }
	END {
		while ((getline line < config) > 0)
			if (split(line, part, "=") > 1)
				have[part[1]] = substr(line, length(part[1]) + 2)
		for (name in want)
			if ((name in have ? have[name] : "n") != want[name]) {
				printf "vm: %s=%s is not what the kernel was configured with " \
				       "(%s)\n", name, want[name], name in have ? have[name] : "n"
				lacks = 1
			}
		exit lacks
	}' >&2 || vm_die "the configuration lacks lines of $fragments"
	start=$(date +%s)
	um -j"$VM_JOBS" linux modules >>"$log" 2>&1 || {
		grep -n -m 5 -A 3 -E 'error:|Error [0-9]' "$log" >&2 || tail -n 20 "$log" >&2
		vm_die "the kernel does not build"
	}
	# objects are most of the size, and modules outside of the tree need none of them
	find "$build" -name '*.o' ! -path "$build/scripts/*" -delete
	find "$build" -name '*.a' -delete
	vm_say "built in $(($(date +%s) - start)) s"
	: >"$build/complete"
fi
echo "$build"
