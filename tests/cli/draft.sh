#!/bin/sh
# SPDX-License-Identifier: MIT
# --draft: whatever a small model proposes, the text is the same, greedy and sampled.
. "$(dirname "$0")/lib.sh"

if ! "$python" -c 'import numpy' 2>/dev/null; then
	echo "1..0 # SKIP python3-numpy, which makes the models, is not installed"
	exit 77
fi
make_model()
{
	name=$1
	shift
	"$python" tests/tools/make_model.py -o "$tmp/$name.gguf" --vocab 400 "$@" >/dev/null ||
		not_ok "make $name"
}
make_model large --layers 8 --type q8_0 --seed 1 --ctx 512
make_model small --layers 1 --embd 128 --ff 256 --type q8_0 --seed 2 --ctx 512
make_model other --layers 1 --vocab 401 --seed 3
large=$tmp/large.gguf small=$tmp/small.gguf

accepted()
{
	sed -n 's/^draft  *\([0-9]*\) of \([0-9]*\) drafted.*/\1 \2/p' "$err"
}

for how in "--temp 0" "--seed 3 --temp 1" "--seed 4 --temp 0.7 --repeat-penalty 1.3"; do
	# shellcheck disable=SC2086
	expect 0 "plain, $how" run -m "$large" -p "the cat" -n 120 --ignore-eos $how
	cp "$out" "$tmp/text"
	for o in "--draft $small --draft-max 8" "-md $small --draft-max 3" \
		 "--draft $large --draft-max 8" "--draft $small --draft-max 5 --lookup 4" \
		 "--draft $large --draft-max 32 -t 1" "--draft $large --draft-max 7 -b 8"; do
		# shellcheck disable=SC2086
		expect 0 "$o, $how" run -m "$large" -p "the cat" -n 120 --ignore-eos $how $o
		check "$o, $how: the same text" cmp -s "$out" "$tmp/text"
		check "$o, $how: tokens are drafted" test -n "$(accepted)"
	done
done
expect 0 "drafted by itself" run -m "$large" -p "the cat" -n 100 --ignore-eos --temp 0 \
	--draft "$large" --draft-max 9 --lookup 0
# shellcheck disable=SC2046
set -- $(accepted)
check "drafted by itself: all is right ($1 of $2)" [ "${1:-0}" -ge 80 -a "${1:-0}" -eq "${2:-1}" ]

# The default: only where weights are read in every pass.
expect 0 "weights in memory" run -m "$large" -p "the cat" -n 20 --draft "$small"
stderr_has "weights in memory: not used" "small.gguf: not used: all weights stay in memory"
expect 1 "hardly any memory" run -m "$large" -p x -n 1 --memory 4096
least=$(sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p' "$err")
expect 0 "little memory, plain" run -m "$large" -p "the cat" -n 60 --ignore-eos --temp 0 \
	--memory "$((least + 6000000))" --lookup 0
cp "$out" "$tmp/text"
expect 0 "little memory" run -m "$large" -p "the cat" -n 60 --ignore-eos --temp 0 \
	--memory "$((least + 14000000))" --lookup 0 --draft "$small" --draft-max 4
check "little memory: the same text" cmp -s "$out" "$tmp/text"
expect 1 "no memory for a draft model" run -m "$large" -p "the cat" -n 10 \
	--memory "$least" --draft "$small" --draft-max 4
stderr_has "no memory for a draft model: what it takes" \
	"small.gguf: takes [0-9]* bytes of memory; .*needed"
takes=$(sed -n 's/.*takes \([0-9]*\) bytes.*/\1/p' "$err")
need=$(sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p' "$err")
need=$((takes + need))
expect 0 "the memory that the messages name" run -m "$large" -p "the cat" -n 60 --ignore-eos \
	--temp 0 --memory "$need" --draft "$small" --draft-max 4
check "the memory that the messages name: the same text" cmp -s "$out" "$tmp/text"
# Used because the plan says so, and given up as none of it comes true.
make_model larger --layers 12 --embd 512 --ff 1024 --type q8_0 --seed 1 --ctx 512
larger=$tmp/larger.gguf
expect 0 "what a larger one takes" plan -m "$larger" --json --no-probe --memory none
need=$(sed -n 's/^ *"total": \([0-9]*\),.*/\1/p' "$out")
need=$((need / 10 * 7))
for how in "--temp 0" "--seed 5 --temp 1"; do
	# shellcheck disable=SC2086
	expect 0 "nothing is right, plain, $how" run -m "$larger" -p "the cat" -n 100 \
		--ignore-eos $how --memory $need --lookup 0
	cp "$out" "$tmp/text"
	# shellcheck disable=SC2086
	expect 0 "nothing is right, $how" run -m "$larger" -p "the cat" -n 100 --ignore-eos $how \
		--memory $need --lookup 0 --draft "$small" --stats "$tmp/stats"
	check "nothing is right, $how: the same text" cmp -s "$out" "$tmp/text"
	# shellcheck disable=SC2046
	set -- $(accepted)
	check "nothing is right, $how: drafted ${2:-0} tokens and paused" \
		sh -c "grep -q '\"draft_pauses\": [1-9]' '$tmp/stats' &&
		[ ${2:-0} -ge 40 ] && [ ${2:-0} -lt 400 ]"
done

cat >"$tmp/template" <<'JINJA'
{% for m in messages %}{{ m['content'] }} {% endfor %}
JINJA
printf 'the cat\nand the dog\n/clear\nonce more the cat\nand\n' >"$tmp/lines"
for how in "--temp 0" "--seed 3 --temp 0.9"; do
	# shellcheck disable=SC2086
	expect 0 "chat, plain, $how" chat -m "$large" --chat-template "$tmp/template" -n 20 \
		-q $how <"$tmp/lines"
	cp "$out" "$tmp/text"
	for o in "--draft $small --draft-max 6" "--draft $large --draft-max 4" "--lookup 5"; do
		# shellcheck disable=SC2086
		expect 0 "chat, $o, $how" chat -m "$large" --chat-template "$tmp/template" -n 20 \
			-q $how $o <"$tmp/lines"
		check "chat, $o, $how: the same replies" cmp -s "$out" "$tmp/text"
	done
done

expect 1 "another vocabulary" run -m "$large" -p x -n 1 --draft "$tmp/other.gguf" --draft-max 2
stderr_has "another vocabulary: says where" \
	"other.gguf: the vocabulary is not that of .*401 and 400"
expect 1 "a draft model that is not there" run -m "$large" -p x -n 1 --draft "$tmp/none.gguf"
stderr_has "a draft model that is not there: named" "^linnet: $tmp/none.gguf: "
done_testing
