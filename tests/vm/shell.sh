#!/bin/sh
# SPDX-License-Identifier: MIT
# An interactive guest with Linnet's module loaded.
#
# usage: sh tests/vm/shell.sh [--kernel NAME] [--params TEXT] [--no-module] [--device]
#        [guest.sh's options]
#
#   --kernel NAME  debug (default), base, or stock: Debian's own, in QEMU; sid-debug, sid-base
#                  and sid-stock are those of Debian's unstable suite
#   --params TEXT  parameters of the module (default sim=1; with --device none)
#   --device       start a `linnet device` and connect the guest to it
#   --no-module    load nothing
#
# The checkout is there, read-only; leave with `exit`. Packages of use `vm` are installed
# and a kernel is built when they are missing.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=debug params='' module=yes device=no
while [ $# -gt 0 ]; do
	case $1 in
	-h | --help)	sed -n '3,16s/^# \{0,1\}//p' tests/vm/shell.sh; exit 0 ;;
	--kernel)	flavour=$2; shift ;;
	--params)	params=$2; shift ;;
	--no-module)	module=no ;;
	--device)	device=yes ;;
	*)		break ;;
	esac
	shift
done

sh tools/packages.sh vm >&2
set -- --kernel "$flavour" "$@"
if [ $module = yes ]; then
	folder=$(sh tests/vm/module.sh --kernel "$flavour")
	set -- --module "$folder/driver/linnet.ko" "$@"
	[ $device = yes ] || [ -n "$params" ] || params=sim=1
	[ -z "$params" ] || set -- --params "$params" "$@"
fi
if [ $device = yes ]; then
	. tests/vm/device.sh
	vm_device_start
	trap vm_device_stop EXIT
	set -- --device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" "$@"
fi
sh tests/vm/guest.sh --shell "$@"
