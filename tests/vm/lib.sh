# SPDX-License-Identifier: MIT
# Shared by the scripts of tests/vm: where things are. Sourced from the project's root.
#
# What takes minutes to make and does not depend on the checkout lives in
# $LINNET_VM_CACHE, default ~/.cache/linnet-vm: kernel sources, built kernels. Any part
# of it may be deleted at any time and is made again. What belongs to the checkout
# (the module, the results of a run) lives in $O/vm.

VM_CACHE=${LINNET_VM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/linnet-vm}
VM_OUT=$PWD/${O:-build}/vm
VM_KERNEL_SERIES=6.12
VM_JOBS=${VM_JOBS:-$(nproc 2>/dev/null || echo 2)}

vm_say()
{
	echo "vm: $*" >&2
}

vm_die()
{
	vm_say "$*"
	exit 1
}

# vm_lack TEXT: what is needed cannot be had here; status 77
vm_lack()
{
	vm_say "$*"
	exit 77
}

# vm_word TEXT: as part of a file's name
vm_word()
{
	printf %s "$1" | tr -c 'A-Za-z0-9.-' _
}

# Kernels: base and debug are User-Mode Linux, stock is Debian's own in QEMU, all of the
# series that the driver is first of all for. sid-NAME is the same of the newest kernel in
# Debian's unstable suite.
VM_KERNELS='base, debug, stock, sid-base, sid-debug or sid-stock'

# vm_in_qemu NAME: is it one that needs an emulator?
vm_in_qemu()
{
	case $1 in
	*stock) return 0 ;;
	esac
	return 1
}

# vm_miscarried LOG: did a kernel die before its first program, in QEMU's known way? On a busy
# machine its translator, at times, runs an instruction that the other processor is replacing.
vm_miscarried()
{
	grep -q 'Oops: int3' "$1" && ! grep -q 'Run /init as init process' "$1"
}

# vm_uml_died LOG: the kernel's own side of the socket warns, in an interrupt, that the device is
# gone. When that meets an idle worker, User-Mode Linux dies of printing the worker's name, which
# is read where nothing is. Such a guest tells nothing of the driver, unless it had complained
# of something else before; another takes its place.
vm_uml_died()
{
	grep -q 'WARNING: .*virtio_uml.c:' "$1" && grep -q 'RIP: .*copy_from_kernel_nofault' "$1" &&
		grep -q 'Segfault with no mm' "$1" &&
		! grep -E 'BUG:|WARNING:|KASAN|UBSAN|DMA-API: |Oops|INFO: |refcount_t' "$1" |
		grep -qv -e virtio_uml.c: -e lockdep_hardirqs_on_prepare
}

# vm_kernel NAME: make sure that it is there; print its folder
vm_kernel()
{
	case $1 in
	base | debug | sid-base | sid-debug) sh tests/vm/kernel.sh "$1" ;;
	stock | sid-stock) sh tests/vm/stock.sh "$1" ;;
	*) vm_die "no such kernel ($1): $VM_KERNELS" ;;
	esac
}

# vm_forget_old: what was made for kernels of unstable that nobody used for a week. They
# change every week, and are large.
vm_forget_old()
{
	find "$VM_CACHE" -maxdepth 2 -path '*/sid-*/complete' -mtime +7 | while read -r file; do
		rm -rf "${file%/complete}"
	done
}
