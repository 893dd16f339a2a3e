#!/bin/sh
# SPDX-License-Identifier: MIT
# --share: a second process reads no weights, the text is the same, and anybody may die.
. "$(dirname "$0")/lib.sh"

XDG_RUNTIME_DIR=$tmp/run
export XDG_RUNTIME_DIR
mkdir -m 700 "$XDG_RUNTIME_DIR"
cat >"$tmp/template" <<'JINJA'
{% for m in messages %}{{ m['content'] }} {% endfor %}
JINJA
generate()
{
	what=$1
	shift
	expect 0 "$what" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 "$@"
	[ -e "$tmp/text" ] || cp "$out" "$tmp/text"
	check "$what: the same text" cmp -s "$out" "$tmp/text"
}
generate "alone"
generate "alone, sharing" --share
check "alone, sharing: has read the weights" grep -q "^read  *[1-9]" "$err"

# One that waits for a line holds the weights.
holder()
{
	mkfifo "$tmp/lines.$1"
	"$linnet" chat -m "$demo" --chat-template "$tmp/template" -n 5 --temp 0 --share \
		<"$tmp/lines.$1" >"$tmp/holder.$1" 2>"$tmp/holder.$1.err" &
	eval "pid$1=\$!"
	eval "exec $2>\"\$tmp/lines.$1\""
	echo "Once upon a time" >&"$2"
	i=0
	while [ ! -s "$tmp/holder.$1" ] && [ $i -lt 200 ]; do
		sleep 0.05
		i=$((i + 1))
	done
}
holder 1 8
generate "second" --share
check "second: has read nothing" grep -q "^read  *0 bytes" "$err"
stderr_has "second: says what is shared" "^shared  *[1-9]"
holder 2 9
# shellcheck disable=SC2154
kill -9 "$pid1"
generate "the first is killed" --share
check "the first is killed: has read nothing" grep -q "^read  *0 bytes" "$err"
expect 1 "hardly any memory" run -m "$demo" -p x -n 1 --memory 4096 --share
need=$(sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p' "$err")
generate "little memory" --share --memory "$need"
generate "all weights compared" --share --verify
# shellcheck disable=SC2154
kill -9 "$pid2"
exec 8>&- 9>&-
generate "all are killed" --share
check "all are killed: has read the weights" grep -q "^read  *[1-9]" "$err"

i=0 bad=0
while [ $i -lt 20 ]; do
	i=$((i + 1))
	for n in 1 2 3; do
		"$linnet" run -m "$demo" -p "Once upon a time" -n 40 --temp 0 -q --share \
			>"$tmp/many.$n" 2>&1 &
		eval "many$n=\$!"
	done
	sleep "0.0$((i * 7 % 10))"
	# shellcheck disable=SC2154
	kill -9 "$many1" 2>/dev/null
	# shellcheck disable=SC2154
	wait "$many2" || bad=$((bad + 1))
	# shellcheck disable=SC2154
	wait "$many3" || bad=$((bad + 1))
	cmp -s "$tmp/many.2" "$tmp/text" || bad=$((bad + 1))
	cmp -s "$tmp/many.3" "$tmp/text" || bad=$((bad + 1))
	wait "$many1" 2>/dev/null
done
check "three at once, one of them killed, $i times: the same text" [ $bad -eq 0 ]
chmod 777 "$XDG_RUNTIME_DIR"
expect 1 "a folder that others may write to" run -m "$demo" -p x -n 1 --share
stderr_has "a folder that others may write to: named" "^linnet: $XDG_RUNTIME_DIR: "
# /proc is root's own, and nobody can make a file in it
if [ "$(id -u)" -eq 0 ]; then
	XDG_RUNTIME_DIR=/proc
	expect 1 "a folder that takes no file" run -m "$demo" -p x -n 1 --share
	stderr_has "a folder that takes no file: named" "^linnet: /proc/linnet-.*: cannot make"
else
	chmod 500 "$XDG_RUNTIME_DIR"
	expect 1 "a folder that takes no file" run -m "$demo" -p x -n 1 --share
	stderr_has "a folder that takes no file: named" "^linnet: $XDG_RUNTIME_DIR/.*: cannot make"
fi
unset XDG_RUNTIME_DIR
expect 1 "no folder" run -m "$demo" -p x -n 1 --share
stderr_has "no folder: says which" "XDG_RUNTIME_DIR"
done_testing
