#!/bin/sh
# SPDX-License-Identifier: MIT
# linnet chat, with input that is not a terminal.
. "$(dirname "$0")/lib.sh"

cat >"$tmp/template" <<'JINJA'
{% for m in messages %}{{ m['content'] }} {% endfor %}
JINJA
printf 'Once upon a time\n\nThen the cat\n' >"$tmp/lines"
expect 0 "two messages" chat -m "$demo" --chat-template "$tmp/template" -n 12 --temp 0 <"$tmp/lines"
check "two messages: two replies" sh -c "[ \$(wc -l <$out) -ge 2 ]"
check "two messages: no white space before a reply" sh -c "! grep -q '^[ 	]' $out"
cp "$out" "$tmp/replies"
stderr_has "two messages: a line on speed for each" "tokens/s"
expect 0 "quiet" chat -m "$demo" --chat-template "$tmp/template" -n 12 --temp 0 -q <"$tmp/lines"
check "quiet: nothing on stderr" test ! -s "$err"
check "quiet: the same replies" cmp -s "$out" "$tmp/replies"
# What stays in the session must not change the text.
printf 'Once upon a time\n/clear\nOnce upon a time\n/exit\nnot read\n' >"$tmp/lines"
expect 0 "/clear and /exit" chat -m "$demo" --chat-template "$tmp/template" -n 8 --temp 0 -q \
	<"$tmp/lines"
check "/clear: the first message again gives the first reply again" sh -c "
	n=\$(wc -l <$out); [ \$((n % 2)) = 0 ] && head -n \$((n / 2)) $out >$tmp/a &&
	tail -n \$((n / 2)) $out >$tmp/b && cmp -s $tmp/a $tmp/b"
expect 1 "a template that is not there" chat -m "$demo" --chat-template "$tmp/none" <"$tmp/lines"
echo '{% for m in messages %}{{ m' >"$tmp/broken"
expect 1 "a template that is broken" chat -m "$demo" --chat-template "$tmp/broken" <"$tmp/lines"
if "$linnet" info -m "$demo" --json | grep -q tokenizer.chat_template; then
	expect 0 "the model's own template" chat -m "$demo" -n 8 --temp 0 <"$tmp/lines"
else
	expect 1 "a model without a template" chat -m "$demo" -n 8 <"$tmp/lines"
	stderr_has "a model without a template: says what to do" "[-]-chat-template"
fi
expect 0 "no messages" chat -m "$demo" --chat-template "$tmp/template" </dev/null
check "no messages: no text" test ! -s "$out"
awk 'BEGIN { for (i = 0; i < 400; i++) printf "the cat and the dog "; print "" }' >"$tmp/long"
expect 1 "a conversation longer than the context" chat -m "$demo" -c 16 \
	--chat-template "$tmp/template" <"$tmp/long"
stderr_has "a conversation longer than the context: names --ctx" "[-]-ctx, 16"
done_testing
