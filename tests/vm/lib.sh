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

# vm_kernel NAME: make sure that it is there; print its folder
vm_kernel()
{
	case $1 in
	base | debug) sh tests/vm/kernel.sh "$1" ;;
	stock) sh tests/vm/stock.sh ;;
	*) vm_die "no such kernel ($1): base, debug or stock" ;;
	esac
}
