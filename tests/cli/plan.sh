#!/bin/sh
# SPDX-License-Identifier: MIT
# Memory budgets: plans that add up, runs that keep to them, and the same text with
# any part of the weights read again in every pass.
. "$(dirname "$0")/lib.sh"

model=$tmp/model.gguf
holds()
{
	check "$1" "$python" -c "
import json
d = json.load(open('$out'))
assert $2, {k: v for k, v in d.items() if k != 'units'}"
}

expect 0 "plan of the demo model" plan "$demo" --no-probe
check "plan: a picture" grep -q '#' "$out"
expect 0 "plan --json" plan "$demo" --json --memory none
holds "plan --json: unlimited" "d['budget'] is None and d['streamed'] == 0 and d['ring'] == 0"
holds "plan --json: probes" \
	"d['disk_bytes_per_second'] > 0 and d['memory_bytes_per_second'] > 0 \
	and d['tokens_per_second_bound'] > 0"
expect 1 "plan with too little" plan "$demo" --memory 1M
check "plan with too little: says what is least" grep -q 'at least [0-9]* are needed' "$err"

# 12 layers, untied, so that there are embeddings to leave out: 60 MB
if ! "$python" tests/tools/make_model.py --layers 12 --embd 512 --ff 2048 --heads 8 --kv-heads 2 \
	--vocab 4096 --no-tied --type q8_0 -o "$model" >"$out" 2>"$err"; then
	skip "plans of a larger model" "make_model.py: $(tail -n 1 "$err")"
	done_testing
	exit
