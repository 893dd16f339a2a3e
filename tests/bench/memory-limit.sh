#!/bin/sh
# SPDX-License-Identifier: MIT
# Speed of a model that is larger than its memory limit: linnet and, where llama-bench is
# on the PATH, llama.cpp (mmap, without its repacked copy), side by side, each in a
# control group of its own (version 1 or 2), from a cold page cache.
#
#   sh tests/bench/memory-limit.sh [-m MODEL] [-r "1.05 1.10 ..."] [-n TOKENS] [-t THREADS]
#                                  [-a KIB]
#   sh tests/bench/memory-limit.sh -s RUNS [-m MODEL] [-n TOKENS] [-t THREADS]
#
# The second form is a soak: so many runs of a text at ratios from 1.05 to 2.00, drawn at
# random, each in a group of its own. It counts runs that were killed, that failed, whose
# text is not that of a run with enough memory, and whose group went over its limit (which
# it cannot, or was refused memory: then the run was killed). Exit 1 when there are any.
# The smaller the model, the sooner it is done; its ratios need a limit that it can work in.
#
# Without -m a synthetic model of Llama-3.1-8B's shape in Q4_0 (4.7 GB) is made in
# $TMPDIR. Prints, for each ratio of model to limit: tokens/s, gigabytes read for each
# token, major faults, peak memory of the group, OOM kills, and the bound:
#
#   1 / max(time of a token in memory, (weights - resident) / disk rate)
#
# where resident is what linnet's plan keeps for as many positions. As a machine's speed
# drifts, the time in memory is measured before each ratio and the disk's rate after it.
# Every row is the mean of three times TOKENS tokens, after one that is not counted: the
# first pass reads what is resident. Writes memory-limit.svg where it is called. Needs root.
#
# What mmap reaches depends on the disk's read-ahead: 128 KiB unless somebody set another,
# as images for virtual machines do. It is printed; -a sets it while the benchmark runs.
set -eu
picture=$PWD/memory-limit.svg
cd "$(dirname "$0")/../.."

linnet=${LINNET_BUILD:-$PWD/build}/linnet
python=${PYTHON:-/usr/bin/python3}
ratios="1.05 1.10 1.25 1.50 2.00" tokens=8 threads=2 model= soak= ahead=
while getopts m:r:n:t:s:a: o; do
	case $o in
	m) model=$OPTARG ;;
	r) ratios=$OPTARG ;;
	n) tokens=$OPTARG ;;
	t) threads=$OPTARG ;;
	s) soak=$OPTARG ;;
	a) ahead=$OPTARG ;;
	*) exit 2 ;;
	esac
