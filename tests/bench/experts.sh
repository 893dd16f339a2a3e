#!/bin/sh
# SPDX-License-Identifier: MIT
# Speed of a mixture of experts that is larger than its memory budget, against streaming
# all of it: a model of Qwen3-30B-A3B's proportions whose routers prefer some experts.
#
#   sh tests/bench/experts.sh [-m MODEL] [-r "1.25 1.5 2 3"] [-n TOKENS] [-t THREADS]
#
# Without -m a synthetic model with a quarter of the layers is made in $TMPDIR (4.4 GB,
# Q4_0). The budget is kept by linnet itself (--memory). Prints, for each ratio of model to
# budget: tokens/s; experts found in memory; bytes read for each token; what streaming all
# of the experts that do not fit would reach at the disk rate measured in the same run;
# and the ratio of both.
set -eu
cd "$(dirname "$0")/../.."

linnet=${LINNET_BUILD:-$PWD/build}/linnet
python=${PYTHON:-/usr/bin/python3}
ratios="1.25 1.5 2 3" tokens=128 threads=2 skew=0.5 model=
while getopts m:r:n:t:s: o; do
	case $o in
	m) model=$OPTARG ;;
	r) ratios=$OPTARG ;;
	n) tokens=$OPTARG ;;
	t) threads=$OPTARG ;;
	s) skew=$OPTARG ;;
	*) exit 2 ;;
	esac
done
[ -x "$linnet" ] || { echo "experts.sh: $linnet is not built" >&2; exit 1; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/linnet-experts.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM
if [ -z "$model" ]; then
	model=$tmp/moe-q4_0.gguf
	"$python" tests/tools/make_model.py --preset qwen3-30b-a3b --layers 12 \
		--expert-skew "$skew" --type q4_0 -o "$model"
fi
sync
bytes=$(stat -c %s "$model")
printf '%6s %9s %9s %11s %12s %9s %8s\n' ratio tokens/s "in memory" MiB/token "all streamed" \
	"times" "peak/mem"
for r in $ratios; do
	budget=$(awk "BEGIN { printf \"%.0f\", $bytes / $r }")
	"$linnet" plan -m "$model" -c 1024 -b 64 -t "$threads" --memory "$budget" --json \
		>"$tmp/plan"
	"$linnet" run -q -m "$model" -c 1024 -b 64 -t "$threads" --memory "$budget" --ignore-eos \
		--temp 1 --seed 1 -p "The little dog" -n "$tokens" --lookup 0 --stats "$tmp/run" \
		>/dev/null
	"$python" - "$tmp" "$r" "$budget" <<'PY'
import json, sys
tmp, ratio, budget = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
plan, run = (json.load(open(f"{tmp}/{n}")) for n in ("plan", "run"))
# the cache begins empty: what the first tokens choose is read, too
rate = run["decode_tokens"] / run["decode_s"]
streamed = plan["experts_bytes"] - plan["experts"] + plan["streamed"]
bound = plan["disk_bytes_per_second"] / streamed
print("%6.2f %9.2f %8.1f%% %11.1f %12.3f %8.1fx %7.0f%%" %
      (ratio, rate, 100 * run["expert_hits"] / (run["expert_hits"] + run["expert_misses"]),
       run["bytes_read"] / (run["decode_tokens"] + 1) / 2**20, bound, rate / bound,
       100 * run["peak_bytes"] / budget))
PY
done
