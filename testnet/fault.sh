# The faults of testnet.sh, which sources this. What a fault leaves running or
# mounted stands in $out/faults/NODE; heal and down go by that.
# shellcheck shell=bash
# shellcheck disable=SC2154 # some variables are those of testnet.sh
# shellcheck disable=SC2015,SC2044,SC2046,SC2048 # names of nodes and groups have no spaces

fault_usage() {
	cat >&2 <<-'TEXT'
		usage: testnet.sh fault NODE[,NODE...] FAULT
		  kill                   end it as a power cut does; its containers go on
		  stop                   end it in order
		  start                  start it again, with a good link and a right clock
		  freeze, thaw           stop it where it is; let it go on
		  partition              part these nodes from all others
		  slow DELAY [JITTER]    delay each packet, each way: slow 200ms 50ms
		  lossy PERCENT          lose that share of packets, each way: lossy 30
		  skew OFFSET            set its wall clock off: skew 1h, skew -90m, skew 0s  *
		  fill-disk, fill-inodes let its state folder have no room, or no more files  *
		  free-disk              end that                                             *
		  engine-down, engine-up kill its container engine; start it again            *
		  engine-hang            let its engine take calls and answer none            *
		  engine-answer          end that                                             *
		  heal                   end all faults of the node
		  * in a mesh started with: testnet.sh up --faults
	TEXT
	exit 2
}

fault_dir() { echo "$out/faults/$1"; }

# run_dir NODE: where its engine has its sockets. containerd takes none whose path,
# .../containerd/containerd.sock.ttrpc, is longer than 104 characters, and the
# source tree may be anywhere.
run_dir() { echo "/run/$mesh/$1"; }

# need_root: entering namespaces and mounting is root's.
need_root() { [ "$(id -u)" = 0 ] || die "faults of networks, clocks, disks and engines need root: sudo testnet/testnet.sh $*"; }

# build_fault builds the helper program where it is not up to date.
build_fault() {
	CGO_ENABLED=0 go -C "$top" build -trimpath -buildvcs=false -o "$out/fault" ./testnet/fault || die "the fault program could not be built (Go builds it)"
}

# build_clock_hearth builds a hearth whose clocks can be set.
build_clock_hearth() {
	local overlay
	overlay=$("$out/fault" overlay "$out/clock")
	CGO_ENABLED=0 go -C "$top" build -trimpath -buildvcs=false -overlay "$overlay" -ldflags -w -o "$out/hearth-clock" ./cmd/hearth
}

pid_of() { docker inspect --format '{{.State.Pid}}' "$mesh-$1"; }
state_of() { docker inspect --format '{{.State.Status}}' "$mesh-$1" 2>/dev/null; }
mac_of() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}' "$mesh-$1"; }

# all_nodes prints the nodes of the mesh, ended ones too.
all_nodes() { docker ps -a --filter "label=com.docker.compose.project=$mesh" --format '{{.Label "com.docker.compose.service"}}' | sort -V; }

check_node() {
	[ -n "$(state_of "$1")" ] || die "no node '$1' is here; there are: $(all_nodes | tr '\n' ' ')(testnet.sh up starts them)"
}

# inside NODE COMMAND... runs a command of this machine in the node's network.
inside() {
	local pid
	running "$1"
	pid=$(pid_of "$1")
	nsenter --net="/proc/$pid/ns/net" -- "${@:2}"
}

# ours PID TEXT: does the process still run, and does its command line contain TEXT?
ours() { [ -n "$1" ] && tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qF -- "$2"; }

# child_of PID prints the child of a process that has one, if it has.
child_of() { grep -oE '[0-9]+' "/proc/$1/task/$1/children" 2>/dev/null; }

# alive PID: does the process run, and is it not a mere zombie?
alive() { grep -q '^State:[[:space:]]*[^ZX[:space:]]' "/proc/$1/status" 2>/dev/null; }

# await_end PID waits until a process has ended.
await_end() {
	local end=$((SECONDS + wait_seconds))
	while alive "$1"; do
		[ $SECONDS -lt $end ] || die "process $1 does not end"
		sleep 0.05
	done
}

# await_line FILE TEXT waits until a line says TEXT.
await_line() {
	local end=$((SECONDS + wait_seconds))
	until grep -qxF "$2" "$1" 2>/dev/null; do
		[ $SECONDS -lt $end ] && [ ! -e "$1.ended" ] || { cat "$1" >&2; return 1; }
		sleep 0.05
	done
}

