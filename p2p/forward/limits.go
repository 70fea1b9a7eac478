package forward

import "time"

// Limits of one device. What is beyond them is closed or dropped at once, and
// logged once.
const (
	// maxConns is how many connections one TCP listener carries at a time.
	maxConns = 512
	// maxFlows is how many senders one UDP listener serves at a time: a further one
	// takes the place of that which is idle for longest. maxWaiting is
	// how many datagrams of one wait for its stream.
	maxFlows, maxWaiting = 256, 32
	// maxPorts is how many ports are listened on for stacks; of more the last
	// stacks' by name are left out, and told.
	maxPorts = 1024
	// dialTimeout is how long the way to a container may take.
	dialTimeout = 15 * time.Second
	// idleTimeout ends a UDP flow without a datagram either way.
	idleTimeout = 60 * time.Second
	// acceptPause is between two tries of a listener that cannot accept, as when
	// files run out.
	acceptPause = 100 * time.Millisecond
	// retryInterval is after how long a port is tried again that another program
	// had.
	retryInterval = 30 * time.Second
)