fi
args="-c 256 -b 64 -m $model"
expect 0 "plan without a limit" plan $args --json --no-probe --memory none
total=$("$python" -c "import json; print(json.load(open('$out'))['total'])")
least=$("$python" -c "import json; print(json.load(open('$out'))['least'])")
check "the least is less than all" [ "$least" -lt "$total" ]
expect 0 "a run without a limit" run $args -p "the little dog" -n 16 --temp 0 --memory none
cp "$out" "$tmp/text"
for budget in $((total - 4096)) $(((least + total * 3) / 4)) $(((least + total) / 2)) "$least"; do
	expect 0 "plan for $budget" plan $args --json --no-probe --memory $budget
	holds "plan for $budget: adds up" \
		"d['total'] == d['resident'] + d['ring'] + d['kv'] + d['scratch'] + d['other'] \
		and d['total'] <= d['budget'] == $budget and d['least'] == $least"
	holds "plan for $budget: units" \
		"d['streamed'] == sum(u['bytes'] for u in d['units'] if u['streamed']) \
		and d['resident'] == sum(u['bytes'] for u in d['units'] if not u['streamed'])"
	expect 0 "run in $budget" run $args -p "the little dog" -n 16 --temp 0 --memory $budget
	check "run in $budget: the same text" cmp -s "$out" "$tmp/text"
	cp "$err" "$tmp/run"
	peak=$("$python" - "$err" <<'PY'
import re, sys
m = re.search(r"peak memory +([0-9.]+) (\w+)", open(sys.argv[1]).read())
print(int(float(m[1]) * {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[m[2]]))
PY
	)
	# the summary rounds to a tenth of a unit
	if [ -n "${LINNET_SANITIZER:-}" ]; then
		skip "run in $budget: peak memory" "sanitizers take memory of their own"
	else
		check "run in $budget: peak $peak" [ "$peak" -le $((budget + 60000)) ]
		check "run in $budget: as it was planned" grep -q "^plan  *kept: at most " \
			"$tmp/run"
	fi
	expect 0 "run in $budget without io_uring" run $args -p "the little dog" -n 16 --temp 0 \
		--memory $budget --no-io-uring --no-direct-io
	check "run in $budget without io_uring: the same text" cmp -s "$out" "$tmp/text"
done
expect 0 "run with checksums" run $args -p "the little dog" -n 16 --temp 0 --memory "$least" \
	--verify
check "run with checksums: the same text" cmp -s "$out" "$tmp/text"
stderr_has "run with checksums: says what was compared" '^verified  *[0-9]'
expect 0 "plan with a bound on reading" plan $args --json --memory "$least" --read-bandwidth 1MB
holds "plan with a bound on reading" \
	"d['disk_bytes_per_second'] == 1000000 and d['bound_by'] == 'disk'"
holds "plan with a bound on reading: how it is read, and what else was tried" \
	"d['read_request_bytes'] == 2 << 20 and d['read_depth'] == 12 \
	and [o['depth'] for o in d['other_depths']] == [4, 32] \
	and all(o['bytes_per_second'] > 0 for o in d['other_depths']) \
	and d['better_depth'] in (None, 4, 32)"
for depth in 1 5 32; do
	expect 0 "plan with $depth reads at once" plan $args --memory "$least" --read-depth $depth
	check "plan with $depth reads at once: said" \
		grep -q "in requests of 2.0 MiB, $depth at once; with [0-9]* at once" "$out"
	expect 0 "run with $depth reads at once" run $args -p "the little dog" -n 16 --temp 0 \
		--memory "$least" --read-depth $depth
	check "run with $depth reads at once: the same text" cmp -s "$out" "$tmp/text"
done
expect 2 "run with no read at once" run $args -p "a" -n 1 --read-depth 0
expect 2 "run with too many reads at once" run $args -p "a" -n 1 --read-depth 33
# A process that takes more than its plan: its environment alone is megabytes, as many as the
# kernel lets it have.
(
	ulimit -s 65536
	long=$(head -c 130000 /dev/zero | tr '\0' x)
	i=0
	while [ $i -lt 47 ]; do
		export "LONG$i=$long"
		i=$((i + 1))
	done
	exec "$linnet" run -m "$demo" -c 64 -b 8 -p Once -n 4 --temp 0 --memory none \
		--stats "$tmp/stats" >"$out" 2>"$err"
)
check "a process that takes more than planned: it says so" \
	grep -q '^plan  *not kept: .* of memory, planned ' "$err"
check "a process that takes more than planned: in JSON, too" grep -q '"plan_kept": false' \
	"$tmp/stats"
start=$(date +%s%N)
expect 0 "run with a bound on reading" run $args -p "the little dog" -n 2 --temp 0 \
	--memory "$least" --read-bandwidth 40M --lookup 0
# at least the weights of the layers, twice
check "run with a bound on reading: takes its time" [ $(($(date +%s%N) - start)) -gt 1500000000 ]
moe=$tmp/moe.gguf
if "$python" tests/tools/make_model.py --preset qwen3moe --layers 4 --experts 32 --type q4_k \
	-o "$moe" >"$out" 2>"$err"; then
	args="-c 256 -b 32 -m $moe"
	expect 0 "plan of a mixture" plan $args --json --no-probe --memory none
	holds "plan of a mixture: all in memory" "d['experts'] == 0 and d['experts_read'] == 0"
	total=$("$python" -c "import json; print(json.load(open('$out'))['total'])")
	least=$("$python" -c "import json; print(json.load(open('$out'))['least'])")
	expect 0 "a mixture without a limit" run $args -p "the little dog" -n 32 --temp 0 \
		--memory none --ignore-eos
	cp "$out" "$tmp/text"
	for budget in $(((least + total) / 2)) "$least"; do
		expect 0 "plan of a mixture for $budget" plan $args --json --no-probe \
			--memory $budget
		holds "plan of a mixture for $budget: adds up" \
			"d['total'] == d['resident'] + d['ring'] + d['experts'] + d['kv'] + \
			d['scratch'] + d['other'] and d['total'] <= d['budget'] \
			and 0 < d['experts'] < d['experts_bytes'] and d['experts_read'] > 0"
		holds "plan of a mixture for $budget: units" \
			"d['experts_bytes'] == sum(u['bytes'] for u in d['units'] if u['cached']) \
			and d['resident'] == sum(u['bytes'] \
			for u in d['units'] if not u['streamed'] and not u['cached'])"
		expect 0 "a mixture in $budget" run $args -p "the little dog" -n 32 --temp 0 \
			--memory $budget --ignore-eos
		check "a mixture in $budget: the same text" cmp -s "$out" "$tmp/text"
		stderr_has "a mixture in $budget: says how often experts were there" \
			'^experts .* were in memory'
		# in the smallest cache there is no place for guesses
		[ "$budget" = "$least" ] ||
			stderr_has "a mixture in $budget: some are read ahead" \
				'^ .* were read ahead, .* chosen'
	done
	expect 0 "a mixture with a bound on reading" run $args -p "the little dog" -n 32 --temp 0 \
		--memory $(((least + total) / 2)) --ignore-eos --read-bandwidth 100G
	check "a mixture with a bound on reading: the same text" cmp -s "$out" "$tmp/text"
	check "a mixture with a bound on reading: nothing is read ahead" \
		sh -c "! grep -q 'read ahead' '$err'"
else
	skip "plans of a mixture" "make_model.py: $(tail -n 1 "$err")"
fi
for temp in 0 0.9; do
	args="-m $demo -p Once -n 200 --ctx 256 --seed 7 --temp $temp --ignore-eos"
	expect 0 "a run without drafts, temperature $temp" run $args --lookup 0
	cp "$out" "$tmp/text"
	for n in 1 5 32; do
		expect 0 "a run with drafts of $n, temperature $temp" run $args --lookup $n
		check "drafts of $n, temperature $temp: the same text" cmp -s "$out" "$tmp/text"
		check "drafts of $n, temperature $temp: some are right" \
			grep -q '^lookup  *[1-9][0-9]* of' "$err"
	done
done
args="-c 256 -b 64 -m $model"
expect 0 "plan of the larger model again" plan $args --json --no-probe --memory none
least=$("$python" -c "import json; print(json.load(open('$out'))['least'])")
expect 1 "run in less than the least" run $args -p "a" -n 1 --memory $((least - 1))
check "run in less than the least: says so" grep -q "at least $least are needed" "$err"

# a test of 4 positions needs no memory for the context that a plan has when none is asked for
expect 0 "plan of 4 positions" plan -m "$model" -c 4 --json --no-probe --memory none
least=$("$python" -c "import json; print(json.load(open('$out'))['least'])")
expect 0 "bench in the least memory of 4 positions" \
	bench -m "$model" -p 0 -n 4 -r 1 --memory "$least" -o json
check "bench in the least memory: a result" "$python" -c "
import json
d = json.load(open('$out'))
assert len(d) == 1 and d[0]['avg_ts'] > 0, d"
done_testing
