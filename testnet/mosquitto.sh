#!/usr/bin/env bash
# Unpacks the MQTT broker mosquitto from Debian's packages, installs nothing, and
# prints the path of a script that runs it. usage: mosquitto.sh
#
# Packages are kept in .cache/mosquitto; nothing is fetched twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=$PWD/.cache/mosquitto
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9

die() { printf 'mosquitto: %s\n' "$*" >&2; exit 1; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "this needs the packages of Debian or Ubuntu: apt-get and dpkg-deb"
if [ ! -e "$cache/run" ]; then
	apt-cache show mosquitto >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || apt-get -qq update >&2 || die "the package lists could not be fetched"
	mapfile -t libraries < <(apt-cache depends mosquitto | sed -n 's/.*Depends: \(lib\(cjson\|dlt\|mosquitto\|websockets\|wrap\|ssl\|uv\|ev\)[a-z0-9.-]*\)$/\1/p' | sort -u)
	rm -rf "$cache/tree" "$cache/packages"
	mkdir -p "$cache/tree" "$cache/packages"
	(cd "$cache/packages" && apt-get -o APT::Sandbox::User=root -qq download mosquitto "${libraries[@]}" libev4 libnsl2 libtirpc3 >&2) ||
		die "apt-get could not fetch mosquitto and its libraries"
	for file in "$cache/packages"/*.deb; do
		dpkg-deb -x "$file" "$cache/tree"
	done
	dirs=$(find "$cache/tree" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
	printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s/tree/usr/sbin/mosquitto "$@"\n' "$dirs" "$cache" >"$cache/run.new"
	chmod 755 "$cache/run.new"
	says=$("$cache/run.new" -h 2>&1) || true # that is an error to it
	[[ $says == *"mosquitto version"* ]] || die "it does not run: $says"
	mv "$cache/run.new" "$cache/run"
fi
echo "$cache/run"
