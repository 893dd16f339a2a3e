# SPDX-License-Identifier: MIT
# A `linnet device` for a guest. Sourced.

VM_DEVICE_ID=63

# vm_device_start [OPTION...]: start one; its socket is $VM_DEVICE_SOCKET, what it says
# goes to $VM_DEVICE_LOG. A socket's path must be short, so it lives in a folder of its own.
vm_device_start()
{
	# the default goes with the folder of each
	case ${VM_DEVICE_LOG:-} in
	"${VM_DEVICE_DIR:-none}"/*) VM_DEVICE_LOG= ;;
	esac
	VM_DEVICE_DIR=$(mktemp -d "${TMPDIR:-/tmp}/linnet-vm.XXXXXX")
	VM_DEVICE_SOCKET=$VM_DEVICE_DIR/device
	VM_DEVICE_LOG=${VM_DEVICE_LOG:-$VM_DEVICE_DIR/log}
	"${LINNET_BUILD:-${O:-build}}/linnet" device -s "$VM_DEVICE_SOCKET" "$@" \
		</dev/null >"$VM_DEVICE_LOG" 2>&1 &
	VM_DEVICE_PID=$!
	for _ in $(seq 300); do
		[ ! -S "$VM_DEVICE_SOCKET" ] || return 0
		kill -0 $VM_DEVICE_PID 2>/dev/null || break
		sleep 0.2
	done
	cat "$VM_DEVICE_LOG" >&2
	vm_device_stop
	return 1
}

vm_device_stop()
{
	[ -n "${VM_DEVICE_PID:-}" ] || return 0
	kill "$VM_DEVICE_PID" 2>/dev/null || :
	wait "$VM_DEVICE_PID" 2>/dev/null || :
	rm -rf "$VM_DEVICE_DIR"
	VM_DEVICE_PID=
}
