#!/bin/sh
# SPDX-License-Identifier: MIT
# The machine goes to sleep under a program that uses the device, and wakes: the program
# ends with an error and not by hanging, the next one computes what the host does, nothing
# is held and the module unloads. The last time it hibernates: all of its memory is written
# to a disk, and read back. Then it restarts under such a program, and once more by kexec,
# without the firmware that resets devices; all works again.
# Debian's kernel in QEMU; its own test modes (/sys/power/pm_test) take the devices to sleep
# and back, and nothing else, and (test_resume) hibernate without power off. All that the
# guest needs is in its memory, as what it shares with the host would not come back; a
# disk remembers how often it has started. Prints TAP.
#
# usage: sh tests/vm/freeze.sh [--kernel stock | sid-stock]
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/tap.sh
. tests/vm/device.sh
. tests/vm/functions

flavour=stock
[ "${1:-}" != --kernel ] || flavour=$2
linnet=${LINNET_BUILD:-$PWD/${O:-build}}/linnet
kernel=$(vm_kernel "$flavour")
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
busybox=$(command -v busybox)
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-freeze.XXXXXX")
VM_DEVICE_LOG=$dir/device
trap 'vm_device_stop; rm -rf "$dir"' EXIT

# ------------------------------------------------------------- the guest's root
root=$dir/root
mkdir -p "$root/bin" "$root/modules" "$root/model"
${CC:-gcc} -O1 -Wall -Wextra -Werror -o "$root/bin/kexec" tests/vm/kexec.c
cp "$busybox" "$root/bin/busybox"
cp tools/demo/linnet-demo.gguf "$root/model/"
cp "$linnet" "$root/bin/linnet"
ldd "$linnet" | grep -o '/[^ ]*' | while read -r file; do
	mkdir -p "$root$(dirname "$file")"
	cp -L "$file" "$root$file"
done
number=100
for name in nvme $(modinfo -F depends "$module" | tr , ' '); do
	pattern=$(echo "$name" | sed 's/[-_]/[-_]/g')
	grep "/$pattern\.ko[.a-z]*:" "$kernel/modules/modules.dep" |
		tr -d : | awk '{ for (i = NF; i; i--) print $i }'
done | awk '!seen[$0]++' >"$dir/modules"
while read -r file; do
	number=$((number + 1))
	vm_unpack "$kernel/modules/$file" "$root/modules/$number.ko"
