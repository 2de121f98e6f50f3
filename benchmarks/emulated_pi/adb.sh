#!/usr/bin/env bash
# adb.sh DIR: Debian's adb client, unpacked under DIR without installing it; DIR/bin/adb runs it. Needs apt and dpkg.
set -euo pipefail
dir=$(realpath -m -- "$1"); debs=$(mktemp -d); trap 'rm -rf "$debs"' EXIT
apt-get -qq update
needed=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances adb | grep -E '^(adb|android|libusb)')
chmod 755 "$debs"; (cd "$debs" && apt-get -qq download $needed)
mkdir -p "$dir/bin"; for deb in "$debs"/*.deb; do dpkg -x "$deb" "$dir"; done
cat >"$dir/bin/adb" <<'RUN'
#!/bin/sh
dir=$(dirname "$(dirname "$(realpath "$0")")")
LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu:$dir/usr/lib/x86_64-linux-gnu/android exec "$dir/usr/lib/android-sdk/platform-tools/adb" "$@"
RUN
chmod +x "$dir/bin/adb"; "$dir/bin/adb" version | head -1
