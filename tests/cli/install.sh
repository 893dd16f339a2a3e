#!/bin/sh
# SPDX-License-Identifier: MIT
# make install, and the examples built against what it installed, shared and static.
. "$(dirname "$0")/lib.sh"

O=${LINNET_BUILD:-build}
prefix=$tmp/prefix
cc=${CC:-cc}

quietly()
{
	"$@" >"$out" 2>"$err"
}

check "make install" quietly make -s O="$O" PREFIX="$prefix" install
for f in bin/linnet lib/liblinnet.so lib/liblinnet.so.0 lib/liblinnet.a include/linnet/linnet.h \
	 lib/pkgconfig/linnet.pc share/man/man1/linnet.1 share/man/man1/linnet-run.1 \
	 share/linnet/linnet-demo.gguf share/doc/linnet/MIT.txt; do
	check "installed: $f" test -s "$prefix/$f"
done
PKG_CONFIG_PATH=$prefix/lib/pkgconfig
export PKG_CONFIG_PATH
check "pkg-config finds it" pkg-config --exists --print-errors linnet
check "pkg-config and the program agree on the version" test \
	"linnet $(pkg-config --modversion linnet)" = "$("$prefix/bin/linnet" version)"
"$prefix/bin/linnet" run -p "Once upon a time" -n 20 --temp 0 >"$out" 2>"$err"
check "the installed program finds the demo model" grep -q "^Once upon a time" "$out"
stderr_has "and it is the installed one" "$prefix/share/linnet/linnet-demo.gguf"
cp "$out" "$tmp/text"

model=$prefix/share/linnet/linnet-demo.gguf
for e in generate score sequences tokens; do
	src=Documentation/examples/$e.c
	check "$e: shorter than 80 lines" test "$(wc -l <$src)" -lt 80
	# shellcheck disable=SC2046
	$cc -std=gnu11 -Wall -Wextra -Werror \
		-o "$tmp/$e" $src $(pkg-config --cflags --libs linnet) -lm >"$out" 2>"$err"
	check "$e: builds with the shared library" test -x "$tmp/$e"
	# The archive, and what it needs in turn from the system.
	# shellcheck disable=SC2046
	$cc -std=gnu11 -Wall -Wextra -Werror \
		-o "$tmp/$e-static" $src $(pkg-config --cflags linnet) "$prefix/lib/liblinnet.a" \
		$(pkg-config --libs --static linnet | tr ' ' '\n' | grep -v -e '^-llinnet$') \
		>"$out" 2>"$err"
	check "$e: builds with the static library" test -x "$tmp/$e-static"
	LD_LIBRARY_PATH=$prefix/lib timeout 60 "$tmp/$e" "$model" "Once upon a time" \
		>"$tmp/a" 2>"$err"
	check "$e: runs" test $? = 0 -a -s "$tmp/a"
	timeout 60 "$tmp/$e-static" "$model" "Once upon a time" >"$tmp/b" 2>"$err"
	check "$e: runs without the shared library, with the same output" cmp -s "$tmp/a" "$tmp/b"
	check "$e: a model that is not there" sh -c \
		"! LD_LIBRARY_PATH=$prefix/lib $tmp/$e $tmp/none.gguf x >/dev/null 2>$err &&
		grep -q none.gguf $err"
done
LD_LIBRARY_PATH=$prefix/lib "$tmp/generate" "$model" "Once upon a time" 20 >"$out" 2>"$err"
check "generate writes what linnet run writes" \
	sh -c "tr -d '\n' <$out >$tmp/a; tr -d '\n' <$tmp/text | cmp -s - $tmp/a"

# The tool needs nothing of the library that is not exported; but for the device, which is
# an engine and stands on the kernels.
echo 'int cmd_device(void); int cmd_device(void) { return 1; }' >"$tmp/device.c"
objects=$(for f in tools/linnet/*.c; do
	[ "$f" = tools/linnet/device.c ] || echo "$O/obj/${f%.c}.o"
done)
objects="$objects $tmp/device.c"
# shellcheck disable=SC2046,SC2086
$cc -o "$tmp/linnet-shared" $objects -L"$prefix/lib" -llinnet \
	$(pkg-config --libs jansson) -lm -pthread >"$out" 2>"$err"
check "the tool links against the shared library" test -x "$tmp/linnet-shared"
nm -D --defined-only "$prefix/lib/liblinnet.so" | awk '$2 != "A" { print $3 }' |
	sed 's/@.*//' | grep -v '^linnet_' >"$out"
check "only linnet_ names are exported" test ! -s "$out"
nm -D --defined-only "$prefix/lib/liblinnet.so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' |
	sort >"$tmp/exported"
tr -cs 'a-z0-9_' '\n' <runtime/include/linnet/linnet.h | grep '^linnet_' | sort -u >"$tmp/declared"
comm -23 "$tmp/exported" "$tmp/declared" >"$out" 2>"$err"
check "every exported function is in linnet.h" test ! -s "$out"
if command -v c++ >/dev/null; then
	echo '#include <linnet/linnet.h>
int main() { return !linnet_version(); }' >"$tmp/a.cc"
	# shellcheck disable=SC2046
	c++ -Wall -Wextra -Werror -o "$tmp/a-cc" "$tmp/a.cc" $(pkg-config --cflags --libs linnet) \
		2>"$err"
	check "linnet.h is good C++" test -x "$tmp/a-cc"
else
	skip "linnet.h is good C++" "no C++ compiler is installed"
fi

stage=$tmp/stage
check "make install DESTDIR=" quietly make -s O="$O" PREFIX=/usr DESTDIR="$stage" install
check "the staged pkg-config file has the final prefix" grep -qx 'prefix=/usr' \
	"$stage/usr/lib/pkgconfig/linnet.pc"
check "make uninstall" quietly make -s O="$O" PREFIX=/usr DESTDIR="$stage" uninstall
find "$stage" ! -type d >"$out"
check "uninstall leaves no file" test ! -s "$out"
done_testing