done
[ "$(id -u)" = 0 ] || { echo "memory-limit.sh: needs root to make control groups" >&2; exit 1; }
[ -x "$linnet" ] || { echo "memory-limit.sh: $linnet is not built" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-limit.XXXXXX")
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
	group=/sys/fs/cgroup/linnet-limit.$$ limit=memory.max peak=memory.peak
	echo +memory >/sys/fs/cgroup/cgroup.subtree_control
else
	group=/sys/fs/cgroup/memory/linnet-limit.$$ limit=memory.limit_in_bytes
	peak=memory.max_usage_in_bytes
fi
cleanup()
{
	[ ! -d "$group" ] || rmdir "$group" || true
	[ ! -f "$tmp/ahead" ] || cat "$tmp/ahead" >"$read_ahead"
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

if [ -z "$model" ]; then
	model=$tmp/llama-8b-q4_0.gguf
	"$python" tests/tools/make_model.py --preset llama-8b --type q4_0 -o "$model"
fi
sync
bytes=$(stat -c %s "$model")

# the file's disk; a file system without one has no read-ahead to speak of
read_ahead=/sys/class/bdi/$(mountpoint -d "$(stat -c %m "$model")")/read_ahead_kb
if [ -n "$ahead" ]; then
	cp "$read_ahead" "$tmp/ahead"
	echo "$ahead" >"$read_ahead"
fi

# inside LIMIT COMMAND...: run it in the group with a cold cache; leaves $tmp/out, $tmp/err,
# $tmp/time and sets status, peak_bytes and oom
inside()
{
	mkdir "$group"
	echo "$1" >"$group/$limit"
	[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
	shift
	sync
	"$python" -c "import os,sys
f = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)" "$model"
	status=0
	sh -c 'echo $$ >"$0/cgroup.procs"; shift 0; exec "$@"' "$group" \
		"$python" -c '
import json, resource, subprocess, sys
out, err = open(sys.argv[1], "w"), open(sys.argv[2], "w")
p = subprocess.Popen(sys.argv[4:], stdout=out, stderr=err)
try:
    code = p.wait(timeout=1800)
except subprocess.TimeoutExpired:
    p.kill()
    code = p.wait()
u = resource.getrusage(resource.RUSAGE_CHILDREN)
json.dump({"code": code, "majflt": u.ru_majflt, "inblock": u.ru_inblock * 512,
           "rss": u.ru_maxrss * 1024},
          open(sys.argv[3], "w"))' "$tmp/out" "$tmp/err" "$tmp/time" "$@" || status=$?
	peak_bytes=$(cat "$group/$peak" 2>/dev/null || echo 0)
	oom=0
	if [ -f "$group/memory.events" ]; then
		oom=$(sed -n 's/^oom_kill //p' "$group/memory.events")
	elif [ -f "$group/memory.oom_control" ]; then
		oom=$(sed -n 's/^oom_kill //p' "$group/memory.oom_control")
	fi
	rmdir "$group"
}

# soak_run RATIO: a text in a limit of the model's size by RATIO; what came of it
soak_run()
{
	limit_bytes=$(awk "BEGIN { printf \"%.0f\", $bytes / $1 }")
	rm -f "$tmp/time" "$tmp/out"
	inside "$limit_bytes" "$linnet" run -m "$model" -c 256 -t "$threads" -n "$tokens" --temp 0 \
		-p "$prompt" -q
	verdict=same
	if [ "${oom:-0}" -gt 0 ]; then
		verdict=killed
	elif [ "$("$python" -c 'import json, sys
print(json.load(open(sys.argv[1]))["code"])' "$tmp/time")" != 0 ]; then
		verdict=failed
	elif ! cmp -s "$tmp/out" "$tmp/text"; then
		verdict=differs
	elif [ "$peak_bytes" -gt "$limit_bytes" ]; then
		verdict=over
	fi
	echo "$1 $verdict $peak_bytes $limit_bytes" >>"$tmp/soak"
}

# row WHO RATIO LIMIT: append what was measured to the results
row()
{
	"$python" - "$tmp/results" "$1" "$2" "$3" "$tmp/out" "$tmp/err" "$tmp/time" "$peak_bytes" \
		"${oom:-0}" <<'PY'
import json, sys
results, who, ratio, limit, out, err, time, peak, oom = sys.argv[1:]
r = dict(who=who, ratio=float(ratio), plan="plan." + ratio, limit=int(limit), peak=int(peak), oom=int(oom), tps=0.0)
try:
    r.update(json.load(open(time)))
except ValueError:
    pass
try:
    r["tps"] = [t["avg_ts"] for t in json.load(open(out)) if t["n_gen"]][0]
except (ValueError, LookupError):
    last = open(err).read().strip().splitlines()[-1:] or ["no message"]
    print("%s at %s gave no figure: %s" % (who, ratio, last[0]), file=sys.stderr)
with open(results, "a") as f:
    f.write(json.dumps(r) + "\n")
PY
}

if [ -n "$soak" ]; then
	prompt="Once upon a time there was a machine with little memory."
	inside $((bytes + bytes / 2)) "$linnet" run -m "$model" -c 256 -t "$threads" -n "$tokens" \
		--temp 0 -p "$prompt" -q
	cp "$tmp/out" "$tmp/text"
	[ -s "$tmp/text" ] || { echo "memory-limit.sh: no text to compare with" >&2; exit 1; }
	for r in $("$python" -c "import random
print(*('%.3f' % random.uniform(1.05, 2) for i in range($soak)))"); do
		soak_run "$r"
	done
	awk '{ n[$2]++; if ($3 / $4 > top) top = $3 / $4; if ($2 != "same") { bad++; print } }
	END {
		printf "%d runs: %d the same text, %d killed, %d failed, %d other texts, %d over; ",
		       NR, n["same"], n["killed"], n["failed"], n["differs"], n["over"]
		printf "peak at most %.1f %% of the limit\n", 100 * top
		exit bad > 0
	}' "$tmp/soak"
	exit
fi

# a repacked copy would not fit; the option's form depends on the version
no_repack=
if command -v llama-bench >/dev/null; then
	case $(llama-bench --help 2>&1) in
	*--no-repack*)	no_repack=--no-repack ;;
	*--repack*)	no_repack="--repack 0" ;;
	esac
fi

[ ! -f "$read_ahead" ] || echo "read-ahead of the disk: $(cat "$read_ahead") KiB"
# in the group the model and half of it fit
fits=$((bytes + bytes / 2))
for r in $ratios; do
	bound=$(awk "BEGIN { printf \"%.0f\", $bytes / $r }")
	rm -f "$tmp/time" "$tmp/out"
	inside "$fits" "$linnet" bench -m "$model" -p 0 -n "$tokens" -t "$threads" -r 3 -o json
	row fits "$r" "$fits"
	rm -f "$tmp/time" "$tmp/out"
	inside "$bound" "$linnet" bench -m "$model" -p 0 -n "$tokens" -t "$threads" -r 3 -o json
	row linnet "$r" "$bound"
	# the plan under the same limit: what is read for each token, and the disk's rate now
	inside "$bound" "$linnet" plan -m "$model" -c "$tokens" -t "$threads" --json
	cp "$tmp/out" "$tmp/plan.$r"
	if command -v llama-bench >/dev/null; then
		rm -f "$tmp/time" "$tmp/out"
		inside "$bound" llama-bench -m "$model" -p 0 -n "$tokens" -t "$threads" -r 3 \
			--no-warmup $no_repack -o json
		row llama.cpp "$r" "$bound"
	fi
done

"$python" - "$tmp" "$bytes" "$tokens" "$picture" <<'PY'
import json, sys
tmp, size, tokens, picture = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
rows = [json.loads(line) for line in open(tmp + "/results")]
fit = {r["ratio"]: r["tps"] for r in rows if r["who"] == "fits"}
print("%-10s %5s %9s %9s %9s %9s %9s %8s %9s %4s" % (
    "", "ratio", "tokens/s", "bound", "of bound", "MB/token", "disk GB/s", "faults", "peak/lim",
    "OOM"))
points = {}
for r in rows:
    plan, bound = {}, 0
    if r["who"] != "fits":
        try:
            plan = json.load(open("%s/%s" % (tmp, r["plan"])))
            read = plan["streamed"] / plan["disk_bytes_per_second"]
            bound = 1 / max(read, 1 / fit[r["ratio"]])
        except (OSError, ValueError, KeyError, ZeroDivisionError):
            pass
    print("%-10s %5.2f %9.3f %9.3f %8.0f%% %9.0f %9.2f %8d %8.0f%% %4d" %
          (r["who"], r["ratio"], r["tps"], bound, 100 * r["tps"] / bound if bound else 0,
           plan.get("streamed", 0) / 1e6, plan.get("disk_bytes_per_second", 0) / 1e9,
           r.get("majflt", 0), 100 * r["peak"] / r["limit"], r["oom"]))
    points.setdefault(r["who"], []).append((r["ratio"], r["tps"]))
    if r["who"] == "linnet" and bound:
        points.setdefault("bound", []).append((r["ratio"], bound))

# a picture: tokens/s (logarithmic) over model/limit
import math
w, h, left, bottom = 640, 400, 70, 50
xs = [p[0] for v in points.values() for p in v]
ys = [p[1] for v in points.values() for p in v if p[1] > 0] or [1]
x0, x1 = min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1
y0, y1 = math.log10(min(ys)) - .2, math.log10(max(ys)) + .2
X = lambda x: left + (x - x0) / (x1 - x0) * (w - left - 20)
Y = lambda y: h - bottom - (math.log10(y) - y0) / (y1 - y0) * (h - bottom - 20)
svg = ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" '
       'font-size="13"><rect width="100%%" height="100%%" fill="white"/>' % (w, h)]
for e in range(math.floor(y0), math.ceil(y1) + 1):
    for m in (1, 2, 5):
        v = m * 10 ** e
        if y0 <= math.log10(v) <= y1:
            svg.append('<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>'
                       '<text x="8" y="%.1f">%g</text>' % (left, w - 20, Y(v), Y(v), Y(v) + 4, v))
for x in sorted(set(xs)):
    svg.append('<text x="%.1f" y="%d" text-anchor="middle">%.2f</text>' %
               (X(x), h - bottom + 20, x))
svg.append('<text x="%d" y="%d" text-anchor="middle">model size / memory limit</text>' %
           (w // 2, h - 8))
svg.append('<text x="8" y="14">tokens/s</text>')
for i, (who, pts) in enumerate(points.items()):
    colour = {"linnet": "#0a7", "llama.cpp": "#c33", "bound": "#888", "fits": "#58c"}[who]
    pts = [p for p in sorted(pts) if p[1] > 0]
    if not pts:
        continue
    svg.append('<polyline fill="none" stroke="%s" stroke-width="2" %s points="%s"/>' %
               (colour, 'stroke-dasharray="4"' if who == "bound" else "",
                " ".join("%.1f,%.1f" % (X(x), Y(y)) for x, y in pts)))
    svg.append('<text x="%.1f" y="%.1f" fill="%s" text-anchor="end">%s</text>' %
               (w - 22, Y(pts[-1][1]) - 6, colour, who))
svg.append("</svg>")
open(picture, "w").write("\n".join(svg))
print("picture:", picture)
PY
