package edge

import "time"

const (
	// takenGrace bounds how long an answer waits for a container to run once a node
	// has taken it: a client that waits for a large image would give up.
	takenGrace = 10 * time.Second
)
