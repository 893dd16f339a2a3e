#!/bin/sh
# SPDX-License-Identifier: MIT
# README.md: the example shows what the program writes, and the paths it names exist.
. "$(dirname "$0")/lib.sh"

# from the command to the summary, without the note on the model
awk '/^\$ build\/linnet run / { on = 1; next } on && /^(model |```)/ { exit }
     on && !/^linnet: /' README.md >"$tmp/readme"
command=$(sed -n 's/^\$ build\/linnet //p' README.md)
check "there is an example" test -n "$command" -a -s "$tmp/readme"
eval "\"$linnet\" $command" >"$out" 2>"$err"
# a terminal gets a line break after the text, and the summary begins with one
printf '\n\n' >>"$out"
check "the example's text is what the program writes ($command)" cmp -s "$out" "$tmp/readme"

for f in README.md Documentation/*.rst; do
	dir=$(dirname "$f")
	grep -o '](\([^)#:]*\))' "$f" | tr -d '()]' | while read -r path; do
		[ -e "$path" ] || [ -e "$dir/$path" ] || echo "$f: $path"
	done
	grep -o ':doc:`[^`<]*`' "$f" | sed 's/:doc:`//; s/`//' | while read -r page; do
		[ -e "$dir/$page.rst" ] || echo "$f: $page"
	done
done >"$out"
check "links lead somewhere" test ! -s "$out"
for page in Documentation/*.rst; do
	name=$(basename "$page" .rst)
	[ "$name" = index ] || grep -q "^   $name\$" Documentation/index.rst || echo "$name"
done >"$out"
check "the index lists every page" test ! -s "$out"
done_testing
