#!/usr/bin/env bash
# A mesh of N nodes in Docker Compose, each with its own name, state, lent CPUs
# and memory, on a network of its own. The nodes share this machine's engine,
# unless --faults is given: the containers that they run stand beside them, told
# apart by labels.
#
#   testnet.sh up [--nodes N] [--faults]
#                                  build, start, and wait until all see each other;
#                                  with --faults each node has an engine and a small
#                                  disk of its own and a clock that can be set (root)
#   testnet.sh nodes               what the first node sees
#   testnet.sh exec NODE ARG...    run `hearth ARG...` on a node (node1, node2...)
#   testnet.sh logs [NODE]         the nodes' logs
#   testnet.sh fault NODE FAULT    let something go wrong; without FAULT it lists them
#   testnet.sh partition NODE... / NODE...
#                                  part the network into such groups
#   testnet.sh heal                end all faults
#   testnet.sh load IMAGE...       give the nodes' own engines an image (up --faults)
#   testnet.sh down                remove everything
#
# HEARTH_TESTNET names the mesh, so that several can run side by side (default:
# one name for each folder of the source tree). HEARTH_BIN is a static hearth to
# use instead of building one.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
mesh=${HEARTH_TESTNET:-hearth-$(printf %s "$top" | cksum | cut -d ' ' -f 1)}
out=$here/out/$mesh # compose file, secret, fingerprint
image=$mesh-node
bin=${HEARTH_BIN:-$top/bin/hearth}
wait_seconds=60

# shellcheck source=fault.sh
. "$here/fault.sh"

say() { printf '%s\n' "$*" >&2; }
die() { say "testnet.sh: $*"; exit 1; }

usage() {
	sed -n '2,/^set /{/^# \{0,1\}/s///p;}' "${BASH_SOURCE[0]}" >&2
	exit 2
}

# compose runs whichever generation of Docker Compose there is.
compose() {
	if docker compose version >/dev/null 2>&1; then
		docker compose -p "$mesh" -f "$out/compose.yml" "$@"
	else
		docker-compose -p "$mesh" -f "$out/compose.yml" "$@"
	fi
}

# engine_socket: where the nodes find the engine that this script talks to.
engine_socket() {
	case ${DOCKER_HOST:-} in
	unix://*) echo "${DOCKER_HOST#unix://}" ;;
	'') echo /var/run/docker.sock ;;
	*) die "the nodes need the engine's unix socket, and DOCKER_HOST is $DOCKER_HOST" ;;
	esac
}

# build_image FAULTS builds the nodes' image; where FAULTS is not empty, with
# clocks that can be set.
build_image() {
	local context=$out/image
	if [ -n "$1" ] && [ -z "${HEARTH_BIN:-}" ]; then
		build_clock_hearth >&2
		bin=$out/hearth-clock
	elif [ -z "${HEARTH_BIN:-}" ]; then
		make -s -C "$top" build >&2
	fi
	rm -rf "$context"
	mkdir -p "$context/root/tmp"
	chmod 1777 "$context/root/tmp"
	cp "$bin" "$context/root/hearth"
	printf 'FROM scratch\nCOPY root/ /\nENTRYPOINT ["/hearth"]\n' >"$context/Dockerfile"
	docker build --quiet --tag "$image" "$context" >/dev/null 2>"$out/build.log" || {
		cat "$out/build.log" >&2
		die "the nodes' image could not be built"
	}
	rm -rf "$context"
}

# compose_file N FAULTS prints the mesh of N nodes. The shares differ, so that
# there is something to choose between.
compose_file() {
	local n=$1 faults=$2 i cpus=(0.5 1 2) memory=(256m 512m 1g) socket state inside=/docker.sock address=/docker.sock
	[ -n "$faults" ] || socket=$(engine_socket)
	echo "services:"
	for ((i = 1; i <= n; i++)); do
		state=state$i
		if [ -n "$faults" ]; then
			state=$(disk_of "node$i")
			# The folder, since a restarted engine makes another socket in it.
			socket=$(fault_dir "node$i")/engine inside=/engine address=/engine/docker.sock
		fi
		cat <<-YAML
			  node$i:
			    image: $image
			    container_name: $mesh-node$i
			    hostname: node$i
			    command: [up, --name, node$i, --secret-file, /secret, --cpus, "${cpus[(i - 1) % 3]}", --memory, ${memory[(i - 1) % 3]}]
			    environment:
			      HEARTH_STATE: /state
			      DOCKER_HOST: unix://$address
			    volumes:
			      - $state:/state
			      - $out/secret:/secret:ro
			      - $socket:$inside
			    networks: [mesh]
		YAML
	done
	echo "networks:"
	echo "  mesh: {}"
	[ -n "$faults" ] || echo "volumes:"
	[ -n "$faults" ] || for ((i = 1; i <= n; i++)); do echo "  state$i: {}"; done
}

