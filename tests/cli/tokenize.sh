#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet tokenize: there, back, and the vocabularies of LINNET_TEST_DATA.
. "$(dirname "$0")/lib.sh"

expect 0 "text to ids" tokenize -m "$demo" -p "Once upon a time"
check "ids on one line" sh -c "[ \$(wc -l <$out) = 1 ] && grep -Eqx '[0-9]+( [0-9]+)*' $out"
cp "$out" "$tmp/ids"
expect 0 "ids to text" tokenize -m "$demo" --decode -f "$tmp/ids"
stdout_is "ids to text: the text" "Once upon a time"
expect 0 "ids with commas" tokenize -m "$demo" --decode -p "$(tr ' ' ',' <"$tmp/ids")"
stdout_is "ids with commas: the text" "Once upon a time"
expect 0 "text from standard input" tokenize -m "$demo" <"$tmp/ids"
expect 0 "nothing" tokenize -m "$demo" -p ""
stdout_is "nothing: an empty line" "
"
expect 0 "special tokens" tokenize -m "$demo" --special -p "Once upon a time"
check "special tokens: something is added" sh -c "! cmp -s $out $tmp/ids"
expect 1 "an id that is none" tokenize -m "$demo" --decode -p "1 99999999"
stderr_has "an id that is none: named" "99999999"
expect 1 "a word among the ids" tokenize -m "$demo" --decode -p "1 two"
stderr_has "a word among the ids: named" "two"
expect 1 "a negative id" tokenize -m "$demo" --decode -p "-5"
printf 'na\303\257ve \360\237\220\246\n\nTab\there, two  spaces, \001 control\n' >"$tmp/text"
expect 0 "bytes of all kinds" tokenize -m "$demo" --file "$tmp/text"
"$linnet" tokenize -m "$demo" --decode -f "$out" >"$tmp/back" 2>"$err"
check "bytes of all kinds: there and back" cmp -s "$tmp/back" "$tmp/text"

t=$data/tokenizer
if [ -d "$t" ]; then
	for vocab in "$t"/*.gguf; do
		name=$(basename "$vocab" .gguf)
		# one text of the list is enough here: all are in the unit test
		"$python" - "$vocab" "$tmp" <<'PY'
import sys
vocab, tmp = sys.argv[1:]
texts = open(vocab + ".inp", "rb").read().split(b"\n__ggml_vocab_test__\n")
ids = open(vocab + ".out").read().split("\n")
best = max(range(len(texts)), key=lambda i: len(texts[i]))
open(tmp + "/inp", "wb").write(texts[best])
open(tmp + "/want", "w").write(ids[best].strip() + "\n")
PY
		expect 0 "$name: tokenize" tokenize -m "$vocab" --file "$tmp/inp"
		check "$name: the published ids" cmp -s "$out" "$tmp/want"
		expect 0 "$name: info" info -m "$vocab"
	done
else
	skip "published vocabularies" "no tokenizer folder in LINNET_TEST_DATA"
fi
done_testing
