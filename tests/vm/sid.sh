#!/bin/sh
# SPDX-License-Identifier: MIT
# Let apt see Debian's unstable suite without the machine's own apt knowing of it; print
# the path of a configuration for APT_CONFIG.
#
# usage: sh tests/vm/sid.sh [--fresh]
#
# Its packages are downloaded and unpacked into the cache, never installed. Lists, settings
# and state lie in the cache, the mirror and the key are those of the machine's apt. Lists
# are taken again when they are a day old; with --fresh, some minutes, for one who is about
# to download what they name. Old lists are better than none: a machine that is offline
# goes on with what the cache has. Status 77 when there are none: the last line says why.
set -eu
cd "$(dirname "$0")/../.."
. tests/vm/lib.sh

age=1440
[ "${1:-}" != --fresh ] || age=10
for tool in apt-get apt-cache dpkg dpkg-deb; do
	command -v $tool >/dev/null || vm_lack "$tool is not there"
done
folder=$VM_CACHE/sid-apt
conf=$folder/apt.conf
if [ -n "$(find "$folder/updated" -mmin -$age 2>/dev/null)" ]; then
	echo "$conf"
	exit 0
fi

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' \
	'Label: Debian' 2>/dev/null | head -n 1)
[ -n "$mirror" ] || vm_lack "this machine's apt has no lists of a Debian mirror"
key=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $key ] || vm_lack "$key is not there (Debian's package debian-archive-keyring)"

mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
mkdir -p "$folder/parts" "$folder/state/lists/partial" "$folder/cache/archives/partial"
: >>"$folder/status"
echo "deb [arch=$(dpkg --print-architecture) signed-by=$key] $mirror sid main" \
	>"$folder/sources.list"
cat >"$conf" <<END
Dir::Etc::sourcelist "$folder/sources.list";
Dir::Etc::sourceparts "$folder/parts";
Dir::Etc::preferences "$folder/preferences";
Dir::Etc::preferencesparts "$folder/parts";
Dir::State "$folder/state";
Dir::State::status "$folder/status";
Dir::Cache "$folder/cache";
Acquire::Languages "none";
END
# the status of apt-get update does not tell of lists that could not be had
if APT_CONFIG=$conf apt-get update -q >"$folder/log" 2>&1 9>&- &&
   ! grep -q '^[WE]: Failed to fetch' "$folder/log"; then
	: >"$folder/updated"
elif [ -e "$folder/updated" ]; then
	vm_say "the lists of Debian's unstable suite are old, and there are no newer ones now"
else
	vm_lack "no lists of Debian's unstable suite: $(grep '^[WE]:' "$folder/log" | head -n 1)"
fi
echo "$conf"