done <"$dir/modules"
cp "$module" "$root/linnet.ko"
cat >"$root/init" <<'END'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debugfs /sys/kernel/debug
exec >/dev/ttyS1 2>&1
end() { echo "$*"; poweroff -f; }
load() { insmod /linnet.ko virtio_id=2 || end "no module"; }
unload()
{
	grep -q '^held by the device 0' /sys/kernel/debug/accel/*/linnet_state &&
		! grep -q '^context' /sys/kernel/debug/accel/*/linnet_state ||
		end "something is left"
	n=0
	until rmmod linnet; do
		n=$((n + 1))
		[ $n -lt 50 ] || end "the module does not unload"
		sleep 0.1
	done
}
endless()
{
	$run -n -1 --ignore-eos -c 200000 >/tmp/endless 2>/tmp/err & endless=$!
	until [ -s /tmp/endless ]; do
		kill -0 $endless || end "round $round: $(cat /tmp/err)"
		sleep 0.1
	done
}
text() { $run -n 40 >/tmp/text.$round 2>/tmp/err || end "round $round: $(cat /tmp/err)"; }
# node SERIAL: of a disk; their numbers are those in which they were found
node()
{
	for block in /sys/block/nvme*; do
		read -r serial <$block/device/serial
		[ "$serial" != $1 ] || [ ! -b /dev/${block##*/} ] || echo /dev/${block##*/}
	done
}
doze() { echo devices >/sys/power/pm_test && echo freeze >/sys/power/state; }
hibernate()
{
	echo none >/sys/power/pm_test
	mkswap $swap >/dev/null && swapon $swap &&
		cat /sys/class/block/${swap##*/}/dev >/sys/power/resume &&
		echo test_resume >/sys/power/disk && echo disk >/sys/power/state
}
for m in /modules/*.ko; do insmod $m; done
load
run="linnet run -m /model/linnet-demo.gguf -p Once --temp 0 -q --engine accel"
for name in disk swap next; do
	until [ -n "$(node $name)" ]; do sleep 0.1; done
done
disk=$(node disk) swap=$(node swap) next=$(node next)
start=$(head -c 5 $disk | tr -d '\0')
if [ -n "$start" ]; then
	round=$start
	text
	unload
	echo "text:"
	cat /tmp/text.$round
	echo
	[ $start = again ] || end "all done"
	echo "all restarted"
	mkdir /tmp/next
	(cd /tmp/next && cpio -i <$next 2>/dev/null) || end "no kernel"
	load
	endless
	echo kexec >$disk && sync
	kexec /tmp/next/vmlinuz /tmp/next/initramfs "$(cat /proc/cmdline)"
	end "no kexec"
fi
for round in 1 2 3; do
	endless
	sleep=doze
	[ $round != 3 ] || sleep=hibernate
	$sleep || end "round $round: the machine does not sleep"
	wait $endless
	[ $? = 1 ] && [ -s /tmp/err ] || end "round $round: the program went on, or died"
	echo "round $round: $(cat /tmp/err)"
	text
	rm /tmp/endless
done
unload
cmp /tmp/text.1 /tmp/text.2 && cmp /tmp/text.1 /tmp/text.3 || end "another text each time"
echo "text:"
cat /tmp/text.1
echo
echo "all woken"
load
endless
echo again >$disk && sync
reboot -f
END
chmod 755 "$root/init"
(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) >"$dir/initramfs"
cp "$kernel/vmlinuz" "$dir/vmlinuz"
(cd "$dir" && printf 'vmlinuz\ninitramfs\n' | "$busybox" cpio -o -H newc 2>/dev/null) >"$dir/next"
truncate -s %512 "$dir/next"

# ------------------------------------------------------------------------ run
"$linnet" run -m tools/demo/linnet-demo.gguf -p Once --temp 0 -q -n 40 --engine host >"$dir/host"
# The test mode spins for 5 s with interrupts on, which takes a busy emulator long enough to be
# taken for a lockup.
test='suspend.pm_test_delay=1 nosoftlockup hibernate=nocompress'
truncate -s 1M "$dir/disk"
truncate -s 1G "$dir/swap"
vm_device_start -v
timeout -s KILL 1800 qemu-system-x86_64 -machine q35,accel=tcg,memory-backend=mem -smp 2 -cpu max \
	-m 768M -object memory-backend-memfd,id=mem,size=768M,share=on \
	-kernel "$kernel/vmlinuz" -initrd "$dir/initramfs" \
	-display none -monitor none -nic none \
	-drive "file=$dir/disk,format=raw,if=none,id=disk" -device nvme,drive=disk,serial=disk \
	-drive "file=$dir/swap,format=raw,if=none,id=swap" -device nvme,drive=swap,serial=swap \
	-drive "file=$dir/next,format=raw,if=none,id=next" -device nvme,drive=next,serial=next \
	-chardev socket,id=dev,path="$VM_DEVICE_SOCKET" \
	-device vhost-user-blk-pci,chardev=dev,num-queues=2,queue-size=256 \
	-serial "file:$dir/log" -serial stdio \
	-append "console=ttyS0 loglevel=7 panic=-1 no_timer_check $test" </dev/null >"$dir/said" 2>&1 || :
sed -i 's/\r*$//' "$dir/said" "$dir/log"
# a start that the emulator failed was begun anew, and is not looked at
csplit -s -z -f "$dir/start" "$dir/log" '/Linux version/' '{*}'
: >"$dir/log"
for start in "$dir"/start*; do
	if vm_miscarried "$start"; then
		vm_say "the emulator failed the kernel as it started, which then started again"
	else
		cat "$start" >>"$dir/log"
	fi
done
tail -n 20 "$dir/said" "$dir/log" "$dir/device" >"$dir/why"

# same FILE END: the text before the line is the host's
same()
{
	sed -n "/^text:/,/^$2/p" "$1" | sed '1d;$d' >"$dir/text"
	grep -q "^$2" "$1" && [ "$(cat "$dir/text")" = "$(cat "$dir/host")" ]
}
sed '/^all woken/q' "$dir/said" >"$dir/first"
sed '1,/^all woken/d; /^all restarted/q' "$dir/said" >"$dir/second"
sed '1,/^all restarted/d' "$dir/said" >"$dir/third"
status=0
same "$dir/first" 'all woken' || status=1
[ "$(grep -c 'PM: suspend exit' "$dir/log")" = 2 ] || status=1
result $status "the machine sleeps and wakes with the device in use (2 times)" "$dir/why"
status=0
grep -q 'Image loading done' "$dir/log" && grep -q 'hibernation exit' "$dir/log" || status=1
result $status "it hibernates with the device in use, and its memory is read back" "$dir/why"
status=0
same "$dir/second" 'all restarted' || status=1
[ "$(grep -c 'reboot: Restarting system' "$dir/log")" = 1 ] || status=1
result $status "it restarts with the device in use, and computes again" "$dir/why"
status=0
same "$dir/third" 'all done' || status=1
[ "$(grep -c 'Starting new kernel' "$dir/log")" = 1 ] || status=1
result $status "another kernel is started with the device in use (kexec), and computes" "$dir/why"
status=0
! grep -E -B 3 -A 20 'BUG:|WARNING:|Oops|Call Trace|general protection|refcount_t' "$dir/log" \
	>"$dir/complaints" || status=1
result $status "the kernel does not complain" "$dir/complaints"
end_tests
