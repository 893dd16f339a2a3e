#!/bin/sh
# SPDX-License-Identifier: MIT
# The driver's suite: what needs a kernel of its own, in guests. Prints TAP.
#
# usage: sh tests/vm/run.sh [--kernel base | debug | sid-base | sid-debug] [NAME...]
#
# NAME picks groups: bench, shell (a part of it), source, kunit, selftests, stock, model,
# virtio, share, kills, memory, sid, sid-long (all of sid-virtio, sid-stock); or halves that may
# run beside each other: driver (the module alone), device (with a device or without a module).
# Without one, all run, but sid-long only with LINNET_TEST_LONG. --kernel is for those that
# run in User-Mode Linux, and lets them run on another.
# Packages of use `vm` are installed where that is possible; a machine without them, or one
# that lets no guest run, skips and says why. Logs stay in $O/vm/logs (logs-driver and logs-device
# of the halves), one folder for each guest.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh
. tests/vm/device.sh
. tests/tap.sh

flavour=debug
if [ "${1:-}" = --kernel ]; then
	flavour=$2
	shift 2
fi
kunit=
[ ! -d driver/tests ] || kunit=kunit
long=
[ -z "${LINNET_TEST_LONG:-}" ] || long=sid-long
driver_groups="bench source $kunit selftests stock sid $long"
device_groups='model virtio share kills memory'
logs=$VM_OUT/logs groups=$*
case $groups in
'') groups="$driver_groups $device_groups" ;;
driver) groups=$driver_groups logs=$logs-driver ;;
device) groups=$device_groups logs=$logs-device ;;
esac

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 77
}

case $(uname -m) in
x86_64) ;;
*) skip_all "guests are User-Mode Linux, which needs an x86-64 machine" ;;
esac

rm -rf "$logs"
mkdir -p "$logs"
if ! sh tools/packages.sh --check vm >"$logs/packages" 2>&1 &&
   ! sh tools/packages.sh vm >"$logs/packages" 2>&1; then
	skip_all "packages of use vm are not there and cannot be installed" \
		"($(tail -n 1 "$logs/packages"))"
fi
vm_kernel "$flavour" >/dev/null

