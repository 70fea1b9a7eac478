package protocol

import "time"

// Bounds on a stack's parts. What is larger is refused by Stack.Validate. Lengths
// are in bytes.
const (
	maxStackName  = 63 // as a label of DNS
	maxPart       = 63 // the name of a service, a network or a volume
	maxPartFile   = 255
	maxNumber     = 200 // of a service
	maxNetworks   = 16
	maxVolumes    = 128
	maxFiles      = 256
	maxUses       = 64
	maxList       = 128 // of a service: ports, mounts, dependencies and so on
	maxStackPorts = 512 // of all services; a range of ports is as many
	maxHealthTest = 64  // words
	maxGrace      = 24 * time.Hour
	maxHealthTime = 24 * time.Hour
	maxRetries    = 1000
	maxShares     = 262144 // the kernel's
	maxPids       = 1 << 22
	maxNote       = maxReason
	maxSignature  = 512
	maxSalt       = 64
	maxLogLine    = 16 << 10
)
