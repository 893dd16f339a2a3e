#!/bin/sh
# SPDX-License-Identifier: MIT
# Make sure that the packages of tools/packages.txt are there.
#
# usage: sh tools/packages.sh [--check] USE...
#
# For each package of the given uses (build, test, vm, dev) it tries whether what the
# package is for works; only if something does not, and apt-get is there, and this
# runs as root or sudo may be used without asking, it installs what is missing.
# Elsewhere it lists what is missing and fails. --check never installs.
set -eu
cd "$(dirname "$0")/.."

check=no
[ "${1:-}" != --check ] || { check=yes; shift; }
[ $# -gt 0 ] || { echo "usage: sh tools/packages.sh [--check] USE..." >&2; exit 2; }

compiles()
{
	echo "$1" | ${CC:-cc} -x c -fsyntax-only - 2>/dev/null
}

# Does what the package is for work, whoever installed it?
works()
{
	case $1 in
	gcc)		${CC:-cc} --version >/dev/null 2>&1 ;;
	make)		command -v make >/dev/null ;;
	pkg-config)	command -v "${PKG_CONFIG:-pkg-config}" >/dev/null ;;
	libc6-dev)	compiles '#include <stdio.h>' ;;
	linux-libc-dev)	compiles '#include <linux/types.h>' ;;
	liburing-dev)	"${PKG_CONFIG:-pkg-config}" --exists liburing 2>/dev/null ;;
	libpcre2-dev)	"${PKG_CONFIG:-pkg-config}" --exists libpcre2-8 2>/dev/null ;;
	libxxhash-dev)	"${PKG_CONFIG:-pkg-config}" --exists libxxhash 2>/dev/null ;;
	libjansson-dev)	"${PKG_CONFIG:-pkg-config}" --exists jansson 2>/dev/null ;;
	libelf-dev)	compiles "#include <libelf.h>" ;;
	libdrm-dev)	"${PKG_CONFIG:-pkg-config}" --exists libdrm 2>/dev/null ;;
	libnuma-dev)	"${PKG_CONFIG:-pkg-config}" --exists numa 2>/dev/null ;;
	python3)	[ -x /usr/bin/python3 ] ;;
	python3-numpy)	/usr/bin/python3 -c 'import numpy' 2>/dev/null ;;
	udev)		[ -x /lib/systemd/systemd-udevd ] ;;
	libasan*)	compiles '#include <sanitizer/asan_interface.h>' ;;
	xz-utils)	command -v xz >/dev/null ;;
	dmsetup)	command -v dmsetup >/dev/null || [ -x /usr/sbin/dmsetup ] ;;
	e2fsprogs)	command -v mke2fs >/dev/null ;;
	qemu-system-x86) command -v qemu-system-x86_64 >/dev/null ;;
	busybox-static)	busybox 2>/dev/null | grep -q -w cpio ;;
	linux-source-*)	[ -r "/usr/src/$1.tar.xz" ] ;;
	man-db)		command -v man >/dev/null ;;
	groff | groff-base)
			command -v groff >/dev/null ;;
	*)		command -v "$1" >/dev/null ||
			[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = \
			  installed ] ;;
	esac
}

wanted=
for use; do
	names=$(awk -v use="$use" '!/^#/ && $1 == use { print $2 }' tools/packages.txt)
	[ -n "$names" ] || { echo "packages: no package has the use '$use'" >&2; exit 2; }
	wanted="$wanted $names"
done

missing()
{
	for p in $wanted; do
		works "$p" || printf ' %s' "$p"
	done
}

lack=$(missing)
if [ -z "$lack" ]; then
	echo "packages: all there ($*)"
	exit 0
fi

explain()
{
	for p in $1; do
		awk -v p="$p" '!/^#/ && $2 == p {
			$1 = ""; $2 = ""; sub(/^ +/, ""); printf "  %-18s %s\n", p, $0 }' \
			tools/packages.txt
	done
}

echo "packages: missing:"
explain "$lack"
if [ $check = yes ]; then
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "packages: install what the list above names (Debian's names), then run this again" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
	if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
		sudo=sudo
	else
		echo "packages: as root, run: apt-get install$lack" >&2
		exit 1
	fi
fi

# $1: packages. Only what is listed, nothing that is recommended.
install()
{
	$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
		--no-install-recommends $1
}

echo "packages: apt-get install$lack"
lists=$(find /var/lib/apt/lists -name '*Packages*' 2>/dev/null | head -n 1)
if [ -z "$lists" ] || ! install "$lack"; then
	echo "packages: apt-get update"
	$sudo apt-get update -q
	install "$lack"
fi
lack=$(missing)
if [ -n "$lack" ]; then
	echo "packages: installed, and still not usable:$lack" >&2
	exit 1
fi
