package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// Limits that an engine may be unable to keep, since its kernel cannot.
const (
	LimitMemory = "memory"
	LimitCPUs   = "cpus"
	LimitPids   = "pids"
)

var allLimits = []string{LimitMemory, LimitCPUs, LimitPids}

// limits are those that the engine must keep.
func (p *Policy) limits() []string {
	if p.Limits == nil {
		return allLimits
	}
	return p.Limits
}

// MissingLimits returns which limits the policy wants kept that the engine
// cannot keep: then nothing runs.
func (p *Policy) MissingLimits(i *Info) []string { return p.missing(i.NoLimits) }

func (p *Policy) missing(none []string) []string {
	var missing []string
	for _, limit := range p.limits() {
		if slices.Contains(none, limit) {
			missing = append(missing, limit)
		}
	}
	return missing
}

// LimitsWithout writes the policy's line that lets containers run without these.
func (p *Policy) LimitsWithout(missing []string) string {
	var kept []string
	for _, limit := range p.limits() {
		if !slices.Contains(missing, limit) {
			kept = append(kept, fmt.Sprintf("%q", limit))
		}
	}
	return "limits = [" + strings.Join(kept, ", ") + "]"
}

// ErrLimits is the error of a node whose engine cannot keep a limit.
func (p *Policy) ErrLimits(missing []string) error {
	return protocol.Errorf(protocol.CodePolicy, "cannot limit a container's %s: 'hearth doctor' there says how its kernel can; or its owner allows it by the line %s",
		strings.Join(missing, ", "), p.LimitsWithout(missing))
}

// kept judges whether the engine keeps the limits that every container has.
func (j *judgement) kept() {
	j.spec.Limits = j.policy.limits()
	grant := strings.Join(j.spec.Limits, ", ")
	if missing := j.policy.missing(j.here.NoLimits); len(missing) > 0 {
		j.say("limits", "limits", "", j.policy.ErrLimits(missing))
		return
	}
	if none := j.here.NoLimits; len(none) > 0 {
		grant = "none on " + strings.Join(none, ", ") + ": the engine cannot"
	}
	j.say("limits", "limits", grant, nil)
}

func checkLimit(name string) error {
	if !slices.Contains(allLimits, name) {
		return fmt.Errorf("%q is not a limit: there are %s", name, strings.Join(allLimits, ", "))
	}
	return nil
}
