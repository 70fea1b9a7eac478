package runtime

import "github.com/hearth-edge/hearth/protocol"

// minLentCPUs is what stays for requests whatever is set aside.
const minLentCPUs protocol.Cores = 0.1

// Reserve sets aside what is kept free for containers that are no executions: the
// instances of stacks. It replaces what was set aside before. Requests see a node
// that lends so much less, but never less than one small container needs; what
// runs already goes on.
func (n *Node) Reserve(cpus protocol.Cores, memory protocol.Bytes) {
	n.mu.Lock()
	lent := n.cfg.lent()
	lent.CPUs = max(lent.CPUs-max(cpus, 0), min(minLentCPUs, lent.CPUs))
	lent.Memory = max(lent.Memory-min(memory, lent.Memory), min(minDefaultMemory, lent.Memory))
	n.lent = lent
	n.unit = demandOf(n.cfg.Policy.defaultCPUs(lent), n.cfg.Policy.defaultMemory(lent))
	n.ledger.lent = demandOf(lent.CPUs, lent.Memory)
	if !n.leaving {
		n.pump()
	}
	n.mu.Unlock()
	n.changed()
}

func (c *Config) lent() Lent { return Lent{CPUs: c.CPUs, Memory: c.Memory} }

// Here is what the policy has to know of this machine as it is now, with all that
// the device lends, what Reserve set aside included.
func (n *Node) Here() Here {
	h := n.here()
	h.Lent = n.cfg.lent()
	return h
}
