#!/usr/bin/env bash
# Unpacks nginx, PostgreSQL, Redis and Mosquitto from Debian's packages, with the libraries and the few
# programs that they need, and prints the path of the tree, as a tar file: an image
# FROM scratch has no registry to come from, and what people run is not busybox.
# usage: debian.sh
#
# Packages and tree are kept in .cache/debian; nothing is fetched twice.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cache=$PWD/.cache/debian
mkdir -p "$cache/packages"
exec 9>"$cache/lock"
flock 9

say() { printf 'debian: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || die "this needs the packages of Debian or Ubuntu: apt-get and dpkg-deb"

if ! apt-cache show postgresql nginx >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
	apt-get -qq update >&2 || die "the package lists could not be fetched"
fi
postgresql=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: \(postgresql-[0-9]*\)$/\1/p' | head -1)
[ -n "$postgresql" ] || die "apt knows no postgresql: run apt-get update"
programs=(nginx nginx-common "$postgresql" "postgresql-client-${postgresql##*-}"
	redis-server redis-tools mosquitto mosquitto-clients dash coreutils util-linux libc-bin tzdata)

# Of what they depend on, the libraries; LLVM, which PostgreSQL can do without, is as
# large as all the rest.
mapfile -t libraries < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
	--no-replaces --no-enhances "${programs[@]}" | grep -E '^(lib|zlib)[a-z0-9]' | grep -Ev '^lib(llvm|perl|elogind|[a-z-]*-perl)' | sort -u)
list=$(printf '%s\n' "${programs[@]}" "${libraries[@]}" | cat - testnet/debian.sh | sha256sum | cut -c 1-16)
tree=$cache/tree-$list.tar
if [ ! -e "$tree" ]; then
	wanted=()
	# What apt has no candidate for is virtual, or another one's alternative.
	for p in $(LC_ALL=C apt-cache policy "${programs[@]}" "${libraries[@]}" |
		awk '/^[a-z]/ { sub(/:.*/, ""); p = $0 } /Candidate: [^(]/ { print p }'); do
		compgen -G "$cache/packages/${p}_*.deb" >/dev/null || wanted+=("$p")
	done
	if [ ${#wanted[@]} -gt 0 ]; then
		say "fetching ${#wanted[@]} packages"
		(cd "$cache/packages" && apt-get -o APT::Sandbox::User=root -qq download "${wanted[@]}" >&2) ||
			die "apt-get could not fetch: ${wanted[*]}"
	fi
	dir=$(mktemp -d "$cache/unpack.XXXXXX")
	trap 'rm -rf "$dir"' EXIT
	mkdir -p "$dir/run" "$dir/var"
	ln -s ../run "$dir/var/run"
	for p in "${programs[@]}" "${libraries[@]}"; do
		for file in "$cache/packages/${p}"_*.deb; do
			[ ! -e "$file" ] || dpkg-deb --fsys-tarfile "$file" |
				tar -x -C "$dir" --keep-directory-symlink --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' \
					--exclude='./usr/share/locale/*' --exclude='*llvmjit*' --exclude='*/bitcode/*'
		done
	done
	ln -sf dash "$dir/bin/sh"
	mkdir -p "$dir/tmp" "$dir/var/log/nginx" "$dir/var/lib/nginx" "$dir/docker"
	chmod 1777 "$dir/tmp"
	printf '%s\n' root:x:0:0::/root:/bin/sh www-data:x:33:33::/var/www:/bin/sh postgres:x:999:999::/var/lib/postgresql:/bin/sh \
		redis:x:998:998::/data:/bin/sh \
		>"$dir/etc/passwd"
	printf '%s\n' root:x:0: www-data:x:33: postgres:x:999: redis:x:998: >"$dir/etc/group"
	ln -s "postgresql/${postgresql##*-}" "$dir/usr/lib/postgresql-current"
	tar -c -C "$dir" --owner=0 --group=0 . >"$tree.new"
	mv "$tree.new" "$tree"
	find "$cache" -maxdepth 1 -name 'tree-*.tar' ! -path "$tree" -delete
fi
echo "$tree"
