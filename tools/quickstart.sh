#!/bin/sh
# SPDX-License-Identifier: MIT
# From a fresh checkout to text: install what the build needs, build, run a model.
#
# usage: sh tools/quickstart.sh [MODEL [PROMPT]]
#
# MODEL is a GGUF file; without one, the demo model of the checkout runs. Packages
# are installed only if something is missing and this is Debian (or a relative of
# it) and runs as root or with sudo; elsewhere what is missing is listed. Nothing
# else outside of the checkout is touched. May be run again at any time.
set -eu

case ${1:-} in
-h | --help)
	echo "usage: sh tools/quickstart.sh [MODEL [PROMPT]]"
	exit 0 ;;
-*)
	echo "quickstart: unknown option $1 (usage: sh tools/quickstart.sh [MODEL [PROMPT]])" >&2
	exit 2 ;;
esac
[ $# -le 2 ] || { echo "usage: sh tools/quickstart.sh [MODEL [PROMPT]]" >&2; exit 2; }

model=${1:-}
prompt=${2:-Once upon a time}
if [ -n "$model" ]; then
	[ -r "$model" ] || { echo "quickstart: $model: cannot be read" >&2; exit 1; }
	# The path is the caller's, and this goes to the checkout.
	case $model in
	/*) ;;
	*) model=$PWD/$model ;;
	esac
fi
cd "$(dirname "$0")/.."

echo "== 1 of 3: packages that the build needs (tools/packages.txt)"
sh tools/packages.sh build

echo "== 2 of 3: build (make, into build/)"
mkdir -p build
if ! make -j "$(nproc 2>/dev/null || echo 2)" >build/quickstart.log 2>&1; then
	tail -n 40 build/quickstart.log >&2
	echo "quickstart: the build failed; all of its output is in build/quickstart.log" >&2
	exit 1
fi

if [ -n "$model" ]; then
	echo "== 3 of 3: build/linnet run -m $model -p \"$prompt\" -n 128"
	build/linnet run -m "$model" -p "$prompt" -n 128
else
	echo "== 3 of 3: build/linnet run -p \"$prompt\""
	build/linnet run -p "$prompt" -n 256
fi
echo
echo "== done. build/linnet help lists what else there is."
