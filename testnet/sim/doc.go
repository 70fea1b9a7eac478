// Command sim simulates how a mesh places requests: hearth's own package sched,
// beside other policies, on fleets of any size, with no socket, no goroutine and
// no clock. It is deterministic: the same scenario and seed give the same output.
//
//	go run ./testnet/sim                               the built-in scenarios
//	go run ./testnet/sim --scenario FILE.json --json   one from a file
//	go run ./testnet/sim --set judge
//
// # What is simulated
//
// Each device is a node and may be an orchestrator. A node's admission follows
// package runtime: it takes an offer where a slot (and memory) is free and nobody
// waits, where its own estimate is within the offer's bound, or where it is
// forced; else it refuses with its load. What it took starts in order. An offer
// may be refused twice; the third is forced. Offers and answers take half a
// round trip each. What a crashed node had is placed again when the loss is
// noticed, as hearth run --retry does. An execution holds its slot while its
// image is fetched. A device that leaves turns its queue away, which is placed
// again, and finishes what runs. Requests that come before the end are all carried through,
// so that no slow one is left out of the figures.
//
// Every policy gets the same nodes, requests, works and churn in each
// replication (common random numbers), so ratios to the reference are taken
// replication by replication; ± is the 95 % confidence interval over them.
//
// The reference, oracle, is a greedy scheduler that sees the speed, the running
// and queued executions of all nodes, and what is on its way to them, at the
// moment of each request. It sends it where its expected completion is least:
//
//	work/speed · (1 + max(0, n−c+1)/c) + round trip + fetching the image
//
// with the mean work of the service; how long what runs there will still take is
// known to nobody. It is greedy for each request, not optimal for all: it makes a
// request wait at a fast node as long as that is the shortest way for this one.
// oracle-est sees the same, and takes the least estimate as sched reckons it
// (waiting counts Params.QueueCost times), which leaves more room to the next.
//
// Requests that never end are in no figure; they take their slots. No policy knows
// which they are. Where there are any, the oracles expect what runs to go on for as
// long as it has run, and place anew at once what waits on a node when an execution
// there turns out to be long-running.
//
// # The scenario
//
// One JSON object; what is left out has the value given here; what is unknown or
// out of range is an error.
//
//	{
//	  "name": "default", "about": "",
//	  "fleet": {
//	    "count": 50,
//	    "kinds": [{"share": 0.2, "speed": 0.1, "slots": 2, "memory_mib": 0}, …],
//	    "memory_mib": 65536,   // of a node that does not say otherwise
//	    "pull_mib_s": 10       // how fast a node fetches an image
//	  },
//
// In place of kinds, which are shares of count nodes, the fleet may have
//
//	"nodes": [{"count": 1, "speed": 1, "slots": 4, "memory_mib": 0, "images": ["job"]}, …]
//	"speed": DIST, "slots": DIST    (of count nodes)
//
// Without any it is the default fleet: speeds 0.1, 0.25, 1, 2 and 4 with 2, 4, 4,
// 8 and 8 slots in shares of 20, 30, 25, 15 and 10 %.
//
//	  "load": {
//	    "utilisation": 0.8,    // Poisson, a share of what the fleet can do; or
//	    "rate": 0,             // Poisson, requests a second
//	    "bursts": [{"at_s": 3, "requests": 200}],
//	    "orchestrators": 0     // how many devices ask; 0: all
//	  },
//	  "services": [{
//	    "name": "job", "share": 1,
//	    "work": DIST,          // seconds at speed 1; {"dist": "exp", "mean": 1}
//	    "cpus": 1, "memory_mib": 0,
//	    "image_mib": 0,        // 0: fetching takes no time
//	    "present": 1,          // the share of nodes that have the image at first
//	    "endless": 0           // the share of its requests that never end
//	  }],
//	  "network": {
//	    "beat_s": 1,           // between two statuses of a node, at least; and
//	    "quiet_beat_s": 0,     // the same of a node that is idle and was when it gossiped last: 5 in hearth
//	    "beat_per_device_s": 0,    // at least so much for each device: 0.3 in hearth
//	    "changes_per_beat": 0, // a change is gossiped soon, at most so often: 10 in hearth; 0: never
//	    "settle_ms": 0,        // so long after it, unless it is over by then: 25 in hearth
//	    "delay_ms": 5,         // of a status
//	    "rtt_ms": 2,           // between two devices
//	    "loss": 0,             // of statuses
//	    "detect_s": 2.6        // until a crash is noticed
//	  },
//	  "churn": [{"at_s": 20, "leave": 0.5, "crash": 0, "join": 0}],
//	                           // shares: of those in, in, and out
//	  "liars": {"share": 0, "accept_all": false},   // gossip that they are idle
//	  "boasters": {"share": 0, "times": 4},         // their statuses tell so many times their speed
//	  "background": {"share": 0, "cpu": 0.5, "on_s": 10, "off_s": 10},
//	                           // other programs on a share of the nodes
//	  "warmup_s": 10,          // requests before are not measured
//	  "duration_s": 40,        // none comes after
//	  "replications": 5, "seed": 1
//	}
//
// DIST is one of {"dist": "fixed", "mean": M}, {"dist": "exp", "mean": M},
// {"dist": "lognormal", "mean": M, "sigma": S}, {"dist": "uniform", "min": A,
// "max": B}, {"dist": "loguniform", "min": A, "max": B} and {"dist": "choice",
// "values": [V, …]}.
//
// # What comes out
//
// A table, or with --json an object (an array without --scenario): for each
// policy the averages over replications with their confidence intervals, and the
// ratios to the reference of the same replication. See the types figures and
// result for the meaning of each.
//
// The scenarios that are built in are in two folders: sched may be tuned on
// scenarios/tune; scenarios/judge are for judging it.
package main
