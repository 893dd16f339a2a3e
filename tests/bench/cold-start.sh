#!/bin/sh
# SPDX-License-Identifier: MIT
# Time to the first token of a model that is in no cache, for prompts of several lengths,
# against the larger of the times that the disk needs for the file alone (dd, direct, the
# better of 2 and 16 MiB blocks) and that the prompt needs in memory (linnet bench), in turn.
#
#   sh tests/bench/cold-start.sh [-m MODEL] [-k ROUNDS] [-t THREADS] [-p "1 512"]
#
# Without -m a synthetic model of Llama-3.2-1B's shape in Q8_0 (1.3 GB) is made in
# $TMPDIR. A virtual machine may have to be given its memory first, which takes longer
# than a disk, and may lose it again at any time: a program touches as much as the model needs
# right before each measurement, and the time that took is shown. As root the page cache is
# emptied; reads are direct in any case.
set -eu
cd "$(dirname "$0")/../.."

linnet=${LINNET_BUILD:-$PWD/build}/linnet
python=${PYTHON:-/usr/bin/python3}
model= rounds=5 threads=$(nproc) prompts="1 512"
while getopts m:k:t:p: o; do
	case $o in
	m) model=$OPTARG ;;
	k) rounds=$OPTARG ;;
	t) threads=$OPTARG ;;
	p) prompts=$OPTARG ;;
	*) exit 2 ;;
	esac
done
[ -x "$linnet" ] || { echo "cold-start.sh: $linnet is not built" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-cold.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
if [ -z "$model" ]; then
	model=$tmp/llama-1b-q8_0.gguf
	"$python" tests/tools/make_model.py --preset llama-1b --type q8_0 -o "$model"
fi
sync
bytes=$(stat -c %s "$model")

now()
{
	date +%s.%N
}

since()
{
	awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }'
}

empty_cache()
{
	[ "$(id -u)" != 0 ] || echo 3 >/proc/sys/vm/drop_caches
}

# direct BLOCK: seconds that dd needs for the file
direct()
{
	empty_cache
	start=$(now)
	dd if="$model" of=/dev/null bs="$1" iflag=direct 2>/dev/null
	since "$start"
}

# touch_memory: seconds that as much memory as the model needs takes to come
touch_memory()
{
	"$python" -c '
import mmap, sys, time
n = int(sys.argv[1])
start = time.monotonic()
with mmap.mmap(-1, n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as m:
    m.madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, n, 4096):
        m[at] = 1
print("%.3f" % (time.monotonic() - start))' $((bytes + bytes / 4))
}

# prompt TOKENS: a text of about so many tokens of the model
prompt()
{
	"$python" -c '
import subprocess, sys
tokens, command = int(sys.argv[1]), sys.argv[2:]
count = lambda n: len(subprocess.run(command + ["-p", "the " * n + "end"], check=True,
                                     stdout=subprocess.PIPE).stdout.split())
each = max(1, round((count(512) - count(256)) / 256))
extra = count(256) - 256 * each
text = "the " * max(0, (tokens - extra) // each) + "end"
open(1, "w").write(text)' "$1" "$linnet" tokenize --special -m "$model" >"$tmp/prompt"
}

context=512
for n in $prompts; do
	[ $((n + 64)) -le $context ] || context=$((n + 64))
done
echo "$model: $bytes bytes, $threads threads, context $context"
echo "prompt   memory s   disk s   in memory s   first token s   ratio" \
	"  peak memory MiB   of the plan"
planned=$("$linnet" info -m "$model" -c $context --memory none --json |
	"$python" -c 'import json, sys; print(json.load(sys.stdin)["memory"]["total"])')
round=0
while [ $round -lt "$rounds" ]; do
	for n in $prompts; do
		prompt "$n"
		touch_memory >/dev/null
		"$linnet" bench -m "$model" -p "$n" -n 0 -r 2 -t "$threads" -o json \
			>"$tmp/bench" 2>"$tmp/err" || { cat "$tmp/err" >&2; exit 1; }
		a=$(direct 2M)
		b=$(direct 16M)
		empty_cache
		memory=$(touch_memory)
		"$linnet" run -m "$model" -f "$tmp/prompt" -n 1 --temp 0 -c $context --memory none \
			-t "$threads" --stats "$tmp/out" >"$tmp/text" 2>"$tmp/err" ||
			{ cat "$tmp/err" >&2; exit 1; }
		"$python" -c '
import json, sys
memory, a, b, planned = map(float, sys.argv[1:5])
s = json.load(open(sys.argv[5]))
warm = json.load(open(sys.argv[6]))
warm = min(x for t in warm for x in t["samples_ns"]) / 1e9
disk, first = min(a, b), s["first_token_s"]
print("%6d %10.3f %8.3f %13.3f %15.3f %7.2f %17.0f %12.1f %%" % (s["prefill_tokens"], memory, disk,
      warm, first, first / max(disk, warm), s["peak_bytes"] / 2**20,
      100 * s["peak_bytes"] / planned))
' "$memory" "$a" "$b" "$planned" "$tmp/out" "$tmp/bench"
	done
	round=$((round + 1))
done
