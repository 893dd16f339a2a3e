#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet run: what goes to stdout and what to stderr, prompts, repeatability, limits.
. "$(dirname "$0")/lib.sh"

expect 0 "run with -p" run -m "$demo" -p "Once upon a time" -n 40 --temp 0
cp "$out" "$tmp/text"
check "the prompt begins the text" grep -q "^Once upon a time" "$out"
for label in model load "first token" prefill decode "peak memory" read; do
	stderr_has "the summary has '$label'" "^$label  *[0-9a-z]"
done
check "no escape sequences where there is no terminal" \
	sh -c "! grep -q '$(printf '\033')' $err $out"
expect 0 "quiet" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 -q
check "quiet: the same text" cmp -s "$out" "$tmp/text"
check "quiet: nothing on stderr" test ! -s "$err"

expect 0 "--stats" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 --stats "$tmp/stats"
check "--stats: the same text" cmp -s "$out" "$tmp/text"
check "--stats: JSON with the number of tokens" /usr/bin/python3 -c '
import json, sys
s = json.load(open(sys.argv[1]))
assert s["decode_tokens"] == 39 and s["seed"] is None, s
assert 0 < s["first_token_s"] < 600, s' "$tmp/stats"
expect 1 "--stats in a folder that is not there" run -m "$demo" -p Once -n 1 \
	--stats "$tmp/none/stats"
stderr_has "--stats in a folder that is not there: named" "none/stats: cannot write"
expect 1 "--stats on a full disk" run -m "$demo" -p Once -n 1 --stats /dev/full
stderr_has "--stats on a full disk: the reason" "No space left"

(
	ulimit -f 0
	"$linnet" run -m "$demo" -p Once -n 1 -q --stats "$tmp/limited"
	echo "status $?"
) 2>&1 | cat >"$out"
check "--stats beyond the limit of a file's size: an error, no signal" \
	grep -q "^status 1$" "$out"
check "--stats beyond the limit of a file's size: the reason" \
	grep -q "linnet: $tmp/limited: .*File too large" "$out"

printf 'Once upon a time' >"$tmp/prompt"
expect 0 "prompt from a file" run -m "$demo" -f "$tmp/prompt" -n 40 --temp 0
check "prompt from a file: the same text" cmp -s "$out" "$tmp/text"
expect 0 "prompt from standard input" run -m "$demo" -n 40 --temp 0 <"$tmp/prompt"
check "prompt from standard input: the same text" cmp -s "$out" "$tmp/text"
echo 'Once upon a time' >"$tmp/prompt"
expect 0 "a line break at the end is dropped" run -m "$demo" -f - -n 40 --temp 0 <"$tmp/prompt"
check "a line break at the end is dropped: the same text" cmp -s "$out" "$tmp/text"
expect 0 "options after the equals sign" run --model="$demo" --prompt="Once upon a time" -n40 \
	--temp=0
check "options after the equals sign: the same text" cmp -s "$out" "$tmp/text"
expect 0 "the model as an argument" run "$demo" -p "Once upon a time" -n 40 --temp 0
check "the model as an argument: the same text" cmp -s "$out" "$tmp/text"
expect 0 "no model given: the demo model" run -p "Once upon a time" -n 40 --temp 0
check "no model given: the same text" cmp -s "$out" "$tmp/text"
stderr_has "no model given: says which one" "demo model"
expect 0 "empty prompt" run -m "$demo" -p "" -n 20 --temp 0
check "empty prompt: there is text" test -s "$out"
expect 0 "no tokens wanted" run -m "$demo" -p "Once" -n 0
stdout_is "no tokens wanted: the prompt alone" "Once"

for o in "-t 1" "-t 3" "-b 1" "-b 3" --no-direct-io --no-io-uring "--no-io-uring --no-direct-io"; do
	# shellcheck disable=SC2086
	expect 0 "run $o" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 $o
	check "run $o: the same text" cmp -s "$out" "$tmp/text"
done
expect 0 "KV cache in q8_0" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 --kv-type q8_0

expect 0 "a seed" run -m "$demo" -p "Once" -n 40 --seed 7 --temp 1.5
cp "$out" "$tmp/seven"
stderr_has "a seed: the summary names it" "^seed  *7$"
expect 0 "the seed again" run -m "$demo" -p "Once" -n 40 -s 7 --temp 1.5
check "the seed again: the same text" cmp -s "$out" "$tmp/seven"
expect 0 "another seed" run -m "$demo" -p "Once" -n 40 -s 8 --temp 1.5
check "another seed: another text" sh -c "! cmp -s $out $tmp/seven"

expect 1 "memory that is not enough" run -m "$demo" -p x -n 1 --memory 4096
stderr_has "memory that is not enough: both numbers" "$demo: .*4096.* at least [0-9]* are needed"
need=$(sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p' "$err")
expect 0 "memory that is enough" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 --memory 4G
check "memory that is enough: the same text" cmp -s "$out" "$tmp/text"
expect 0 "the memory that the message names" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 \
	--memory "$need"
check "the memory that the message names: the same text" cmp -s "$out" "$tmp/text"
stderr_has "the memory that the message names: says what is read again" "read again in every pass"
expect 1 "one byte less" run -m "$demo" -p x -n 1 --memory $((need - 1))

awk 'BEGIN { for (i = 0; i < 400; i++) printf "the cat and the dog " }' >"$tmp/long"
expect 1 "a prompt longer than the context" run -m "$demo" -f "$tmp/long" -c 16 -n 1
stderr_has "a prompt longer than the context: names --ctx" "[-]-ctx, 16"
expect 0 "a context that fills up" run -m "$demo" -p Once -c 16 --ignore-eos --temp 0
stderr_has "a context that fills up: says so" "context is full"

expect 1 "a prompt file that is not there" run -m "$demo" -f "$tmp/none"
stderr_has "a prompt file that is not there: named" "^linnet: $tmp/none: "
expect 1 "a folder as the prompt" run -m "$demo" -f "$tmp"
expect 1 "a folder as the model" run -m "$tmp" -p x
expect 1 "a text as the model" run -m tests/run.sh -p x
stderr_has "a text as the model: named" "^linnet: tests/run.sh: "
: >"$tmp/empty.gguf"
expect 1 "an empty file as the model" run -m "$tmp/empty.gguf" -p x
head -c 100000 "$demo" >"$tmp/short.gguf"
expect 1 "a truncated model" run -m "$tmp/short.gguf" -p x
stderr_has "a truncated model: named" "^linnet: $tmp/short.gguf: "

expect 0 "dump-stream" run -m "$demo" --dump-stream
check "dump-stream: names the operations" grep -qi "matmul" "$out"

s=$data/stories260K
if [ -d "$s" ]; then
	expect 0 "stories260K, 200 greedy tokens" run -m "$s/stories260K.gguf" -p "" -n 200 --temp 0
	check "stories260K, 200 greedy tokens: the published text" cmp -s "$out" "$s/greedy-200.txt"
	# This one begins with BOS as the first of 257, and ends with a line break that
	# the program which wrote it added.
	expect 0 "stories260K, 256 greedy tokens" run -m "$s/stories260K.gguf" -p "" -n 256 --temp 0
	echo >>"$out"
	check "stories260K, 256 greedy tokens: the published text" cmp -s "$out" "$s/greedy-257.txt"
else
	skip "stories260K" "no stories260K in LINNET_TEST_DATA"
fi
done_testing
