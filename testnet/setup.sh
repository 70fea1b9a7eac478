#!/usr/bin/env bash
# Makes sure that what the named PARTs need is there, and leaves alone what
# already works. usage: setup.sh PART...
#
#   docker   an engine that answers (started here where nothing else starts it)
#   compose  Docker Compose, either generation
#   netns    ip, nsenter and iptables, for meshes in network namespaces and faults
#   busybox  a static busybox, for images built FROM scratch
#   qemu     user-mode emulators, to run the builds for other processors
#   cc       a C compiler, which the race detector needs
#   systemd  systemd-analyze, which checks the unit of `hearth install`
#   protoc   the protobuf compiler
#   node     Node.js 20 or later with npm, for the JavaScript client
#   browser  Chromium, which the page is tested in
#   curl     curl, with which the HTTP API is tried
#
# Root on Debian or Ubuntu gets what is missing; everyone else is told what to
# install. Nothing is downloaded when nothing is missing.
set -euo pipefail

run=${HEARTH_SETUP_RUN:-/var/run/hearth-dockerd} # log and pid of an engine started here
start_seconds=90

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

engine_answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }
has_compose() { has docker-compose || docker compose version >/dev/null 2>&1; }
static_busybox() { has busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
has_emulator() { has "qemu-$1-static" || has "qemu-$1"; }

# present PART: is it there already? For docker only the programs count here.
present() {
	case $1 in
	docker) has docker && { engine_answers || [ -n "${DOCKER_HOST:-}" ] || has dockerd; } ;;
	compose) has_compose ;;
	netns) has ip && has nsenter && has unshare && has mount && has iptables && has ip6tables ;;
	busybox) static_busybox ;;
	qemu) has_emulator aarch64 && has_emulator arm && has_emulator riscv64 ;;
	cc) has "${CC:-gcc}" && [ -e /usr/include/stdlib.h ] ;;
	systemd) has systemd-analyze ;;
	protoc) has protoc ;;
	node) has npm && has node && node -e 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' ;;
	curl) has curl ;;
	browser) has chromium || has chromium-browser || has google-chrome ;;
	*) die "unknown part '$1'" ;;
	esac
}

# first_known PACKAGE...: the first one that apt can install.
first_known() {
	local p
	for p in "$@"; do
		if apt-cache show "$p" >/dev/null 2>&1; then
			echo "$p"
			return
		fi
	done
}

# packages PART: what to install for it on Debian and Ubuntu. Newer releases
# have the docker command in a package of its own.
packages() {
	case $1 in
	docker)
		has dockerd || echo docker.io
		has docker || first_known docker-cli
		;;
	compose) first_known docker-compose-plugin docker-compose-v2 docker-compose ;;
	netns) printf '%s\n' iproute2 util-linux mount iptables ;;
	busybox) echo busybox-static ;;
	qemu) echo qemu-user-static ;;
	cc) printf '%s\n' gcc libc6-dev ;;
	systemd) echo systemd ;;
	protoc) echo protobuf-compiler ;;
	node) printf '%s\n' nodejs npm ;;
	browser) echo chromium ;;
	curl) echo curl ;;
	esac
}

install_parts() {
	local part list=()
	if [ "$(id -u)" != 0 ] || ! has apt-get; then
		say "missing: $*"
		for part in "$@"; do advise "$part"; done
		die "install that and try again (on Debian or Ubuntu, root gets it installed by this script)"
	fi
	export DEBIAN_FRONTEND=noninteractive
	say "installing: $*"
	# What an interrupted installation left half-done would stop apt-get.
	dpkg --configure -a >&2 || true
	apt-get -o DPkg::Lock::Timeout=300 -qq update >&2 || say "the package lists could not be fetched; trying with those at hand"
	mapfile -t list < <(for part in "$@"; do packages "$part"; done)
	apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends "${list[@]}" >&2 ||
		die "apt-get could not install: ${list[*]}"
	for part in "$@"; do
		present "$part" && continue
		advise "$part"
		die "'$part' is still missing or too old after installing ${list[*]}"
	done
}