up() {
	local nodes=3 faults=
	while [ $# -gt 0 ]; do
		case $1 in
		--nodes) nodes=${2:-}; shift 2 || usage ;;
		--nodes=*) nodes=${1#*=}; shift ;;
		--faults) faults=yes; shift ;;
		*) usage ;;
		esac
	done
	[[ $nodes =~ ^[1-9][0-9]?$ ]] || die "--nodes takes a number from 1 to 99"
	[ -z "$faults" ] || need_root up --faults
	[ -n "$faults" ] || [ ! -e "$out/faults/.able" ] || die "this mesh was started with --faults: testnet.sh down removes it"
	"$here/setup.sh" docker compose ${faults:+netns}
	exec 3>&2 # Compose runs with its output put aside, and may be interrupted
	trap 'interrupted 2>&3' INT TERM
	trap 'failed' EXIT
	mkdir -p "$out"
	[ -z "$faults" ] || build_fault
	build_image "$faults"
	if [ ! -e "$out/secret" ]; then
		"$bin" secret new --out "$out/secret" 2>/dev/null
	fi
	"$bin" secret fingerprint --secret-file "$out/secret" >"$out/fingerprint"
	[ -z "$faults" ] || make_able "$nodes"
	compose_file "$nodes" "$faults" >"$out/compose.yml"
	compose up -d --remove-orphans >"$out/compose.log" 2>&1 || {
		cat "$out/compose.log" >&2
		die "Docker Compose could not start the mesh"
	}
	await_mesh "$nodes"
	trap - EXIT INT TERM
}

# await_mesh N waits until each of N nodes sees all N, and that they can work.
await_mesh() {
	local i seen end=$((SECONDS + wait_seconds))
	for ((i = 1; i <= $1; i++)); do
		until seen=$(hearth "node$i" nodes --json 2>/dev/null | grep -oE '"role":"node"[^}]*"score":[0-9.]*[1-9]' | wc -l) && [ "$seen" -eq "$1" ]; do
			[ $SECONDS -lt $end ] || die "node$i sees $seen of $1 nodes that can work, after $wait_seconds s"
			sleep 0.1
		done
	done
}

interrupted() {
	say "interrupted; removing the mesh"
	undo
	exit 130
}

failed() {
	logs "" 30 || true
	say "removing the mesh"
	undo
	exit 1
}

# undo is down in a session of its own, so that another Ctrl-C cannot break it off.
undo() {
	trap - EXIT
	trap '' INT TERM
	setsid --wait "$here/testnet.sh" down
}

# hearth NODE ARG... runs a verb on a node without a terminal or input.
hearth() { docker exec "$mesh-$1" /hearth "${@:2}"; }

enter() {
	local flags=(-i)
	[ $# -ge 2 ] || usage
	! [ -t 0 ] || ! [ -t 1 ] || flags+=(-t)
	running "$1"
	exec docker exec "${flags[@]}" "$mesh-$1" /hearth "${@:2}"
}

running() {
	[ "$(docker inspect --format '{{.State.Running}}' "$mesh-$1" 2>/dev/null)" = true ] ||
		die "no node '$1' is running here; there are: $(node_names | tr '\n' ' ')(testnet.sh up starts them)"
}

# labelled KIND prints the IDs of the mesh's containers, volumes or networks.
labelled() {
	local filter=label=com.docker.compose.project=$mesh
	case $1 in
	containers) docker ps -aq --filter "$filter" ;;
	volumes) docker volume ls -q --filter "$filter" ;;
	networks) docker network ls -q --filter "$filter" ;;
	esac
}

node_names() { docker ps --filter "label=com.docker.compose.project=$mesh" --format '{{.Label "com.docker.compose.service"}}' | sort -V; }

# logs [NODE [LINES]] prints what a node, or each with its name, has logged.
logs() {
	local node lines=${2:-all}
	if [ -n "${1:-}" ]; then
		docker logs --tail "$lines" "$mesh-$1"
		return
	fi
	for node in $(docker ps -a --filter "label=com.docker.compose.project=$mesh" --format '{{.Label "com.docker.compose.service"}}' | sort -V); do
		docker logs --tail "$lines" "$mesh-$node" 2>&1 | sed "s/^/$node  /"
	done
}

# down works from the engine's labels alone, so that it also cleans up after a
# start that broke off, and without Compose.
down() {
	docker version >/dev/null 2>&1 || die "Docker does not answer, so there is nothing that could be removed"
	labelled containers | xargs -r docker rm --force --volumes >/dev/null
	end_faults
	if [ -s "$out/fingerprint" ]; then # what the nodes ran
		docker ps -aq --filter "label=dev.hearth.mesh=$(cat "$out/fingerprint")" | xargs -r docker rm --force --volumes >/dev/null
	fi
	labelled volumes | xargs -r docker volume rm --force >/dev/null
	labelled networks | xargs -r docker network rm >/dev/null
	if docker image inspect "$image" >/dev/null 2>&1; then
		docker image rm --force "$image" >/dev/null
	fi
	rm -rf "$out"
}

[ $# -gt 0 ] || usage
verb=$1
shift
case $verb in
up)
	up "$@"
	say "The mesh is up. Try: testnet/testnet.sh nodes; testnet/testnet.sh exec node1 run IMAGE; testnet/testnet.sh down"
	;;
down) [ $# -eq 0 ] || usage; down ;;
nodes) [ $# -eq 0 ] || usage; running node1; hearth node1 nodes ;;
exec) enter "$@" ;;
fault) fault "$@" ;;
partition) partition "$@" ;;
heal) [ $# -eq 0 ] || usage; heal ;;
load) load "$@" ;;
logs) logs "$@" ;;
*) usage ;;
esac
