#!/bin/sh
# SPDX-License-Identifier: MIT
# The device is killed (kill -9) at random moments, under programs that use it: each of its
# guests' processes once, until none is left. Afterwards no program hangs, no memory of a
# buffer is left, the module unloads (so no job is left, and no fence), the kernel knows of
# no lost memory and complains of nothing. The other way round, programs are killed beside one
# that goes on, and the device serves on. Prints TAP.
#
# usage: sh tests/vm/kills.sh [--kernel NAME] [--kills N]
#
# A guest has 48 devices at most, so as many guests are booted as it takes. N, of devices and of
# programs, is 6, or 1,000 with LINNET_TEST_LONG=1. LINNET_SEED repeats the moments.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

flavour=debug kills=6
[ -z "${LINNET_TEST_LONG:-}" ] || kills=1000
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) flavour=$2 ;;
	--kills) kills=$2 ;;
	*) vm_die "unknown option $1" ;;
	esac
	shift 2
done
seed=${LINNET_SEED:-$$}
build=${LINNET_BUILD:-${O:-build}}
module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
dir=$(mktemp -d "${TMPDIR:-/tmp}/linnet-kills.XXXXXX")
trap 'vm_device_stop; rm -rf "$dir"' EXIT
done=0 boots=0 lost=0

# What runs in the guest: two programs at a time, until there is no device.
cat >"$dir/guest" <<END
shmem()
{
	sed -n 's/^Shmem: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

# they go while this looks
devices()
{
	for node in /dev/accel/accel*; do
		[ ! -c "\$node" ] || return 0
	done
	return 1
}

# 137: it had to be killed, so it hung
use()
{
	while devices; do
		timeout -s KILL 120 $build/linnet run -m tools/demo/linnet-demo.gguf -p '' -n 3000 \
			-c 4096 --ignore-eos --temp 0 -q --engine accel >/dev/null 2>&1
		[ \$? != 137 ] || exit 1
	done
}

# it works before it is killed
timeout -s KILL 120 $build/linnet run -m tools/demo/linnet-demo.gguf -p '' -n 8 --temp 0 -q \
	--engine accel >/dev/null || exit 8
before=\$(shmem)
: >/vm/out/ready
use & first=\$!
use & second=\$!
wait \$first && wait \$second || exit 9
sleep 1
after=\$(shmem)
echo "shared memory: \$before KiB before, \$after after" >&2
[ \$after -le \$((before + 64)) ]
END

# boot COUNT: a guest with as many devices; they are killed one after the other
boot()
{
	VM_DEVICE_LOG=$dir/device
	vm_device_start -t 1 --max-guests 64
	rm -rf "$dir/out"
	mkdir -p "$dir/out"
	devices=
	for _ in $(seq "$1"); do
		devices="$devices --device $VM_DEVICE_SOCKET:$VM_DEVICE_ID"
	done
	# what the kernel's own side of the socket says about its loss is not ours
	# shellcheck disable=SC2086
	sh tests/vm/guest.sh --kernel "$flavour" --allow 'drivers/virtio_uml.c' \
		--allow 'Call Trace' \
		--module "$module" $devices --see "$dir" --dir "$dir/out" --seconds 900 \
		". $dir/guest" >"$dir/said" 2>&1 &
	guest=$!
	while [ ! -e "$dir/out/ready" ] && kill -0 $guest 2>/dev/null; do
		sleep 0.1
	done
	sed -n 's/.*guest [0-9]*: connected (process \([0-9]*\)).*/\1/p' "$dir/device" >"$dir/pids"
	awk -v seed="$seed$done" 'BEGIN { srand(seed) }
		{ printf "%s %.3f\n", $1, rand() }' "$dir/pids" >"$dir/plan"
	while read -r pid seconds; do
		sleep "$seconds"
		kill -KILL "$pid" 2>/dev/null && done=$((done + 1))
	done <"$dir/plan"
	status=0
	wait $guest || status=$?
	vm_device_stop
	boots=$((boots + 1))
	if [ $status != 0 ] && vm_uml_died "$dir/out/log" && [ $lost -le $((boots / 2)) ]; then
		lost=$((lost + 1)) done=$was
		echo "# a guest was lost to User-Mode Linux ($lost of $boots)"
		return
	fi
	result $status "nothing is left when the device was killed ($done times by now)" "$dir/said"
	[ $status = 0 ] || echo "# LINNET_SEED=$seed"
}

while [ $done -lt "$kills" ]; do
	was=$done before=$lost
	boot $((kills - done < 48 ? kills - done : 48))
	if [ $done = $was ] && [ $lost = $before ]; then
		result 1 "there are devices to kill" "$dir/device"
		break
	fi
done

# ------------------------------------------------------------- programs are killed
# What is left of a program that was killed is let go by workers, and after grace periods.
text='run -m tools/demo/linnet-demo.gguf -p Once -n 40 --temp 0 -q'
# shellcheck disable=SC2086
"$build/linnet" $text --engine host >"$dir/host"
awk -v seed="$seed" -v n="$kills" \
	'BEGIN { srand(seed); while (n-- > 0) printf "%.3f\n", 1.5 * rand() }' >"$dir/moments"
# however slow a machine is, two are killed at work
printf 'text\ntext\n' >>"$dir/moments"
# half of them read weights past the page cache all the time, into the device's buffers
mkdir -p "$dir/files"
"${PYTHON:-/usr/bin/python3}" tests/tools/make_model.py --preset llama --type q8_0 --layers 4 \
	--embd 512 --ff 1024 -o "$dir/files/model.gguf" >/dev/null
least=$("$build/linnet" plan -m "$dir/files/model.gguf" --memory 1 -c 4096 2>&1 |
	sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')
mke2fs -q -t ext4 -d "$dir/files" "$dir/disk" 64M >"$dir/said" 2>&1
cat >"$dir/guest" <<END
fail()
{
	echo "\$*: \$(tail -n 3 /tmp/err.\$1)" >&2
	exit 1
}
memory()
{
	sed -n 's/^Shmem: *\([0-9]*\) kB/\1/p' /proc/meminfo
}
# pages that reads and registered buffers hold, or have ever held (\`pins taken\`); each processor
# counts for itself until it is asked
pins()
{
	echo 1 >/proc/sys/vm/stat_refresh
	awk -v taken="\$1" '/^nr_foll_pin_acquired / { n += \$2 }
		/^nr_foll_pin_released / && !taken { n -= \$2 } END { print n + 0 }' /proc/vmstat
}
contexts()
{
	cat /sys/kernel/debug/accel/*/linnet_state | grep -c '^context'
}
# endless NAME OPTION...
endless()
{
	name=\$1
	shift
	exec $build/linnet run "\$@" -p '' -n -1 --ignore-eos --temp 0 -q --engine accel \
		>/tmp/text.\$name 2>/tmp/err.\$name
}
small="-m tools/demo/linnet-demo.gguf -c 200000"
paged="-m /mnt/model.gguf -c 4096 --memory $((least + 65536))"
mkdir -p /mnt && mount -o ro /dev/ubda /mnt || exit 5
works()
{
	timeout -s KILL 200 $build/linnet $text --engine accel >/tmp/text 2>/tmp/err.works &&
		cmp /tmp/text $dir/host || fail works
}
works
before=\$(memory) pinned=\$(pins) began=\$(date +%s%N)
endless innocent \$small & innocent=\$!
until [ -s /tmp/text.innocent ]; do
	kill -0 \$innocent || fail innocent
	sleep 0.1
done

# What fdinfo says of that program is so: its memory is what the machine has more of in use,
# and the device's time that it took is a part of the time that passed.
# told KEY: in bytes or nanoseconds, of the one client that the process is
told()
{
	cat /proc/\$innocent/fdinfo/* 2>/dev/null | awk -v key="\$1:" '
		/^drm-driver:/ { ours = \$2 == "linnet" }
		ours && \$1 == key { n = \$2 * (\$3 == "KiB" ? 1024 : \$3 == "MiB" ? 1048576 : 1) }
		END { printf "%.0f\n", n }'
}
grown=\$((\$(memory) - before)) resident=\$((\$(told drm-resident-memory) / 1024))
total=\$((\$(told drm-total-memory) / 1024)) jobs=\$(told linnet-jobs)
busy=\$(told drm-engine-compute)
sleep 2
more=\$((\$(told drm-engine-compute) - busy)) jobs=\$((\$(told linnet-jobs) - jobs))
busy=\$(told drm-engine-compute) time=\$((\$(date +%s%N) - began))
echo "resident \$resident KiB of \$total, shared memory grew by \$grown KiB;" \
	"the device worked \$((busy / 1000)) us of \$((time / 1000)) us," \
	"of that \$((more / 1000)) us for the last \$jobs jobs" >/vm/out/fdinfo
[ \$total -ge \$resident ] && [ \$resident -gt 1024 ] && [ \$grown -ge \$((resident - 64)) ] &&
	[ \$grown -le \$((resident + 1024)) ] && [ \$busy -le \$time ] &&
	[ \$more -gt 0 ] && [ \$jobs -gt 0 ] || : >/vm/out/fdinfo.wrong

n=0 at_work=0 reads=\$(pins taken)
while read -r seconds; do
	[ \$((n % 2)) = 0 ] && how=\$small || how=\$paged
	rm -f /tmp/text.killed
	endless killed \$how & killed=\$!
	if [ \$seconds = text ]; then
		until [ -s /tmp/text.killed ]; do
			kill -0 \$killed || fail killed
			sleep 0.1
		done
	else
		sleep \$seconds
	fi
	[ \$(contexts) -lt 2 ] || at_work=\$((at_work + 1))
	kill -KILL \$killed || fail killed
	status=0
	wait \$killed || status=\$?
	[ \$status = 137 ] || fail killed
	n=\$((n + 1))
done <$dir/moments
kill -KILL \$innocent || fail innocent
wait \$innocent
works
rm -f /tmp/text*
for try in \$(seq 600); do
	[ \$(contexts) != 0 ] || [ \$(memory) -gt \$((before + 64)) ] ||
		[ \$(pins) -gt \$pinned ] || break
	sleep 0.1
done
echo "\$n killed, \$at_work of them with a context; contexts left \$(contexts), shared memory" \
	"\$before KiB before and \$(memory) after, pages pinned \$pinned and \$(pins)" \
	"(\$((\$(pins taken) - reads)) times)" >/vm/out/sum
[ \$(contexts) = 0 ] && [ \$(memory) -le \$((before + 64)) ] && [ \$(pins) -le \$pinned ] &&
	grep -q '^held by the device 0' /sys/kernel/debug/accel/*/linnet_state &&
	[ \$at_work -gt 0 ] && [ \$(pins taken) -gt \$reads ]
END
rm -rf "$dir/out"
mkdir -p "$dir/out"
VM_DEVICE_LOG=$dir/device
vm_device_start -v
status=0
sh tests/vm/guest.sh --kernel "$flavour" --module "$module" \
	--device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" --disk "$dir/disk" --see "$dir" \
	--dir "$dir/out" --seconds $((900 + 10 * kills)) ". $dir/guest" >"$dir/said" 2>&1 ||
	status=$?
vm_device_stop
right=1
[ ! -s "$dir/out/fdinfo" ] || [ -e "$dir/out/fdinfo.wrong" ] || right=0
result $right "fdinfo of a program that runs a model tells the truth" "$dir/out/fdinfo"
cat "$dir/out/fdinfo" "$dir/out/sum" 2>/dev/null | sed 's/^/# /'
result $status "nothing is left when programs were killed ($kills); another one goes on" \
	"$dir/said"
[ $status = 0 ] || echo "# LINNET_SEED=$seed"
end_tests
