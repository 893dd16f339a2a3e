#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet bench and llama-bench (whichever is on the PATH), alternately on the same file,
# so that a machine whose speed drifts slows both. Prints for each test the tokens/s of
# both, and the median and range of the ratios of neighbours.
#
#   sh tests/bench/peers.sh -m MODEL [-p 512] [-n 128] [-d 0,4096] [-t 1,2] [-k 5]
#
# -k: how many times each program runs. Options after -- go to llama-bench ("-fa 1").
set -eu
cd "$(dirname "$0")/../.."

linnet=${LINNET_BUILD:-$PWD/build}/linnet
python=${PYTHON:-/usr/bin/python3}
model= prompt=512 gen=128 depth=0 threads=1,2 rounds=5
while getopts m:p:n:d:t:k: o; do
	case $o in
	m) model=$OPTARG ;;
	p) prompt=$OPTARG ;;
	n) gen=$OPTARG ;;
	d) depth=$OPTARG ;;
	t) threads=$OPTARG ;;
	k) rounds=$OPTARG ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
[ -n "$model" ] || { echo "peers.sh: give a model with -m" >&2; exit 2; }
[ -x "$linnet" ] || { echo "peers.sh: $linnet is not built" >&2; exit 1; }
command -v llama-bench >/dev/null ||
	{ echo "peers.sh: llama-bench is not on the PATH" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-peers.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
round=0
while [ $round -lt "$rounds" ]; do
	"$linnet" bench -m "$model" -p "$prompt" -n "$gen" -d "$depth" -t "$threads" -r 1 -o json \
		>"$tmp/linnet.$round"
	llama-bench -m "$model" -p "$prompt" -n "$gen" -d "$depth" -t "$threads" -r 1 -o json "$@" \
		>"$tmp/peer.$round" 2>/dev/null
	round=$((round + 1))
	printf '\rround %d of %d' "$round" "$rounds" >&2
done
echo >&2
"$python" - "$tmp" "$rounds" <<'PY'
import json, statistics, sys
tmp, rounds = sys.argv[1], int(sys.argv[2])
def load(who):
    out = {}
    for i in range(rounds):
        for t in json.load(open("%s/%s.%d" % (tmp, who, i))):
            key = (t["n_threads"], t["n_depth"], t["n_prompt"], t["n_gen"])
            out.setdefault(key, []).append(t["avg_ts"])
    return out
a, b = load("linnet"), load("peer")
print("%-24s %12s %12s   ratio (least - most)" % ("test", "linnet t/s", "llama t/s"))
for key in sorted(a):
    if key not in b:
        continue
    threads, depth, p, n = key
    name = "%s%d @ %d, %d threads" % ("pp" if p else "tg", p or n, depth, threads)
    r = [x / y for x, y in zip(a[key], b[key])]
    print("%-24s %12.2f %12.2f   %.2f (%.2f - %.2f)" % (
        name, statistics.median(a[key]), statistics.median(b[key]), statistics.median(r),
        min(r), max(r)))
PY
