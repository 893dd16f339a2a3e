#!/bin/sh
# SPDX-License-Identifier: MIT
# Options, right and wrong: --help of every command, and exit status 2 with a message
# that names the option and the value.
. "$(dirname "$0")/lib.sh"

commands="run chat info bench perplexity logits tokenize"

expect 0 "help" help
check "help lists every command" \
	sh -c "for c in $commands; do grep -q \"^  \$c \" $out || exit 1; done"
expect 0 "--help" --help
expect 0 "version" version
check "version has three numbers" grep -Eqx 'linnet [0-9]+\.[0-9]+\.[0-9]+' "$out"
expect 0 "--version" --version
expect 2 "unknown command" frobnicate
expect 2 "help for an unknown command" help frobnicate
got=0
"$linnet" >"$out" 2>"$err" || got=$?
check "no command at all: usage on stderr, status 2" test "$got" = 2 -a -s "$err" -a ! -s "$out"

for c in $commands; do
	expect 0 "$c --help" "$c" --help
	check "$c --help: usage line" grep -q "^usage: linnet $c " "$out"
	check "$c --help: examples" grep -q "^  .*linnet $c " "$out"
	check "$c --help: nothing on stderr" test ! -s "$err"
	cp "$out" "$tmp/help"
	expect 0 "help $c" help "$c"
	check "help $c is $c --help" cmp -s "$out" "$tmp/help"
	expect 2 "$c: unknown option" "$c" --frobnicate </dev/null
	stderr_has "$c: names the unknown option" "--frobnicate"
	expect 2 "$c: unknown letter" "$c" -Z </dev/null
	expect 2 "$c: option without its value" "$c" --model </dev/null
	stderr_has "$c: names the option without its value" "--model"
	expect 2 "$c: flag with a value" "$c" --quiet=1 </dev/null
	expect 2 "$c: one argument too many" "$c" a.gguf b.gguf </dev/null
	expect 1 "$c: no such model" "$c" -m "$tmp/none.gguf" </dev/null
	stderr_has "$c: names the model that is not there" "^linnet: $tmp/none.gguf: "
	check "$c: nothing on stdout after a failure" test ! -s "$out"
done

# wrong COMMAND OPTION VALUE
wrong()
{
	expect 2 "$1 $2 '$3'" "$1" "$2" "$3" -m "$demo" -p x </dev/null
	stderr_has "$1 $2 '$3': the message names both" "($2, \"$3\")"
}
for v in '' x 1x ' 1' 0x10 1.5 +1 - -- 99999999999999999999 -2; do
	wrong run --predict "$v"
done
for v in 0 -1 1025 2k ''; do
	wrong run --threads "$v"
done
for v in 0 -1 4294967296; do
	wrong run --ctx "$v"
done
for v in nan inf 1e999 -1 0.5x 0x1p1 '' 101; do
	wrong run --temp "$v"
done
wrong run --top-p 1.01
wrong run --min-p -0.1
wrong run --top-k -1
for v in -1 18446744073709551616 1.0 ''; do
	wrong run --seed "$v"
done
for v in 0 1Q -1M '' M 1MM 1e30T; do
	wrong run --memory "$v"
done
wrong run --kv-type q5_0
wrong logits --tokens 1,,2
wrong logits --tokens 1,2,
wrong logits --tokens 1,-2
wrong logits --tokens ''
wrong bench --output xml
wrong bench --n-prompt 1,x
wrong bench --threads 0
wrong perplexity --ctx 3
wrong perplexity --chunks 0

expect 2 "run: prompt twice" run -m "$demo" -p x -f "$demo"
expect 2 "logits: tokens and a prompt" logits -m "$demo" --tokens 1 -p x
done_testing