# absorb NAME FILE: the results of a TAP program become results of this one
absorb()
{
	awk -v name="$1" -v n="$n" -v count="$logs/count" '
	/^(ok|not ok)( |$)/ {
		seen++
		bad = /^not/
		failed += bad
		sub(/^(ok|not ok) *[0-9]* *-? */, "")
		printf "%s %d - %s: %s\n", bad ? "not ok" : "ok", ++n, name, $0
		next
	}
	/^1\.\.[0-9]+/ {
		planned = 1
		plan = substr($1, 4) + 0
		if (!plan && match($0, /# *[Ss][Kk][Ii][Pp].*/)) {
			printf "ok %d - %s %s\n", ++n, name, substr($0, RSTART)
		}
		next
	}
	/^Bail out!/ { printf "not ok %d - %s: %s\n", ++n, name, $0; failed++; next }
	/^#/ && bad { print }
	END {
		if (!planned || plan != seen) {
			printf "not ok %d - %s: planned %d and ran %d\n", ++n, name, plan, seen
			failed++
		}
		print n, failed + 0 >count
	}' "$2"
	read -r n more <"$logs/count"
	[ "$more" = 0 ] || failed=1
}

# guest NAME OPTION... COMMAND: run it; status in $status, output in $out, log in $log
guest()
{
	name=$1
	shift
	out=$logs/$name/out log=$logs/$name/log said=$logs/$name/said
	mkdir -p "$logs/$name"
	status=0
	sh tests/vm/guest.sh --kernel "$flavour" --dir "$logs/$name" "$@" >"$out" 2>"$said" ||
		status=$?
	rm -f "$logs/$name/initramfs"
}

# ---------------------------------------------------------------------- bench
# Does the bench itself notice what it is there to notice? $1 is put before names.
bench_tests()
{
	guest "${1}hello" --no-leaks \
		'uname -r; test "$(cat tests/vm/run.sh | head -n 1)" = "#!/bin/sh"'
	result $status "${1}a guest boots, sees the checkout and ends" "$said"
	[ $status = 0 ] || return 0
	guest "${1}status" --no-leaks 'exit 7'
	[ $status = 7 ]; result $? "${1}the exit status of a command comes out"
	guest "${1}readonly" --no-leaks \
		'if touch tests/x 2>/dev/null; then exit 1; fi; touch /tmp/x'
	[ $status = 0 ]; result $? "${1}the checkout cannot be written, /tmp can"
	case $flavour in
	*debug) ;;
	*) return 0 ;;
	esac

	kernel=$(vm_kernel "$flavour")
	splat=$(sh tests/vm/module.sh --kernel "$flavour" tests/vm/splat)/splat.ko
	guest "${1}splat-none" --module "$splat" true
	result $status "${1}a module without mistakes passes" "$said"
	while read -r mistake expected; do
		leaks=--no-leaks time=60
		[ "$mistake" != leak ] || leaks=
		[ "$mistake" != hang ] || time=6
		case $expected in
		KASAN*) grep -q '^CONFIG_KASAN=y' "$kernel/.config" || continue ;;
		esac
		want=123
		case $mistake in
		crash | hang) want=122 ;;
		esac
		# shellcheck disable=SC2086
		guest "${1}splat-$mistake" $leaks --seconds $time --module "$splat" \
			--params "mistake=$mistake" true
		[ $status = $want ] && { [ -z "$expected" ] || grep -q -e "$expected" "$log"; } &&
			found=0 || found=1
		result $found "${1}the bench reports a mistake ($mistake)" "$said"
	done <<'END'
slab KASAN: slab-out-of-bounds
freed KASAN: slab-use-after-free
vmalloc KASAN: vmalloc-out-of-bounds
shift UBSAN: shift-out-of-bounds
bounds UBSAN: array-index-out-of-bounds
order possible circular locking dependency
atomic sleeping function called from invalid context
rcu suspicious rcu_dereference_check
list list_del corruption
leak new suspected memory leaks
timer ODEBUG: free active
dma DMA-API:
warn WARNING:
crash Kernel panic
hang
END
}

# at_terminal TEXT COMMAND EXPECTED OPTION...: a person at a terminal gets a shell with the module
# in one command, types a line and sees this one
at_terminal()
{
	text=$1 line=$2 expected=$3
	shift 3
	if ! command -v script >/dev/null; then
		skip "$text" "script is not there (Debian's package bsdutils)"
		return
	fi
	: >"$logs/shell"
	(
		for _ in $(seq 200); do
			! grep -q 'built-in shell' "$logs/shell" || break
			sleep 1
		done
		sleep 1
		echo "$line; exit"
		# the terminal stays until it is answered
		for _ in $(seq 200); do
			! tr -d '\r' <"$logs/shell" | grep -q "$expected" || break
			sleep 1
		done
		sleep 2
	) | timeout 450 script -qec "sh tests/vm/shell.sh --kernel $flavour $*" /dev/null \
		>"$logs/shell" 2>&1 || :
	tr -d '\r' <"$logs/shell" | grep -q "$expected" && found=0 || found=1
	result $found "$text" "$logs/shell"
}

shell_test()
{
	at_terminal "tests/vm/shell.sh opens a shell with the module loaded" \
		'echo nodes: /dev/accel/*' '^nodes: /dev/accel/accel0$'
	linnet=${LINNET_BUILD:-${O:-build}}/linnet
	at_terminal "tests/vm/shell.sh --device: the same, and a model runs on a device" \
		"$linnet run -p Once -n 8 -q --engine accel; echo status: \$?" '^status: 0$' --device
}

