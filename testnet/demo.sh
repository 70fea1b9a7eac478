#!/usr/bin/env bash
# `make demo`: a mesh of three nodes at work, from nothing, leaving nothing
# behind. What it needs and lacks it installs and starts (see setup.sh).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(dirname "$here")
export HEARTH_TESTNET=${HEARTH_TESTNET:-hearth-demo-$$}
image=$HEARTH_TESTNET-work
work=

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'
else
	bold='' dim='' red='' plain=''
fi

step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
note() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

# on NODE ARG... shows a command as one would type it on that device, and runs it.
on() {
	local node=$1
	shift
	printf '%s%s$ hearth %s%s\n' "$bold" "$node" "$(plainly <<<"$*")" "$plain"
	"$here/testnet.sh" exec "$node" "$@" </dev/null
}

# plainly shows the image by a name that people would give it.
plainly() { sed "s/$image/primes/g"; }

# forget_application removes what a demo that broke off leaves of it.
forget_application() {
	local of="name=$HEARTH_TESTNET"
	docker container ls --all --quiet --filter "$of" | xargs -r docker container rm --force >/dev/null
	docker network ls --quiet --filter "$of" | xargs -r docker network rm >/dev/null
	docker volume ls --quiet --filter "$of" | xargs -r docker volume rm >/dev/null
}

leave() {
	local code=$?
	trap - EXIT
	trap '' INT TERM
	# In a session of its own (setsid), so that another Ctrl-C cannot break it off.
	[ "$code" -eq 0 ] || printf '\n%sThe demo broke off (exit code %s).%s\n' "$red" "$code" "$plain" >&2
	note "Removing the mesh, its network, state, images and containers."
	if docker version >/dev/null 2>&1; then
		setsid --wait "$here/testnet.sh" down || code=1
		forget_application
		! docker image inspect "$image" >/dev/null 2>&1 || setsid --wait docker image rm --force "$image" >/dev/null
	fi
	[ -z "$work" ] || rm -rf "$work"
	exit "$code"
}
trap leave EXIT
trap 'exit 130' INT TERM

# build_work makes the image that will be run: one static program and nothing
# else, so that no registry is needed.
build_work() {
	work=$(mktemp -d)
	CGO_ENABLED=0 go -C "$top" build -trimpath -buildvcs=false -ldflags '-s -w' -o "$work/workload" ./testnet/workload
	printf 'FROM scratch\nCOPY workload /workload\nENTRYPOINT ["/workload"]\n' >"$work/Dockerfile"
	docker build --quiet --tag "$image" "$work" >/dev/null 2>"$work/log" || { cat "$work/log" >&2; return 1; }
}

step "What is needed: Docker and Compose"
"$here/setup.sh" docker compose
note "Docker $(docker version --format '{{.Server.Version}}') answers."

step "Build bin/hearth, and an image to run: one static program, FROM scratch"
make -s -C "$top" build
build_work
note "bin/hearth is $(($(wc -c <"$top/bin/hearth") / 1000000)) MB and needs nothing else."

step "Three nodes that lend different shares of this computer"
note "Each runs: hearth up --name NODE --secret-file FILE --cpus N --memory SIZE"
"$here/testnet.sh" up --nodes 3 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
on node1 nodes

step "Ask node1 to run a container; a node that will be done sooner wins it"
on node1 run "$image" primes 5000000
note "Exit code 0."

step "What it took is learnt: --explain shows how each node is rated for the next one"
note "Estimated seconds: lower is better. Before the first run they were guesses."
on node1 run --explain "$image" primes 5000000
note "Exit code 0."

step "The asker gets the output of the container, its errors, and its exit code"
code=0
on node2 run --node node3 "$image" exit 42 || code=$?
note "Exit code $code."
[ "$code" -eq 42 ]

step "What cannot run anywhere is refused, with the reason for each node"
code=0
on node1 run --memory 64g "$image" primes 10 || code=$?
note "Exit code $code."
[ "$code" -eq 126 ]

step "An application of two containers, from a compose file, asked for on node2"
port=$((20000 + $$ % 10000))
cat >"$work/compose.yaml" <<END
name: $HEARTH_TESTNET
services:
  web:
    image: $image
    command: [serve, ":80", "counter:80"]
    ports: ["$port:80"]
    depends_on: [counter]
  counter:
    image: $image
    command: [count, ":80", /data/visits]
    volumes: ["data:/data"]
volumes: {data: {}}
END
plainly <"$work/compose.yaml"
printf '%snode2$ hearth stack up --wait -f compose.yaml%s\n' "$bold" "$plain"
"$here/testnet.sh" exec node2 stack up --wait -f - <"$work/compose.yaml"
on node3 stack ps
visit() { # prints what the application answers
	local answer
	exec 3<>"/dev/tcp/127.0.0.1/$port" || return 1
	printf 'GET / HTTP/1.0\r\n\r\n' >&3
	answer=$(cat <&3)
	exec 3>&-
	[[ $answer == *"visit "* ]] && printf '%s\n' "${answer##*$'\n'}"
} 2>/dev/null
visit

step "A container of it is killed: its node starts it again, and its data is there"
docker kill "$(docker ps --quiet --filter "name=$HEARTH_TESTNET.counter")" >/dev/null
start=$(date +%s%N)
until visit; do [ $(($(date +%s%N) - start)) -lt 20000000000 ] || exit 1; done
note "It answers again after $((($(date +%s%N) - start) / 1000000)) ms."
on node1 stack ps
on node1 stack down "$HEARTH_TESTNET" --data --yes

step "Done"