advise() {
	case $1 in
	docker) say "  Docker Engine: https://docs.docker.com/engine/install/" ;;
	compose) say "  Docker Compose: https://docs.docker.com/compose/install/" ;;
	netns) say "  ip, nsenter and iptables: packages iproute2, util-linux and iptables" ;;
	busybox) say "  a statically linked busybox: package busybox-static (busybox on some systems)" ;;
	qemu) say "  qemu-aarch64, qemu-arm, qemu-riscv64: package qemu-user-static (qemu-user on some systems)" ;;
	cc) say "  a C compiler with its headers: packages gcc and libc6-dev (glibc-devel, musl-dev)" ;;
	protoc) say "  protoc: package protobuf-compiler (protobuf on some systems)" ;;
	curl) say "  curl: package curl" ;;
	browser) say "  Chromium: package chromium, or Google Chrome" ;;
	node) say "  Node.js 20 or later with npm: packages nodejs and npm, or https://nodejs.org" ;;
	esac
}

# start_engine starts Docker where it does not answer: by the init system where
# there is one, else as a background process of its own.
start_engine() {
	local error
	error=$(docker version --format '{{.Server.Version}}' 2>&1 >/dev/null || true)
	[ -z "${DOCKER_HOST:-}" ] || die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer: $error"
	case $error in *"permission denied"*)
		die "Docker runs, but $(id -un) may not use it: run this as root, or join its group: sudo usermod -aG docker $(id -un), then log in again" ;;
	esac
	[ "$(id -u)" = 0 ] || die "Docker does not answer ($error); start it as root: systemctl start docker"
	if [ -d /run/systemd/system ]; then
		say "starting Docker"
		systemctl start docker || die "systemctl could not start Docker; see: journalctl -u docker"
		await_engine "" || die "Docker does not answer; see: journalctl -u docker"
	else
		start_dockerd
	fi
}

start_dockerd() {
	local pid
	say "starting Docker (log: $run/log)"
	mkdir -p "$run"
	mount_cgroups
	# A session of its own, so that Ctrl-C here does not reach it, and nothing
	# inherited that someone might wait for.
	setsid dockerd >"$run/log" 2>&1 </dev/null 9>&- &
	pid=$!
	echo "$pid" >"$run/pid"
	await_engine "$pid" && return
	tail -n 20 "$run/log" >&2
	die "Docker did not come up; its whole log: $run/log"
}

# await_engine PID waits until the engine answers; it gives up at the deadline,
# or when the process PID, if any, has ended.
await_engine() {
	local end=$((SECONDS + start_seconds))
	until engine_answers; do
		[ $SECONDS -lt $end ] || return 1
		[ -z "$1" ] || kill -0 "$1" 2>/dev/null || return 1
		sleep 0.1
	done
}

# mount_cgroups: without an init system nobody may have done it, and the engine
# needs them.
mount_cgroups() {
	if ! grep -q ' /sys/fs/cgroup' /proc/self/mounts; then
		mount -t cgroup2 cgroup2 /sys/fs/cgroup || say "the cgroups could not be mounted at /sys/fs/cgroup"
	fi
}

main() {
	local part missing=()
	[ $# -gt 0 ] || die "usage: setup.sh PART...; the parts are listed at its top"
	for part in "$@"; do present "$part" || missing+=("$part"); done
	if [ ${#missing[@]} -gt 0 ] || { [[ " $* " == *" docker "* ]] && ! engine_answers; }; then
		# One at a time: two installations, or two engines, would fight.
		exec 9>"${TMPDIR:-/tmp}/hearth-setup.lock"
		! has flock || flock 9
		missing=()
		for part in "$@"; do present "$part" || missing+=("$part"); done
		[ ${#missing[@]} -eq 0 ] || install_parts "${missing[@]}"
		if [[ " $* " == *" docker "* ]] && ! engine_answers; then start_engine; fi
	fi
}

main "$@"