group_bench()
{
	bench_tests ''
	shell_test
}

# --------------------------------------------------------------------- source
# The module as it is built, checked and installed; the rule for udev.
group_source()
{
	sh tests/vm/source.sh >"$logs/source" 2>"$logs/source.err" || :
	absorb source "$logs/source"

	udev=/lib/systemd/systemd-udevd
	if [ ! -x $udev ] || ! getent group render >/dev/null; then
		skip "udev gives the device to a group" "udev or the group render is not there"
		return
	fi
	folder=$(sh tests/vm/module.sh --kernel "$flavour")
	guest udev --no-leaks --module "$folder/driver/linnet.ko" --params sim=1 "
		[ \$(stat -c %G:%a /dev/accel/accel0) != render:660 ] || exit 2
		mkdir -p /run/udev/rules.d
		cp driver/71-linnet-accel.rules /run/udev/rules.d/
		$udev --daemon
		udevadm trigger --action=add --subsystem-match=accel
		udevadm settle -t 60
		stat -c %G:%a /dev/accel/accel0 | tee /vm/out/node
		killall systemd-udevd
		[ \$(cat /vm/out/node) = render:660 ]"
	cat "$said" >>"$out"
	result $status "udev gives the device to the group render (mode 660)" "$out"
}

# ---------------------------------------------------------------------- kunit
# Every module of the driver's build but linnet.ko itself is a set of KUnit tests.
# kunit_tests NAME
kunit_tests()
{
	folder=$(sh tests/vm/module.sh --kernel "$flavour")
	tests=$(find "$folder/driver" -name '*.ko' ! -name linnet.ko)
	if [ -z "$tests" ]; then
		result 1 "there are KUnit tests"
		return
	fi
	guest "$1" --seconds 1800 --module "$folder/driver/linnet.ko" --params sim=1 "
		for m in $(echo "$tests" | tr '\n' ' '); do vm_insmod \$m || exit 1; done
		cat /sys/kernel/debug/kunit/*/results
		for m in $(echo "$tests" | tr '\n' ' '); do
			rmmod \$(basename \$m .ko | tr - _) || exit 1
		done"
	result $status "$1: KUnit tests run, and the kernel does not complain" "$said"
	# one level down in KTAP: the cases of a suite
	awk '/^    # Subtest: / { suite = $3 ": " }
		/^    (ok|not ok) / { sub(/^ +/, ""); sub(/[0-9]+ -? */, "& " suite); print; n++ }
		END { print "1.." n + 0 }' "$out" >"$logs/$1/tap"
	absorb "$1" "$logs/$1/tap"
}

group_kunit()
{
	kunit_tests kunit
}

# ------------------------------------------------------------------- selftests
# The programs of tests/selftests, on the simulated device.

# selftests NAME: one guest, all programs
selftests()
{
	folder=$(sh tests/vm/module.sh --kernel "$flavour")
	if ! make -s -j "$VM_JOBS" O="${O:-build}" selftests >"$logs/selftests.make" 2>&1; then
		result 1 "tests/selftests builds" "$logs/selftests.make"
		return
	fi
	programs=$PWD/${O:-build}/tests/selftests
	# these end what hangs; a busy machine may take a multiple of the usual two minutes
	limit=3000
	[ -z "${LINNET_TEST_LONG:-}" ] || limit=36000
	# memory has a policy where there is a choice, which User-Mode Linux has not
	nodes=1
	! vm_in_qemu "$flavour" || nodes=2
	# for reads without the page cache; it is overwritten
	mkdir -p "$logs/$1"
	truncate -s 64M "$logs/$1/disk"
	guest "$1" --seconds $limit --nodes $nodes --module "$folder/driver/linnet.ko" \
		--params 'sim=2 timeout_ms=1000' --disk "$logs/$1/disk" "
		bad=0
		export LINNET_TEST_MODULE=$folder/driver/linnet.ko
		export LINNET_TEST_PARAMS='sim=2 timeout_ms=1000'
		for disk in /dev/ubda /dev/nvme0n1; do
			[ ! -b \$disk ] || export LINNET_TEST_DISK=\$disk
		done
		for t in $programs/*; do
			name=\${t##*/}
			timeout -k 10 $((limit / 5)) \$t >/vm/out/\$name.tap 2>/vm/out/\$name.err ||
				[ \$? = 77 ] || bad=1
		done
		exit \$bad"
	rm -f "$logs/$1/disk"
	for t in "$programs"/*; do
		name=${t##*/}
		if [ -s "$logs/$1/$name.tap" ]; then
			absorb "$1/$name" "$logs/$1/$name.tap"
		else
			result 1 "$1/$name: says something" "$logs/$1/$name.err"
		fi
	done
	# a failed program has its own line
	[ $status != 1 ] || status=0
	result $status "$1: the kernel does not complain" "$said"
}

