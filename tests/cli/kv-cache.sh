#!/bin/sh
# SPDX-License-Identifier: MIT
# --kv-cache and --kv-memory: the text is the same with and without, whatever happened to
# the files.
. "$(dirname "$0")/lib.sh"

cache=$tmp/cache
awk 'BEGIN { for (i = 0; i < 70; i++) printf "Once upon a time there was a cat number %d. ", i }' \
	>"$tmp/prompt"
generate()
{
	what=$1
	shift
	expect 0 "$what" run -m "$demo" -f "$tmp/prompt" -n 30 -c 2000 --ignore-eos --seed 5 "$@"
	[ -e "$tmp/text" ] || cp "$out" "$tmp/text"
	check "$what: the same text" cmp -s "$out" "$tmp/text"
}

generate "without"
generate "nothing saved yet" --kv-cache "$cache"
stderr_has "nothing saved yet: pages are saved" "^kv cache  *0 tokens restored, [1-9][0-9]* saved"
generate "saved" --kv-cache "$cache"
stderr_has "saved: tokens are restored" "^kv cache  *[1-9][0-9]* tokens restored, 0 saved"
generate "saved, other threads and batches" --kv-cache "$cache" -t 1 -b 7 --no-io-uring
stderr_has "saved, other threads: tokens are restored" "^kv cache  *[1-9][0-9]* tokens restored"
check "only the user may look" sh -c "[ \$(stat -c %a $cache) = 700 ]"
for f in "$cache"/*.kv; do
	printf x | dd of="$f" bs=1 seek=30000 conv=notrunc 2>/dev/null
done
generate "damaged" --kv-cache "$cache"
stderr_has "damaged: said" "1 file ignored; the last: .*checksum"
generate "another type" --kv-cache "$cache" --kv-type f16
generate "saved again" --kv-cache "$cache"
stderr_has "saved again: tokens are restored" "^kv cache  *[1-9][0-9]* tokens restored"
rm -rf "$cache"
generate "too small a limit" --kv-cache "$cache" --kv-cache-size 64K
stderr_has "too small a limit: said" "folder's limit"
check "too small a limit: kept" sh -c "! ls $cache/*.kv >/dev/null 2>&1"

# Killed at any moment: the next run gives the same text.
i=0 bad=0
rm -rf "$cache"
while [ $i -lt 25 ]; do
	i=$((i + 1))
	"$linnet" run -m "$demo" -f "$tmp/prompt" -n 30 -c 2000 --ignore-eos --seed 5 -q \
		--kv-cache "$cache" >/dev/null 2>&1 &
	pid=$!
	sleep "0.0$((i * 37 % 100))"
	kill -9 $pid 2>/dev/null
	wait $pid 2>/dev/null
	[ $((i % 5)) -ne 0 ] || rm -f "$cache"/*-000001.kv
	"$linnet" run -m "$demo" -f "$tmp/prompt" -n 30 -c 2000 --ignore-eos --seed 5 -q \
		--kv-cache "$cache" >"$out" 2>"$err" || bad=$((bad + 1))
	cmp -s "$out" "$tmp/text" || bad=$((bad + 1))
	[ ! -s "$err" ] || bad=$((bad + 1))
done
check "killed $i times: the same text, and no file that is wrong" [ $bad -eq 0 ]
check "killed $i times: no temporary file stays" sh -c "! ls $cache/*.tmp >/dev/null 2>&1"

expect 1 "hardly any memory for keys and values" run -m "$demo" -f "$tmp/prompt" -n 1 -c 2000 \
	-b 64 --kv-memory 4K
stderr_has "hardly any memory for keys and values: the number" "kv_memory, 4096 bytes; at least"
least=$(sed -n 's/.*at least \([0-9]*\) are needed.*/\1/p' "$err")
export TMPDIR="$tmp"
"$linnet" run -m "$demo" -p x -n 1 -c 2000 -b 64 --kv-memory "$least" -q >"$out" 2>"$err"
if grep -q "(tmpfs)" "$err"; then
	skip "keys and values on a disk" "the folder for temporary files is in memory"
else
	generate "keys and values on a disk" -b 64 --kv-memory "$least"
	stderr_has "keys and values on a disk: said" "^kv disk  *[1-9].* written, [1-9].* read$"
	rm -rf "$cache"
	generate "on a disk, and saved" -b 64 --kv-memory "$least" --kv-cache "$cache"
	generate "on a disk, and restored" -b 64 --kv-memory "$least" --kv-cache "$cache"
	stderr_has "on a disk, and restored: said" "^kv cache  *[1-9][0-9]* tokens restored"
	TMPDIR=$tmp/none
	expect 1 "no folder for them" run -m "$demo" -p x -n 1 -c 2000 -b 64 --kv-memory "$least"
	stderr_has "no folder for them: named" "^linnet: $tmp/none: "
fi
unset TMPDIR
expect 0 "a plan with keys and values on a disk" plan -m "$demo" -c 2000 -b 64 --no-probe \
	--kv-memory "$least"
check "a plan with keys and values on a disk: said" grep -q "KV cache on disk" "$out"

rm -rf "$cache"
generate "a limit that no page fits in" --kv-cache "$cache" --kv-cache-size 4K
stderr_has "a limit that no page fits in: folder and reason" \
	"^linnet: $cache: saved prefixes: not saved: .* bytes)"
expect 1 "a file as the folder" run -m "$demo" -p x -n 1 --kv-cache "$tmp/prompt"
stderr_has "a file as the folder: named" "^linnet: $tmp/prompt: "

cat >"$tmp/template" <<'JINJA'
{% for m in messages %}{{ m['content'] }} {% endfor %}
JINJA
{ cat "$tmp/prompt"; printf '\nThen the cat\nIt was\n'; } >"$tmp/lines"
rm -rf "$cache"
chat()
{
	what=$1
	shift
	expect 0 "$what" chat -m "$demo" --chat-template "$tmp/template" -n 12 -c 2000 --seed 3 -q \
		"$@" <"$tmp/lines"
	[ -e "$tmp/replies" ] || cp "$out" "$tmp/replies"
	check "$what: the same replies" cmp -s "$out" "$tmp/replies"
}
chat "chat without"
chat "chat, nothing saved" --kv-cache "$cache"
chat "chat, saved" --kv-cache "$cache"
done_testing
