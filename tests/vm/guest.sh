#!/bin/sh
# SPDX-License-Identifier: MIT
# Boot a guest, run a command in it, and judge what its kernel said.
#
# usage: sh tests/vm/guest.sh [OPTION]... COMMAND
#
#   --kernel NAME        the kernel: base, debug (default), or stock (Debian's own, in QEMU);
#                        sid-base, sid-debug, sid-stock: of Debian's unstable suite
#   --module FILE        load this module first, and unload it at the end
#   --params TEXT        its parameters
#   --device SOCKET:ID   a vhost-user device (may be repeated)
#   --disk FILE          a block device: /dev/ubda, then b...; in QEMU /dev/nvme0n1, then
#                        nvme1n1... (may be repeated)
#   --see FOLDER         let the guest see this folder too, read-only (may be repeated)
#   --memory SIZE        of the guest (default 768M)
#   --nodes N            memory nodes, each with a part of the memory and a processor (QEMU)
#   --append TEXT        to the kernel's command line (may be repeated)
#   --reconnect          devices that end may come back: QEMU connects again (QEMU)
#   --platform           devices see DMA addresses, not physical ones (QEMU;
#                        VIRTIO_F_ACCESS_PLATFORM)
#   --seconds N          time that it may take (default 900)
#   --allow REGEX        lines of the kernel's log that are no complaint (may be repeated)
#   --no-leaks           do not look for leaked memory at the end (saves 8 seconds)
#   --dir FOLDER         where log, leaks and status go; /vm/out in the guest
#   --shell              no command: an interactive shell
#
# COMMAND is a line for the guest's sh, run in the checkout. The guest sees the host's
# programs, the checkout and the test data at their own paths, read-only; /tmp is its own.
# tests/vm/functions can be used in it.
# What the command prints comes out here. The exit status is the command's, or
#   120  the module does not load          121  the module does not unload
#   122  the guest did not come to its end (it crashed, or time ran out)
#   123  the kernel complained: a bug, a warning, a sanitizer's report, a leak
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=debug module='' params='' devices='' disks='' memory=768M seconds=900 nodes=1
append='' platform='' reconnect='' allow='' leaks=yes dir='' remove='' mode=command
see="$PWD ${LINNET_TEST_DATA:-$PWD/../shared/data}"
while [ $# -gt 0 ]; do
	case $1 in
	--kernel)	flavour=$2; shift ;;
	--module)	module=$2; shift ;;
	--params)	params=$2; shift ;;
	--device)	devices="$devices $2"; shift ;;
	--disk)		disks="$disks $2"; shift ;;
	--see)		see="$see $2"; shift ;;
	--memory)	memory=$2; shift ;;
	--nodes)	nodes=$2; shift ;;
	--append)	append="$append $2"; shift ;;
	--reconnect)	reconnect=,reconnect=1 ;;
	--platform)	platform=,iommu_platform=on,disable-legacy=on ;;
	--seconds)	seconds=$2; shift ;;
	--allow)	allow="$allow$2
"; shift ;;
	--no-leaks)	leaks=no ;;
	--dir)		dir=$2; shift ;;
	--shell)	mode=shell ;;
	--)		shift; break ;;
	-*)		vm_die "unknown option $1" ;;
	*)		break ;;
	esac
	shift