group_selftests()
{
	mkdir -p "$logs/selftests"
	sh tests/selftests/fields.sh >"$logs/selftests/fields.list" || :
	absorb fields "$logs/selftests/fields.list"
	selftests selftests
}

# on KERNEL: what follows is for this one, until flavour=$saved. Without its packages that is
# skipped; a kernel that cannot be built of them is a failure.
on()
{
	saved=$flavour cannot=0
	vm_kernel "$1" >"$logs/$1.folder" 2>"$logs/$1.err" || cannot=$?
	case $cannot in
	0)	flavour=$1
		return 0 ;;
	77)	skip "$1" "Debian's packages cannot be had ($(tail -n 1 "$logs/$1.err"))" ;;
	*)	result 1 "$1: there is a kernel" "$logs/$1.err" ;;
	esac
	return 1
}

# bounce NAME: a machine where all DMA goes through bounce buffers. The simulated device's
# own buffers need none; what a device is to reach through the DMA API is refused.
bounce()
{
	if ! make -s O="${O:-build}" "${O:-build}/tests/vm/liar" selftests \
		>"$logs/$1.make" 2>&1; then
		result 1 "$1: the tests build" "$logs/$1.make"
		return
	fi
	folder=$(sh tests/vm/module.sh --kernel "$flavour")
	place=$(mktemp -d "${TMPDIR:-/tmp}/linnet-vm.XXXXXX")
	"${O:-build}/tests/vm/liar" "$place/device" platform 1 2>"$logs/$1.device" &
	device=$!
	for _ in $(seq 300); do
		[ ! -S "$place/device" ] || break
		sleep 0.2
	done
	mkdir -p "$logs/$1"
	truncate -s 64M "$logs/$1/disk"
	guest "$1" --seconds 1800 --append swiotlb=force --platform \
		--module "$folder/driver/linnet.ko" \
		--params 'sim=2 timeout_ms=1000 virtio_id=2' \
		--device "$place/device:$VM_DEVICE_ID" --disk "$logs/$1/disk" "
		export LINNET_TEST_DISK=/dev/nvme0n1
		bad=0
		run() {
			timeout -k 10 600 $PWD/${O:-build}/tests/selftests/\$1 \
				>/vm/out/\$2.tap 2>&1 || bad=1
		}
		for t in buffer job bounce; do run \$t \$t; done
		for node in /dev/accel/*; do
			case \$(readlink /sys/class/accel/\${node##*/}/device) in
			*/virtio*)
				export LINNET_TEST_NODE=\$node
				run bounce virtio ;;
			esac
		done
		exit \$bad"
	kill $device 2>/dev/null || :
	rm -rf "$place" "$logs/$1/disk"
	for t in buffer job bounce virtio; do
		: >>"$logs/$1/$t.tap"
		absorb "$1/$t" "$logs/$1/$t.tap"
	done
	[ $status != 1 ] || status=0
	result $status "$1: the kernel does not complain" "$said"
}

