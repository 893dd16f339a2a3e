#!/bin/sh
# SPDX-License-Identifier: MIT
# Outputs that fail, readers that go away, closed streams, Ctrl-C.
. "$(dirname "$0")/lib.sh"

printf 'One day a cat and a dog went to the park to play with a ball. %.0s' 1 2 3 4 5 6 7 8 \
	>"$tmp/text"

# each NAME ARGUMENTS...: every way in which stdout can fail
each()
{
	name=$1
	shift
	got=0
	timeout 60 "$linnet" "$@" >/dev/full 2>"$err" </dev/null || got=$?
	check "$name: a full disk is an error" test "$got" = 1
	stderr_has "$name: and said" "standard output: cannot write (No space left"
	got=0
	timeout 60 "$linnet" "$@" >&- 2>"$err" </dev/null || got=$?
	check "$name: closed standard output is an error" test "$got" = 1
	# the reader is gone before anything is written
	got=$( (sleep 0.1; timeout 60 "$linnet" "$@" 2>"$err" </dev/null; echo $? >"$tmp/status") |
		true
		for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ ! -s "$tmp/status" ] || break
			sleep 0.2
		done
		cat "$tmp/status")
	rm -f "$tmp/status"
	check "$name: a reader that went away is a quiet failure" test "$got" = 1
	check "$name: and no message" sh -c "! grep -q 'standard output' $err"
}
each help help
each version version
each "run --help" run --help
each run run -m "$demo" -p Once -n 20
each info info -m "$demo"
each "info --json" info -m "$demo" --json
each bench bench -m "$demo" -p 8 -n 2 -r 1
each "bench json" bench -m "$demo" -p 8 -n 2 -r 1 -o json
each logits logits -m "$demo" --tokens 1,2
each "logits --raw" logits -m "$demo" --tokens 1,2 --raw
each perplexity perplexity -m "$demo" -f "$tmp/text"
each tokenize tokenize -m "$demo" -p Once
each "tokenize --decode" tokenize -m "$demo" --decode -p "5 6 7"
each "run --dump-stream" run -m "$demo" --dump-stream

got=0
timeout 60 "$linnet" run -m "$demo" -p Once -n 5 --temp 0 2>&- >"$out" || got=$?
check "closed standard error: runs" test "$got" = 0 -a -s "$out"
got=0
timeout 60 "$linnet" run -m "$demo" -p Once -n 5 --temp 0 2>/dev/full >"$out" || got=$?
check "a full disk behind standard error: runs" test "$got" = 0 -a -s "$out"
got=0
timeout 60 "$linnet" run -m "$demo" -n 5 <&- >"$out" 2>"$err" || got=$?
check "closed standard input and no prompt: an error" test "$got" = 1

# Long enough that it is still writing when the signal comes.
got=0
timeout --foreground --preserve-status -s INT 1 "$linnet" run -m "$demo" -p Once -n -1 -c 60000 \
	--ignore-eos >"$out" 2>"$err" || got=$?
check "Ctrl-C ends the text and is no failure" test "$got" = 0
check "Ctrl-C: the text so far is there" test -s "$out"
stderr_has "Ctrl-C: the summary is printed" "^decode "
got=0
timeout --foreground --preserve-status -s INT 1 "$linnet" bench -m "$demo" -p 60000 -n 0 -r 50 \
	>"$out" 2>"$err" ||
	got=$?
check "Ctrl-C ends other commands" test "$got" = 130
done_testing