done
[ $mode = shell ] || [ $# -gt 0 ] || vm_die "no command"

kernel=$(vm_kernel "$flavour")
busybox=$(command -v busybox) || vm_die "busybox is not there (Debian's package busybox-static)"
if [ -z "$dir" ]; then
	mkdir -p "$VM_OUT"
	dir=$(mktemp -d "$VM_OUT/run.XXXXXX")
	remove=$dir
fi
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
rm -f "$dir/status" "$dir/leaks" "$dir/log"

quote()
{
	printf "%s='" "$1"
	printf %s "$2" | sed "s/'/'\\\\''/g"
	printf "'\n"
}

# ------------------------------------------------------------- the guest's root
root=$dir/root
rm -rf "$root"
mkdir -p "$root/vm" "$root/dev"
cp "$busybox" "$root/vm/busybox"
cp tests/vm/init "$root/init"
cp tests/vm/functions "$root/vm/functions"
. tests/vm/functions
chmod 755 "$root/init" "$root/vm/busybox"
share=hostfs tty=ttyS0
if vm_in_qemu "$flavour"; then
	share=9p tty=ttyS1
	mkdir "$root/vm/modules"
	# modules, each after those that it needs
	names='9pnet_virtio 9p nvme loop crc32c_generic ext4 vgem udmabuf'
	[ -z "$module" ] || names="$names $(modinfo -F depends "$module" | tr , ' ')"
	n=100
	for name in $names; do
		pattern=$(echo "$name" | sed 's/[-_]/[-_]/g')
		grep "/$pattern\.ko[.a-z]*:" "$kernel/modules/modules.dep" |
			tr -d : | awk '{ for (i = NF; i; i--) print $i }'
	done | awk '!seen[$0]++' | while read -r file; do
		n=$((n + 1))
		vm_unpack "$kernel/modules/$file" "$root/vm/modules/$n.ko"
	done
fi
seen=
for d in $see $VM_CACHE; do
	[ ! -d "$d" ] || seen="$seen $(cd "$d" && pwd)"
done
{
	quote VM_SHARE "$share"
	quote VM_TTY "$tty"
	quote VM_DIR "$dir"
	quote VM_SEE "$seen"
	quote VM_CWD "$PWD"
	quote VM_KERNEL "$kernel"
	quote VM_MODULE "$module"
	quote VM_PARAMS "$params"
	quote VM_LEAKS "$leaks"
	quote VM_MODE "$mode"
	quote VM_TERM "${TERM:-dumb}"
	for name in LINNET_TEST_DATA LINNET_BUILD LINNET_CPU LINNET_TEST_LONG O PYTHON; do
		eval "value=\${$name-}"
		[ -z "$value" ] || { printf 'export '; quote "$name" "$value"; }
	done
} >"$root/vm/job"
echo "$*" >"$root/vm/command"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$dir/initramfs"
rm -rf "$root"

# ------------------------------------------------------------------------ run
# Physical memory is a file that only lives as long as the guest.
export TMPDIR=/dev/shm
[ -w /dev/shm ] || TMPDIR=${TMPDIR:-/tmp}

# The command's output is a serial line, the kernel's log the console.
# run_uml SHELL
run_uml()
{
	# Newer kernels keep free objects in sheaves per processor, which go on naming what was
	# taken out of them: the leak detector sees a lost object only in caches without any,
	# which are those that are checked.
	[ "$flavour:$leaks" != sid-debug:yes ] || append="$append slab_debug=F"
	# shellcheck disable=SC2086
	set -- "$1" uml_dir="$uml" mem="$memory" initrd="$dir/initramfs" root=/dev/ram0 \
		kasan_multi_shot panic=-1 $append
	n=0
	for socket in $devices; do
		set -- "$@" virtio_uml.device="$socket"
	done
	for disk in $disks; do
		set -- "$@" ubd$n="$disk"
		n=$((n + 1))
	done
	if [ "$1" = yes ]; then
		shift
		"$kernel/linux" "$@" con0=fd:0,fd:1 con=null loglevel=5
		return
	fi
	shift
	timeout -s KILL "$seconds" "$kernel/linux" "$@" con0=null,fd:2 con=null ssl0=null,fd:1 \
		ssl=null console=tty0 loglevel=8 </dev/null 2>"$dir/log"
}

# Two processors, PCI, the configuration that people run. Emulated: what hardware for
# guests does inside of a guest differs from cloud to cloud. Memory is shared for vhost-user
# devices. A device's id in QEMU is that of a block device, the only kind whose class takes
# any socket.
run_qemu()
{
	shell=$1 append="panic=-1 no_timer_check$append"
	if [ "$nodes" = 1 ]; then
		set -- -machine q35,accel=tcg,memory-backend=mem -smp 2 \
			-object memory-backend-memfd,id=mem,size="$memory",share=on
	else
		set -- -machine q35,accel=tcg -smp "$nodes,sockets=$nodes"
		n=0
		while [ $n -lt "$nodes" ]; do
			size=$((${memory%M} / nodes))M
			set -- "$@" -object memory-backend-memfd,id=mem$n,size=$size,share=on \
				-numa node,nodeid=$n,cpus=$n,memdev=mem$n
			n=$((n + 1))
		done
	fi
	set -- "$@" -cpu max -m "$memory" \
		-kernel "$kernel/vmlinuz" -initrd "$dir/initramfs" \
		-display none -monitor none -no-reboot -nic none \
		-virtfs \
		local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
		-virtfs local,path="$dir",mount_tag=out,security_model=none
	n=0
	for socket in $devices; do
		set -- "$@" -chardev socket,id=dev$n,path="${socket%:*}$reconnect" \
			-device \
			vhost-user-blk-pci,chardev=dev$n,num-queues=2,queue-size=256$platform
		n=$((n + 1))
	done
	n=0
	for disk in $disks; do
		set -- "$@" -drive file="$disk",format=raw,if=none,id=disk$n,cache=none \
			-device nvme,serial=disk$n,drive=disk$n
		n=$((n + 1))
	done
	if [ "$shell" = yes ]; then
		qemu-system-x86_64 "$@" -serial mon:stdio -append "console=ttyS0 loglevel=5 $append"
		return
	fi
	timeout -s KILL "$seconds" qemu-system-x86_64 "$@" -serial "file:$dir/log" -serial stdio \
		-append "console=ttyS0 loglevel=7 $append" </dev/null 2>"$dir/emulator"
}

# where User-Mode Linux keeps a socket for orders; the path must be short
uml=$(mktemp -d "/tmp/linnet-uml.XXXXXX")
trap 'rm -rf "$uml" $remove' EXIT
run=run_uml
! vm_in_qemu "$flavour" || run=run_qemu
if [ $mode = shell ]; then
	saved=$(stty -g 2>/dev/null || :)
	$run yes || :
	[ -z "$saved" ] || stty "$saved"
	exit 0
fi
$run no || :
for again in 1 2; do
	! vm_in_qemu "$flavour" || ! vm_miscarried "$dir/log" || {
		vm_say "the emulator failed the kernel as it started: once more ($again)"
		$run no || :
	}
done
# serial lines end lines in their own way
! vm_in_qemu "$flavour" || sed -i 's/\r*$//' "$dir/log"

# ---------------------------------------------------------------------- judge
status=122
[ ! -s "$dir/status" ] || status=$(cat "$dir/status")
[ $status != 122 ] || {
	vm_say "the guest did not come to its end (at most $seconds s); the end of its log:"
	tail -n 40 "$dir/log" | sed 's/^/vm: | /' >&2
}
complaints='BUG:|WARNING:|KASAN|UBSAN|DMA-API: |Oops|Kernel panic|general protection|Call Trace'
complaints="$complaints|ODEBUG|refcount_t|list_(add|del) corruption|new suspected memory leaks"
complaints="$complaints|INFO: (task|possible|rcu|trying)"
complaints="$complaints|workqueue lockup|Kernel BUG|scheduling while atomic|segfault|vm: the module"
printf %s "$allow" >"$dir/allow"
# of no interest: these announce the detectors themselves
cat >>"$dir/allow" <<'END'
KernelAddressSanitizer initialized|KASAN: .*enabled
DMA-API: (preallocated|debugging enabled)
END
if grep -E "$complaints" "$dir/log" | grep -v -E -f "$dir/allow" >"$dir/complaints"; then
	vm_say "the kernel complained ($(wc -l <"$dir/complaints") lines); first:"
	first=$(head -n 1 "$dir/complaints")
	awk -v first="$first" '$0 == first { n = 60 } n > 0 { print "vm: | " $0; n-- }' "$dir/log" |
		head -n 60 >&2
	[ ! -s "$dir/leaks" ] || head -n 60 "$dir/leaks" | sed 's/^/vm: | /' >&2
	[ $status = 122 ] || status=123
fi
exit $status
