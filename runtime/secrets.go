package runtime

import (
	"fmt"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// maxServices is how many bytes the services of all that is known here may take:
// of what waits, runs, and ended lately.
const maxServices = 64 << 20

// secrets grants what the engine can give: nobody's policy forbids them.
func (j *judgement) secrets() {
	if len(j.service.Secrets) == 0 {
		return
	}
	var err error
	if why := j.here.NoSecrets; why != "" {
		err = protocol.Errorf(protocol.CodePolicy, "secrets cannot be given here: %s", why)
	}
	j.say("secrets", "", fmt.Sprintf("%d in memory", len(j.service.Secrets)), err)
	j.spec.Secrets = j.service.Secrets
}

// dropSecrets forgets what a container was given: the engine has it now.
func (e *execution) dropSecrets() { e.spec.Secrets = nil }

// roomFor refuses a service that would take too much memory; n.mu is held.
func (n *Node) roomFor(size int) *protocol.Refusal {
	for _, e := range n.executions {
		size += e.size
	}
	if size <= maxServices {
		return nil
	}
	return &protocol.Refusal{Code: protocol.CodeOverloaded, Load: n.ledger.load(n.unit, time.Now()),
		Reason: fmt.Sprintf("the services that are known here would take more than %s", protocol.Bytes(maxServices))}
}
