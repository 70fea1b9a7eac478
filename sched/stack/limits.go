package stack

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// KeptVersions is how many versions of a stack are kept, the current one
	// among them. Older ones are deleted.
	KeptVersions = 10
	// maxNames is how many names of stacks are remembered of all devices; those
	// seen longest ago are forgotten.
	maxNames = 1000
	// maxNumber is the highest number of a service.
	maxNumber = 200
	// maxFile bounds a file of the store: a record and its files, in base64.
	maxFile = 16 << 20
	// stableFor is how long a stack must be up to count as up; stableAfterRestart
	// where an instance has ended meanwhile.
	stableFor          = 500 * time.Millisecond
	stableAfterRestart = 5 * time.Second
	// defaultReserve is what a service without reserved memory is counted with.
	defaultReserve = 64 * protocol.Bytes(1<<20)
	// askTimeout is how long another device may take to list its stacks, or to
	// plan one; one that takes longer is left out.
	askTimeout = 5 * time.Second
	// freshFor is how long a name that was learned by asking outweighs its
	// holder's status, which may be older.
	freshFor = 5 * time.Second
)
