#!/bin/sh
# SPDX-License-Identifier: MIT
# Output for programs: JSON that parses, with the keys that scripts rely on.
. "$(dirname "$0")/lib.sh"

# keys WHAT FILTER: FILTER is a Python expression over d that must be true
holds()
{
	check "$1" "$python" -c "
import json, sys
d = json.load(open('$out'))
assert $2, d"
}

expect 0 "info --json" info -m "$demo" --json
check "info --json: parses" "$python" -m json.tool "$out" /dev/null
holds "info --json: shape" \
	"all(d[k] > 0 for k in 'n_params weight_bytes file_bytes n_files n_vocab n_ctx_train \
	n_embd n_layer n_head n_head_kv n_threads'.split())"
holds "info --json: architecture" \
	"d['architecture'] == d['metadata']['general.architecture']['value'] \
	and d['runnable'] is True"
holds "info --json: memory adds up" \
	"d['memory']['total'] == sum(d['memory'][k] for k in ('weights', 'kv', 'scratch', 'other'))"
holds "info --json: tensors" \
	"sum(t['bytes'] for t in d['tensors']) == sum(t['bytes'] for t in d['types']) \
	and len(d['tensors']) == sum(t['tensors'] for t in d['types'])"
expect 0 "info" info -m "$demo"
check "info: text" grep -q "^architecture  llama" "$out"
expect 0 "info --tensors" info "$demo" --tensors
check "info --tensors: a row for each" grep -q "token_embd.weight" "$out"
expect 0 "info with a longer context" info -m "$demo" --json -c 8192
holds "info with a longer context: n_ctx" "d['memory']['n_ctx'] == 8192"

# The man page names each key, and no other.
sed -n '/^\.SH JSON/,/^\.SH EXIT/p' Documentation/man/linnet-plan.1 | sed 's/\\//g' >"$tmp/keys"
expect 0 "plan --json" plan "$demo" --json
check "plan --json: the keys of its man page" "$python" -c "
import json, re
lines = open('$tmp/keys').read().split('\n')
named = {l[3:] for before, l in zip(lines, lines[1:]) if before == '.TP' and l[:3] == '.B '}
d = json.load(open('$out'))
assert named == set(d), named ^ set(d)
assert all(set(u) == {'name', 'layer', 'bytes', 'streamed', 'cached'} for u in d['units'])"

expect 0 "bench -o json" bench -m "$demo" -p 16,32 -n 4 -d 0,8 -t 1,2 -r 3 -o json
holds "bench json: one object for each test" "len(d) == 12"
holds "bench json: llama-bench's keys" \
	"all(k in t for t in d \
	for k in 'build_commit build_number cpu_info model_filename model_type model_size \
	model_n_params n_batch n_threads type_k type_v n_prompt n_gen n_depth test_time avg_ns \
	stddev_ns avg_ts stddev_ts samples_ns samples_ts'.split())"
holds "bench json: three samples each" \
	"all(len(t['samples_ns']) == len(t['samples_ts']) == 3 for t in d)"
holds "bench json: a test is of one kind" \
	"all((t['n_prompt'] == 0) != (t['n_gen'] == 0) for t in d)"
holds "bench json: mean of the samples" \
	"all(abs(sum(t['samples_ts']) / 3 / t['avg_ts'] - 1) < 1e-6 for t in d)"
holds "bench json: speed is tokens by time" \
	"all(abs((t['n_prompt'] + t['n_gen']) * 1e9 / n / s - 1) < 1e-4 for t in d \
	for n, s in zip(t['samples_ns'], t['samples_ts']))"
holds "bench json: threads and depths" \
	"{(t['n_threads'], t['n_depth']) for t in d} == {(1, 0), (1, 8), (2, 0), (2, 8)}"
holds "bench json: limits were measured" \
	"all(t['read_bytes_per_s'] > 1e8 and t['token_bytes'] > 0 and t['token_ops'] > 0 \
	for t in d)"
holds "bench json: generation is held against reading" \
	"all(abs(t['avg_ts'] * t['token_bytes'] / t['read_bytes_per_s'] / t['share_of_read'] - 1) \
	< .5 and t['share_of_int8'] is None for t in d if t['n_gen'])"
holds "bench json: a prompt is held against products" \
	"all(t['share_of_read'] is None \
	and (t['int8_ops_per_s'] is None or 0 < t['share_of_int8'] < 2) \
	for t in d if t['n_prompt'])"
expect 0 "bench -o jsonl" bench -m "$demo" -p 16 -n 4 -r 1 -o jsonl
check "bench jsonl: an object on each line" "$python" -c "
import json
assert [json.loads(l)['n_prompt'] for l in open('$out')] == [16, 0]"
expect 0 "bench -o csv" bench -m "$demo" -p 16 -n 4 -r 1 -o csv
check "bench csv: a header and two rows" "$python" -c "
import csv
rows = list(csv.DictReader(open('$out')))
assert [r['n_prompt'] for r in rows] == ['16', '0'] and float(rows[0]['avg_ts']) > 0, rows"
expect 0 "bench -o md" bench -m "$demo" -p 16 -n 4 -r 1
check "bench md: a row for each test" sh -c "grep -q '| *pp16 |' $out && grep -q '| *tg4 |' $out"
expect 0 "bench without tests" bench -m "$demo" -p 0 -n 0 -o json
holds "bench without tests: an empty list" "d == []"

expect 0 "logits as JSON" logits -m "$demo" --tokens 1,5,9 --all
holds "logits: rows and columns" \
	"len(d['logits']) == 3 and all(len(r) == d['n_vocab'] for r in d['logits']) \
	and d['tokens'] == [1, 5, 9]"
cp "$out" "$tmp/json"
expect 0 "logits --raw" logits -m "$demo" --tokens 1,5,9 --all --raw
check "logits --raw: the same numbers" "$python" -c "
import json, struct
rows = json.load(open('$tmp/json'))['logits']
raw = open('$out', 'rb').read()
want = b''.join(struct.pack('<%df' % len(r), *r) for r in rows)
assert raw == want, (len(raw), len(want))"
cp "$out" "$tmp/raw"
expect 0 "logits of the last token" logits -m "$demo" --tokens 1,5,9 --raw
check "logits of the last token: the last row of --all" "$python" -c "
a, b = open('$tmp/raw', 'rb').read(), open('$out', 'rb').read()
assert len(a) == 3 * len(b) and a.endswith(b)"
expect 1 "logits of a token that is none" logits -m "$demo" --tokens 1,99999999
check "logits of a token that is none: nothing on stdout" test ! -s "$out"
stderr_has "logits of a token that is none: names it" "99999999"

printf 'One day a cat and a dog went to the park to play with a ball. %.0s' 1 2 3 4 5 6 7 8 \
	>"$tmp/text"
expect 0 "perplexity" perplexity -m "$demo" -f "$tmp/text"
check "perplexity: the last line" \
	sh -c "tail -n 1 $out | grep -Eqx 'perplexity: [0-9.]+ [+]/- [0-9.]+ over [0-9]+ tokens'"
expect 0 "perplexity --json" perplexity -m "$demo" -f "$tmp/text" --json -c 16 --chunks 2
holds "perplexity --json: keys" \
	"d['n_chunks'] == 2 and d['n_ctx'] == 16 and d['n_tokens'] == 14 and d['perplexity'] > 1"
expect 1 "perplexity of almost nothing" perplexity -m "$demo" -p ""
done_testing
