package device

import (
	"context"
	"fmt"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// checkStacks tells which of the stacks that this device holds are not as they
// should be.
func (d *Device) checkStacks(ctx context.Context) (checks []protocol.Check) {
	const name = "stacks"
	if files := d.stacks.holder.Damaged(); len(files) > 0 {
		checks = append(checks, problem(name, "bring the stack up again from its compose file, then remove the file from "+StacksFolder(d.cfg.Secret.Fingerprint())+" in the state folder",
			"versions of stacks were damaged on the disk, so that the ones before count: %s", strings.Join(files, ", ")))
	}
	var good []string
	_ = d.stacks.holder.ListStacks(ctx, protocol.ListStacks{}, func(list []protocol.StackStatus) error {
		for i := range list {
			if s := &list[i]; s.State == protocol.StackDegraded {
				checks = append(checks, problem(name, fmt.Sprintf("see 'hearth stack ps %s' and 'hearth stack logs %s'", s.Name, s.Name), "%s is degraded: %s", s.Name, whatIsWrong(s)))
			} else {
				good = append(good, fmt.Sprintf("%s (%s)", s.Name, s.State))
			}
		}
		return nil
	})
	if len(good) > 0 {
		checks = append(checks, ok(name, "%s", strings.Join(good, ", ")))
	}
	return checks
}

// whatIsWrong names the instances that do not run as they should.
func whatIsWrong(s *protocol.StackStatus) string {
	var parts []string
	for i := range s.Instances {
		switch n := &s.Instances[i]; n.State {
		case protocol.InstanceRunning, protocol.InstanceCompleted, protocol.InstanceStopped:
		default:
			text := fmt.Sprintf("%s is %s", n.Service, n.State)
			if n.Reason != "" {
				text += " (" + n.Reason + ")"
			}
			parts = append(parts, text)
		}
	}
	if len(parts) == 0 {
		return s.Reason
	}
	return strings.Join(parts, "; ")
}