# comings KERNEL: a device that ends and comes back, a machine that sleeps and wakes
comings()
{
	for test in reconnect freeze; do
		sh tests/vm/$test.sh --kernel "$1" >"$logs/$1-$test" 2>"$logs/$1-$test.err" || :
		absorb "$1-$test" "$logs/$1-$test"
	done
}

# The same on Debian's own kernel, with two processors.
group_stock()
{
	on stock || return 0
	selftests stock
	bounce stock-bounce
	comings stock
	flavour=$saved
}

# ------------------------------------------------------------------------ sid
# The newest kernel of Debian's unstable suite, whose interfaces differ: KUnit, the programs
# of tests/selftests. Group model runs models there.
group_sid()
{
	on sid-debug || return 0
	echo "# kernel: $(basename "$(cat "$logs/sid-debug.folder")")"
	kunit_tests sid-kunit
	selftests sid-selftests
	flavour=$saved
}

# The rest: does this kernel report mistakes, devices that lie, devices that are killed.
group_sid_virtio()
{
	on sid-debug || return 0
	bench_tests sid-
	virtio_tests sid-virtio
	kills_tests sid-kills
	flavour=$saved
}

# Debian's image of it, in QEMU
group_sid_stock()
{
	on sid-stock || return 0
	selftests sid-stock
	bounce sid-bounce
	comings sid-stock
	flavour=$saved
}

# ---------------------------------------------------------------------- model
# Models through the driver and a device: the bits of the host engine. The same command
# runs here with --engine host and in the guest with --engine accel; the guest's files
# lie on a disk of its own, so that weights are read by O_DIRECT.

# run_commands ENGINE MODELS RESULTS: every line of $logs/commands, one result each
cat >"$VM_OUT/run-commands.sh" <<'END'
engine=$1 models=$2 results=$3
failed=0
while read -r name command; do
	eval "\"$LINNET\" $command --engine $engine" \
		>"$results/$name" 2>"$results/$name.err" </dev/null ||
		failed=1
done <"$4"
exit $failed
END

# models_in_guest NAME COMMANDS: run them there, compare
models_in_guest()
{
	VM_DEVICE_LOG=$logs/$1.device
	if ! vm_device_start -v; then
		result 1 "$1: linnet device starts"
		return
	fi
	module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
	# in QEMU the device has the id of a block device
	params=
	! vm_in_qemu "$flavour" || params=virtio_id=2
	guest "$1" --module "$module" --params "$params" \
		--device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" \
		--disk "$VM_OUT/models.ext4" --seconds 2400 "export LINNET=$LINNET
		mkdir -p /mnt
		for disk in /dev/ubda /dev/nvme0n1; do
			[ ! -b \$disk ] || mount -o ro \$disk /mnt
		done
		sh '$VM_OUT/run-commands.sh' accel /mnt /vm/out '$2'"
	vm_device_stop
	result $status "$1: models run through the driver, and the kernel does not complain" "$said"
	while read -r name _; do
		same=0
		cmp -s "$logs/host/$name" "$logs/$1/$name" || same=1
		[ -s "$logs/host/$name" ] || same=1
		result $same "$1: accel and host give the same bits ($name)" "$logs/$1/$name.err"
	done <"$2"
	if [ -r "$data/stories260K/greedy-200.txt" ]; then
		same=0
		cmp -s "$data/stories260K/greedy-200.txt" "$logs/$1/stories260K-text" || same=1
		result $same "$1: the published text of stories260K"
	fi
	same=0
	grep -q '"engine": *"accel"' "$logs/$1/paged-stats" &&
		grep -q '"direct_io": *true' "$logs/$1/paged-stats" &&
		grep -q '"io_uring": *true' "$logs/$1/paged-stats" || same=1
	result $same "$1: weights are read straight into the device's buffers (O_DIRECT, io_uring)"
}

