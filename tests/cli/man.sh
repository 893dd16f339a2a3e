#!/bin/sh
# SPDX-License-Identifier: MIT
# Man pages: each option of --help is there, no other, and the formatter is content.
. "$(dirname "$0")/lib.sh"

man=Documentation/man
for c in run chat info plan bench perplexity logits tokenize device; do
	page=$man/linnet-$c.1
	"$linnet" "$c" --help | sed -n 's/^  \(-.,\|   \) --\([a-z0-9-]*\).*/\1 \2/p' | tr -d ' ,' |
		sort >"$tmp/help"
	# entries are "\fB\-x\fR, \fB\-\-name\fR", with "\-" for "-"
	sed -n 's/\\-/-/g; s/\\f[BRI]//g; s/^\(-[^-], \)\{0,1\}--\([a-z0-9-]*\).*/\1\2/p' "$page" |
		tr -d ' ,' | sort >"$tmp/page"
	# -x and its name stand together in both lists
	check "linnet-$c.1: the options of --help" cmp -s "$tmp/help" "$tmp/page"
	"$linnet" "$c" --help | tr -s ' \n' '  ' | grep -o '(default: [^)]*)' | sort >"$tmp/help"
	sed 's/\\-/-/g; s/\\f[BRI]//g' "$page" | tr -s ' \n' '  ' | grep -o '(default: [^)]*)' |
		sort >"$tmp/page"
	check "linnet-$c.1: the defaults of --help" cmp -s "$tmp/help" "$tmp/page"
	check "linnet.1: names $c" grep -q "linnet.*$c" $man/linnet.1
done
for page in "$man"/*.1; do
	name=$(basename "$page")
	if command -v groff >/dev/null; then
		groff -man -Tutf8 -ww -z "$page" 2>"$err"
		check "$name: no warning of groff" test ! -s "$err"
	else
		skip "$name: formatting" "groff is not installed"
	fi
	check "$name: SPDX line" sh -c "head -n 1 $page | grep -q SPDX-License-Identifier"
done
done_testing