# fault NODES FAULT ARG... is the verb.
fault() {
	local names node what=${2:-}
	[ $# -ge 2 ] || fault_usage
	IFS=, read -ra names <<<"$1"
	shift 2
	case $what in
	slow) [ $# -eq 1 ] || [ $# -eq 2 ] || fault_usage ;;
	lossy | skew) [ $# -eq 1 ] || fault_usage ;;
	kill | stop | start | freeze | thaw | partition | heal | fill-disk | fill-inodes | free-disk | engine-down | engine-up | engine-hang | engine-answer)
		[ $# -eq 0 ] || fault_usage ;;
	*) fault_usage ;;
	esac
	for node in "${names[@]}"; do check_node "$node"; done
	if [ "$what" = partition ]; then
		partition "${names[@]}" / $(all_nodes | grep -vxF "$(printf '%s\n' "${names[@]}")")
		return
	fi
	for node in "${names[@]}"; do "fault_${what//-/_}" "$node" "$@"; done
}

fault_kill() { running "$1"; link_good "$1"; docker kill "$mesh-$1" >/dev/null; say "$1 is dead (testnet.sh fault $1 start)"; }
fault_stop() { running "$1"; link_good "$1"; docker stop "$mesh-$1" >/dev/null; say "$1 has left (testnet.sh fault $1 start)"; }
fault_start() { docker start "$mesh-$1" >/dev/null; say "$1 runs"; }
fault_freeze() { running "$1"; docker pause "$mesh-$1" >/dev/null; say "$1 stands still (testnet.sh fault $1 thaw)"; }
fault_thaw() { [ "$(state_of "$1")" = paused ] || die "$1 is not frozen"; docker unpause "$mesh-$1" >/dev/null; say "$1 goes on"; }

