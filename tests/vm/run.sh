#!/bin/sh
# SPDX-License-Identifier: MIT
# The driver's suite: what needs a kernel of its own, in guests. Prints TAP.
#
# usage: sh tests/vm/run.sh [--kernel base|debug] [NAME...]
#
# NAME picks groups: bench. Without one, all run. Packages of use `vm` are installed where
# that is possible; a machine without them, or one that lets no guest run, skips and says
# why. Logs stay in $O/vm/logs, one folder for each guest.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

flavour=debug
if [ "${1:-}" = --kernel ]; then
	flavour=$2
	shift 2
fi
groups=${*:-bench}

skip_all()
{
	echo "1..0 # SKIP $*"
	exit 77
}

case $(uname -m) in
x86_64) ;;
*) skip_all "guests are User-Mode Linux, which needs an x86-64 machine" ;;
esac

logs=$VM_OUT/logs
rm -rf "$logs"
mkdir -p "$logs"
if ! sh tools/packages.sh --check vm >"$logs/packages" 2>&1 &&
   ! sh tools/packages.sh vm >"$logs/packages" 2>&1; then
	skip_all "packages of use vm are not there and cannot be installed ($(tail -n 1 "$logs/packages"))"
fi
kernel=$(vm_kernel "$flavour")

n=0 failed=0

# result STATUS DESCRIPTION: 0 is ok
result()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then
		echo "ok $n - $2"
	else
		failed=$((failed + 1))
		echo "not ok $n - $2"
	fi
}

# What a guest's script said, behind a failed line.
explain()
{
	[ ! -s "$1" ] || tail -n 80 "$1" | sed 's/^/# /'
}

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
	failed=$((failed + more))
}

# guest NAME OPTION... COMMAND: run it; status in $status, output in $out, log in $log
guest()
{
	name=$1
	shift
	out=$logs/$name/out log=$logs/$name/log said=$logs/$name/said
	mkdir -p "$logs/$name"
	status=0
	sh tests/vm/guest.sh --kernel "$flavour" --dir "$logs/$name" "$@" >"$out" 2>"$said" || status=$?
	rm -f "$logs/$name/initramfs"
}

# ---------------------------------------------------------------------- bench
# Does the bench itself notice what it is there to notice?
group_bench()
{
	guest hello --no-leaks 'uname -r; test "$(cat tests/vm/run.sh | head -n 1)" = "#!/bin/sh"'
	result $status "a guest boots, sees the checkout and ends"
	if [ $status != 0 ]; then
		explain "$said"
		return
	fi
	guest status --no-leaks 'exit 7'
	[ $status = 7 ]; result $? "the exit status of a command comes out"
	guest readonly --no-leaks 'if touch tests/x 2>/dev/null; then exit 1; fi; touch /tmp/x'
	[ $status = 0 ]; result $? "the checkout cannot be written, /tmp can"
	[ "$flavour" = debug ] || return 0

	splat=$(sh tests/vm/module.sh --kernel "$flavour" tests/vm/splat)/splat.ko
	guest splat-none --module "$splat" true
	result $status "a module without mistakes passes"
	[ $status = 0 ] || explain "$said"
	while read -r mistake expected; do
		leaks=--no-leaks time=60
		[ "$mistake" != leak ] || leaks=
		[ "$mistake" != hang ] || time=6
		want=123
		case $mistake in
		crash | hang) want=122 ;;
		esac
		# shellcheck disable=SC2086
		guest "splat-$mistake" $leaks --seconds $time --module "$splat" --params "mistake=$mistake" true
		[ $status = $want ] && { [ -z "$expected" ] || grep -q -e "$expected" "$log"; } && found=0 || found=1
		result $found "the bench reports a mistake ($mistake)"
		[ $found = 0 ] || explain "$said"
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
leak unreferenced object
timer ODEBUG: free active
dma DMA-API:
warn WARNING:
crash Kernel panic
hang
END
}

for group in $groups; do
	case $group in
	bench) group_$group ;;
	*) vm_die "no such group ($group): bench" ;;
	esac
done
echo "1..$n"
[ $failed = 0 ]
