package docker

import (
	"slices"
	"strings"
	"sync"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/system"

	"github.com/hearth-edge/hearth/runtime"
)

// maxWarnings is how many different warnings of the engine are logged, each once.
const maxWarnings = 32

// seen remembers texts, maxWarnings of them.
type seen struct {
	mu  sync.Mutex // guards all
	all map[string]bool
}

// add reports whether the text is new, and remembered.
func (s *seen) add(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[text] || len(s.all) >= maxWarnings {
		return false
	}
	if s.all == nil {
		s.all = make(map[string]bool)
	}
	s.all[text] = true
	return true
}

// missingLimits returns the limits that the engine cannot keep.
func missingLimits(info *system.Info) []string {
	var missing []string
	for _, l := range []struct {
		name string
		kept bool
	}{{runtime.LimitMemory, info.MemoryLimit}, {runtime.LimitCPUs, info.CPUCfsQuota}, {runtime.LimitPids, info.PidsLimit}} {
		if !l.kept {
			missing = append(missing, l.name)
		}
	}
	return missing
}

// leaveOut takes the limits out that the engine would refuse instead of dropping
// them: their owner runs containers without.
func leaveOut(host *container.HostConfig, missing []string) {
	if slices.Contains(missing, runtime.LimitCPUs) {
		host.NanoCPUs = 0
	}
}

// checkWarnings logs what the engine warned of when it made a container. The
// error is for a limit that it dropped and that must be kept.
func (d *Driver) checkWarnings(warnings, limits []string) error {
	var dropped []string
	for _, w := range warnings {
		if d.warnings.add(w) {
			d.cfg.Log.Warn("the engine warned when it made a container", "warning", w)
		}
		if limit := droppedLimit(w); limit != "" && slices.Contains(limits, limit) {
			dropped = append(dropped, limit)
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	policy := runtime.Policy{Limits: limits}
	return policy.ErrLimits(dropped)
}

// droppedLimit returns which limit a warning says was dropped; empty for others.
// The engine tells in words only.
func droppedLimit(warning string) string {
	w := strings.ToLower(warning)
	switch {
	case !strings.Contains(w, "discarded"):
		return ""
	case strings.Contains(w, "support memory limit"):
		return runtime.LimitMemory
	case strings.Contains(w, "pids limit"):
		return runtime.LimitPids
	case strings.Contains(w, "cpu cfs"):
		return runtime.LimitCPUs
	}
	return ""
}