# partition NODE... / NODE... parts the groups; nodes in none are not touched.
partition() {
	local groups=() group=() word node other
	need_root partition "$*"
	for word in "$@" /; do
		if [ "$word" != / ]; then
			check_node "$word"
			running "$word"
			[[ " ${groups[*]} ${group[*]} " != *" $word "* ]] || die "$word stands in two groups"
			group+=("$word")
		elif [ ${#group[@]} -gt 0 ]; then
			groups+=("${group[*]}")
			group=()
		fi
	done
	[ ${#groups[@]} -ge 2 ] || die "a partition has at least two groups: testnet.sh partition node1 node2 / node3"
	for node in ${groups[*]}; do rejoin "$node"; done
	for group in "${groups[@]}"; do
		for node in $group; do
			drop_chain "$node" "$(for other in ${groups[*]}; do [[ " $group " == *" $other "* ]] || mac_of "$other"; done)"
		done
	done
	say "parted: $(printf '%s\n' "${groups[@]}" | paste -sd '/' | sed 's|/| / |g') (testnet.sh heal)"
}

# drop_chain NODE MACS makes a node deaf to others.
drop_chain() {
	local filter mac
	for filter in iptables ip6tables; do
		inside "$1" "$filter" -w -t raw -N HEARTH-FAULT
		inside "$1" "$filter" -w -t raw -A PREROUTING -j HEARTH-FAULT
		for mac in $2; do inside "$1" "$filter" -w -t raw -A HEARTH-FAULT -m mac --mac-source "$mac" -j DROP; done
	done
}

# rejoin NODE ends drop_chain, if there is one.
rejoin() {
	local filter
	for filter in iptables ip6tables; do
		inside "$1" "$filter" -w -t raw -D PREROUTING -j HEARTH-FAULT 2>/dev/null || continue
		inside "$1" "$filter" -w -t raw -F HEARTH-FAULT
		inside "$1" "$filter" -w -t raw -X HEARTH-FAULT
	done
}

fault_slow() {
	[[ $2 =~ ^[0-9]+(ms|s)$ && ${3:-0ms} =~ ^[0-9]+(ms|s)$ ]] || die "slow takes a delay such as 200ms, and a jitter such as 50ms"
	set_link "$1" slow "--delay $2 --jitter ${3:-0ms}"
	say "$1: each packet takes $2 longer, each way (testnet.sh fault $1 heal)"
}

fault_lossy() {
	[[ $2 =~ ^[0-9]+$ && $2 -le 100 ]] || die "lossy takes a percentage from 0 to 100"
	set_link "$1" lossy "--loss $(printf '%d.%02d' $((10#$2 / 100)) $((10#$2 % 100)))"
	say "$1: $2 % of its packets are lost, each way (testnet.sh fault $1 heal)"
}

# set_link NODE KIND ARGS makes its link bad, beside what it is already.
set_link() {
	local dir pid args
	need_root fault "$1" "$2"
	running "$1"
	build_fault
	dir=$(fault_dir "$1")
	mkdir -p "$dir"
	end_link "$1"
	echo "$3" >"$dir/link.$2"
	args=$(cat "$dir"/link.*)
	pid=$(pid_of "$1")
	rm -f "$dir/shaper.log" "$dir/shaper.log.ended"
	# shellcheck disable=SC2086 # the arguments are words
	(setsid nsenter --net="/proc/$pid/ns/net" -- "$out/fault" link eth0 $args >"$dir/shaper.log" 2>&1 </dev/null &
		echo $! >"$dir/shaper"
		wait $! || true
		touch "$dir/shaper.log.ended") >/dev/null 2>&1 </dev/null &
	await_line "$dir/shaper.log" READY || { rm -f "$dir"/link.*; die "the link of $1 could not be changed"; }
}

# end_link NODE ends the process that makes its link bad.
end_link() {
	local dir pid
	dir=$(fault_dir "$1")
	pid=$(cat "$dir/shaper" 2>/dev/null || true)
	if ours "$pid" "$out/fault link"; then
		kill "$pid"
		await_end "$pid"
	fi
	rm -f "$dir/shaper"
}

link_good() { end_link "$1"; rm -f "$(fault_dir "$1")"/link.*; }

# needs_faults WHAT dies unless the mesh was started for that.
needs_faults() { [ -e "$out/faults/.able" ] || die "$1 needs a mesh started with: testnet.sh up --faults"; need_root "$1"; }

fault_skew() {
	local pid
	needs_faults skew
	running "$1"
	pid=$(pid_of "$1")
	"$out/fault" clock "$pid" wall "$2" || die "skew takes an offset such as 1h or -90m"
	say "$1: its clock is off by $2, until it is started anew (testnet.sh fault $1 skew 0s)"
}

disk_of() { echo "$(fault_dir "$1")/disk"; }

fault_fill_disk() {
	needs_faults fill-disk
	mkdir -p "$(disk_of "$1")/filler"
	! cat /dev/zero >"$(disk_of "$1")/filler/bytes" 2>/dev/null || die "the disk of $1 has no end"
	say "$1: its disk is full (testnet.sh fault $1 free-disk)"
}

fault_fill_inodes() {
	local i=0 dir
	needs_faults fill-inodes
	dir=$(disk_of "$1")/filler
	mkdir -p "$dir"
	while i=$((i + 1)) && (: >"$dir/$i") 2>/dev/null; do :; done
	say "$1: no file can be made on its disk (testnet.sh fault $1 free-disk)"
}

fault_free_disk() {
	needs_faults free-disk
	rm -rf "$(disk_of "$1")/filler"
	say "$1: its disk has room"
}

fault_engine_down() {
	needs_faults engine-down
	kill -KILL "$(engine_pid "$1")" 2>/dev/null || die "the engine of $1 does not run"
	fault_engine_answer "$1" >/dev/null 2>&1
	await_end "$(cat "$(fault_dir "$1")/engine/enter")"
	say "$1: its engine is dead; containers go on until it is back (testnet.sh fault $1 engine-up)"
}

fault_engine_up() {
	needs_faults engine-up
	engine_pid "$1" >/dev/null || engine_start "$1"
	say "$1: its engine runs"
}

fault_engine_hang() {
	local pid end=$((SECONDS + wait_seconds))
	needs_faults engine-hang
	pid=$(engine_pid "$1") || die "the engine of $1 does not run"
	kill -STOP "$pid"
	while grep -q '^State:[[:space:]]*[RSDI]' /proc/"$pid"/task/*/status; do
		[ $SECONDS -lt $end ] || die "the engine of $1 goes on"
	done
	say "$1: its engine does not answer (testnet.sh fault $1 engine-answer)"
}

fault_engine_answer() {
	local enter
	needs_faults engine-answer
	enter=$(cat "$(fault_dir "$1")/engine/enter")
	! engine_pid "$1" >/dev/null || kill -CONT "$(engine_pid "$1")" 2>/dev/null || true
	! ours "$enter" dockerd || kill -CONT "$enter" # nsenter stops along with its child
	say "$1: its engine answers"
}

# fault_heal NODE ends all its faults.
fault_heal() {
	link_good "$1"
	[ "$(state_of "$1")" != paused ] || docker unpause "$mesh-$1" >/dev/null
	[ "$(state_of "$1")" = running ] || docker start "$mesh-$1" >/dev/null
	if [ "$(id -u)" = 0 ]; then rejoin "$1"; fi
	if [ -e "$out/faults/.able" ]; then
		fault_skew "$1" 0s 2>/dev/null
		fault_free_disk "$1" 2>/dev/null
		fault_engine_answer "$1" 2>/dev/null
		fault_engine_up "$1" 2>/dev/null
	fi
	say "$1 is well"
}

heal() {
	local node
	for node in $(all_nodes); do fault_heal "$node"; done
}

# engine_pid NODE prints the process of its engine, if it runs.
engine_pid() {
	local enter
	enter=$(cat "$(fault_dir "$1")/engine/enter" 2>/dev/null) || return 1
	ours "$enter" "$(fault_dir "$1")/engine" && child_of "$enter"
}

# engine_first NODE prints the first process of its engine's namespaces, if any.
engine_first() {
	local holder
	holder=$(cat "$(fault_dir "$1")/engine/holder" 2>/dev/null) || return 1
	ours "$holder" "$out/fault init" && child_of "$holder"
}

# make_able N gives each of N nodes a disk and an engine of its own.
make_able() {
	local i dir
	for ((i = 1; i <= $1; i++)); do
		dir=$(fault_dir "node$i")
		mkdir -p "$dir/disk" "$dir/engine"
		[ ${#dir} -le 80 ] || die "the path $dir is too long for an engine's socket; keep the source tree elsewhere"
		[ ${#mesh} -le 50 ] || die "the name $mesh is too long for an engine's socket; HEARTH_TESTNET names another"
		mountpoint -q "$dir/disk" || mount -t tmpfs -o size=16m,nr_inodes=2048,mode=0700 tmpfs "$dir/disk"
		engine_first "node$i" >/dev/null || engine_hold "node$i"
		engine_pid "node$i" >/dev/null || engine_start "node$i"
	done
	touch "$out/faults/.able"
}

# engine_hold NODE makes namespaces that hold an engine and all its containers.
engine_hold() {
	local dir
	dir=$(fault_dir "$1")/engine
	echo '{}' >"$dir/daemon.json" # the machine's own is not this engine's
	setsid unshare --net --mount --pid --fork --kill-child --mount-proc -- "$out/fault" init >"$dir/holder.log" 2>&1 </dev/null 3>&- &
	disown
	echo $! >"$dir/holder"
	await_line "$dir/holder.log" READY || die "the namespaces of an engine could not be made"
	nsenter --target "$(engine_first "$1")" --net -- ip link set lo up
}

# engine_start NODE starts its engine and waits until it answers.
engine_start() {
	local dir end=$((SECONDS + wait_seconds))
	dir=$(fault_dir "$1")/engine
	rm -f "$dir/pid"
	setsid nsenter --target "$(engine_first "$1")" --net --mount --pid -- \
		dockerd --data-root "$dir/data" --exec-root "$(run_dir "$1")" --pidfile "$dir/pid" --config-file "$dir/daemon.json" \
		--host "unix://$dir/docker.sock" --cgroup-parent "/$mesh-$1" --exec-opt native.cgroupdriver=cgroupfs \
		>>"$dir/log" 2>&1 </dev/null 3>&- &
	disown # or bash would tell of its end
	echo $! >"$dir/enter"
	until docker -H "unix://$dir/docker.sock" version >/dev/null 2>&1; do
		alive $! && [ $SECONDS -lt $end ] || { tail "$dir/log" >&2; die "the engine of $1 does not start"; }
		sleep 0.05
	done
}

# load IMAGE... gives images of this machine's engine to the nodes' own.
load() {
	local node
	[ $# -gt 0 ] || usage
	needs_faults load
	for node in $(all_nodes); do
		docker save "$@" | docker -H "unix://$(fault_dir "$node")/engine/docker.sock" load >/dev/null
	done
}

# remove_groups NAME removes the control groups of an engine's containers. One
# whose processes were killed is empty a moment later only.
remove_groups() {
	local group end=$((SECONDS + wait_seconds))
	for group in $(find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$1"); do
		until find "$group" -depth -type d -delete 2>/dev/null || [ ! -e "$group" ]; do
			[ $SECONDS -lt $end ] || die "the control group $group cannot be removed"
			sleep 0.05
		done
	done
}

# end_faults removes all that faults left running or mounted.
end_faults() {
	local dir node first holder enter
	for dir in "$out"/faults/*; do
		[ -d "$dir" ] || continue
		node=$(basename "$dir")
		link_good "$node"
		# First its engine's parent, which must not stand still along with a hanging
		# engine; else nobody would collect the dead.
		enter=$(cat "$dir/engine/enter" 2>/dev/null || true)
		! ours "$enter" "$dir" || kill -KILL "$enter"
		if first=$(engine_first "$node"); then
			holder=$(cat "$dir/engine/holder")
			kill -KILL "$first" # and the kernel all that came from it
			await_end "$holder"
		fi
		! mountpoint -q "$dir/disk" || umount --lazy "$dir/disk"
		rm -rf "$(run_dir "$node")"
		remove_groups "$mesh-$node"
	done
	[ ! -d "/run/$mesh" ] || rmdir "/run/$mesh"
}