group_model()
{
	LINNET=${LINNET_BUILD:-$PWD/${O:-build}}/linnet
	case $LINNET in
	/*) ;;
	*) LINNET=$PWD/$LINNET ;;
	esac
	export LINNET
	models=$VM_OUT/models
	export models
	rm -rf "$models"
	mkdir -p "$models" "$logs/model" "$logs/host"
	cp tools/demo/linnet-demo.gguf "$models/demo.gguf"
	data=${LINNET_TEST_DATA:-$PWD/../shared/data}
	[ ! -r "$data/stories260K/stories260K.gguf" ] ||
		cp "$data/stories260K/stories260K.gguf" "$models/"
	ids=1,5,9,300,17,2,44,401,100,7,88,250,33,12,64,128,200,19
	commands=$logs/commands
	{
		for m in "$models"/*.gguf; do
			name=$(basename "$m" .gguf)
			echo "$name-text run -m \$models/$name.gguf -p '' -n 200 --temp 0 -q"
			echo "$name-prompt run -m \$models/$name.gguf -p 'Once upon a time'" \
				"-n 200 --temp 0 -q"
			echo "$name-logits logits -m \$models/$name.gguf --tokens $ids --all --raw"
		done
		python=${PYTHON:-/usr/bin/python3}
		while read -r preset type more; do
			# shellcheck disable=SC2086
			"$python" tests/tools/make_model.py --preset "$preset" \
				--type "$type" $more \
				-o "$models/$preset-$type.gguf" >/dev/null 2>"$logs/make_model" ||
				continue
			m="-m \$models/$preset-$type.gguf"
			echo "$preset-$type-logits logits $m --tokens $ids --all --raw"
			echo "$preset-$type-kv logits $m --tokens $ids --all --raw" \
				"--kv-type q8_0 -b 5"
		done <<'END'
llama f32
llama3 q4_k
mistral q8_0
mixtral q4_k
qwen2 q5_k
qwen3 q6_k
qwen3moe q4_0
phi3 bf16
gemma2 iq4_nl
gemma3 f16
END
	} >"$commands"
	"$python" tests/tools/make_model.py --preset llama --type q8_0 --layers 6 --embd 512 \
		--ff 2048 -o "$models/paged.gguf" >/dev/null 2>>"$logs/make_model" || :
	if [ -r "$models/paged.gguf" ]; then
		least=$("$LINNET" plan -m "$models/paged.gguf" --memory 1M -c 64 2>&1 |
			sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p')
		echo "paged-text run -m \$models/paged.gguf -p '' -n 12 -c 64 --temp 0" \
			"--memory $((least + 65536)) --stats \$results/paged-stats" >>"$commands"
	else
		result 1 "models can be made (python3-numpy)" "$logs/make_model"
	fi
	sh "$VM_OUT/run-commands.sh" host "$models" "$logs/host" "$commands" ||
		{ result 1 "the host engine runs the models"; return; }

	rm -f "$VM_OUT/models.ext4"
	mke2fs -q -t ext4 -d "$models" "$VM_OUT/models.ext4" 96M >"$logs/mke2fs" 2>&1 ||
		{ result 1 "a file system for the models" "$logs/mke2fs"; return; }
	models_in_guest model "$commands"
	# every kind of job, not every type of weights again
	grep -E '^(demo|stories260K|mixtral|qwen3moe|paged)' "$commands" >"$commands.some"
	kernels='stock sid-debug'
	[ -z "${LINNET_TEST_LONG:-}" ] || kernels="$kernels sid-stock"
	for kernel in $kernels; do
		on "$kernel" || continue
		models_in_guest "$kernel-model" "$commands.some"
		flavour=$saved
	done

	module=$(sh tests/vm/module.sh --kernel "$flavour")/driver/linnet.ko
	# a signal ends a text in the middle, and what the device still had is cancelled
	vm_device_start -v || { result 1 "linnet device starts again"; return; }
	endless="run -m $models/demo.gguf -p '' -n -1 -c 200000 --ignore-eos --temp 0 -q"
	# in the guest: $pid is such a run that has begun to write
	begin="
		$LINNET $endless --engine accel >/tmp/text 2>/vm/out/err & pid=\$!
		until [ -s /tmp/text ]; do
			kill -0 \$pid || exit 8
			sleep 0.1
		done"
	guest interrupt --module "$module" --device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" "$begin
		kill -INT \$pid
		wait \$pid && [ ! -s /vm/out/err ]"
	vm_device_stop
	result $status "accel: a run is interrupted, and the kernel does not complain" "$said"

	# The device dies under a run: the run ends with an error, the module unloads. What
	# the kernel's own side of the socket says about its loss is not ours, nor is a guest
	# that it takes down in saying so: another takes its place.
	for again in 1 2 3; do
		vm_device_start -v || { result 1 "linnet device starts again"; return; }
		mkdir -p "$logs/death"
		rm -f "$logs/death/ready"
		(
			until [ -e "$logs/death/ready" ]; do sleep 0.2; done
			kill -KILL $(pgrep -P "$VM_DEVICE_PID") "$VM_DEVICE_PID"
		) 2>/dev/null &
		killer=$!
		guest death --allow 'drivers/virtio_uml.c' --allow 'Call Trace' \
			--module "$module" --device "$VM_DEVICE_SOCKET:$VM_DEVICE_ID" "$begin
			: >/vm/out/ready
			wait \$pid
			[ \$? = 1 ] && [ -s /vm/out/err ]"
		kill $killer 2>/dev/null || :
		vm_device_stop
		[ $status != 0 ] && vm_uml_died "$log" || break
		echo "# a guest was lost to User-Mode Linux ($again)"
	done
	cat "$logs/death/err" >>"$said"
	result $status "accel: the device dies, a run ends with an error and the module unloads" \
		"$said"
}

# --------------------------------------------------------------------- virtio
# The transport's side of Documentation/device-spec.rst, with devices that lie.
# virtio_tests NAME
virtio_tests()
{
	# a device that lies, for tests alone
	if ! make -s O="${O:-build}" "${O:-build}/tests/vm/liar" selftests \
		>"$logs/liar.make" 2>&1; then
		result 1 "virtio: the lying device builds" "$logs/liar.make"
		return
	fi
	sh tests/vm/virtio.sh --kernel "$flavour" >"$logs/$1" 2>"$logs/$1.err" || :
	absorb "$1" "$logs/$1"
}

group_virtio()
{
	virtio_tests virtio
}

# --------------------------------------------------------------------- memory
# The host engine where only a guest has what it is about: memory nodes, disks that fail.
group_memory()
{
	sh tests/vm/memory.sh >"$logs/memory" 2>"$logs/memory.err" || :
	absorb memory "$logs/memory"
}

# ---------------------------------------------------------------------- share
group_share()
{
	sh tests/vm/share.sh --kernel "$flavour" >"$logs/share" 2>"$logs/share.err" || :
	absorb share "$logs/share"
}

# ---------------------------------------------------------------------- kills
# kills_tests NAME
kills_tests()
{
	sh tests/vm/kills.sh --kernel "$flavour" >"$logs/$1" 2>"$logs/$1.err" || :
	absorb "$1" "$logs/$1"
}

group_kills()
{
	kills_tests kills
}

for group in $groups; do
	began=$(date +%s)
	case $group in
	shell) shell_test ;;
	bench | source | kunit | selftests | stock | model | virtio | share | kills | memory | sid)
		group_$group ;;
	sid-virtio) group_sid_virtio ;;
	sid-stock) group_sid_stock ;;
	sid-long)
		group_sid_virtio
		group_sid_stock ;;
	*) vm_die "no such group ($group): see the head of tests/vm/run.sh" ;;
	esac
	echo "# $group: $(($(date +%s) - began)) s"
done
end_tests
