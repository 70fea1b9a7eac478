package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// A stackView shows how a stack changes: the plan, then a line for each service
// whenever that is in another state. What is for people goes to stderr.
type stackView struct {
	c        *cli
	asJSON   bool
	warnings []string        // of the compose file
	stack    *protocol.Stack // as it is asked for; nil where that is not known
	started  time.Time

	name     protocol.StackName
	planned  bool
	nothing  bool // to change
	accepted uint64
	holder   string
	states   map[string]string // by service
}

func newStackView(c *cli, asJSON bool) *stackView {
	return &stackView{c: c, asJSON: asJSON, started: time.Now(), states: make(map[string]string)}
}

// show shows one step.
func (v *stackView) show(u protocol.StackUpdate) error {
	if u.Plan != nil {
		v.name, v.holder, v.planned = u.Plan.Name, u.Plan.HolderName, true
		v.nothing = u.Plan.Holder != "" && u.Plan.Version == u.Plan.Current
		u.Plan.Warnings = append(v.warnings, u.Plan.Warnings...)
	}
	v.accepted = max(v.accepted, u.Accepted)
	if v.asJSON {
		return json.NewEncoder(v.c.stdout).Encode(api.NewStackUpdate(&u))
	}
	switch {
	case u.Plan != nil:
		v.plan(u.Plan)
	case u.Status != nil:
		v.status(u.Status)
	}
	return nil
}

// say writes a line for people.
func (v *stackView) say(format string, args ...any) {
	fmt.Fprintln(v.c.stderr, strings.TrimRight(printable(fmt.Sprintf(format, args...)), " "))
}

// plan shows a plan.
func (v *stackView) plan(p *protocol.StackPlan) {
	v.name = p.Name
	for _, w := range p.Warnings {
		v.say("warning: %s", w)
	}
	switch {
	case p.Holder == "":
		v.say("no node can run the stack %s", p.Name)
	case p.Version == p.Current:
		v.say("%s is on %s at version %d: nothing to change", p.Name, p.HolderName, p.Current)
	case p.Current == 0:
		v.say("%s: a new stack, on %s: %s", p.Name, p.HolderName, p.Why)
	default:
		v.say("%s: version %d becomes %d, on %s: %s", p.Name, p.Current, p.Version, p.HolderName, p.Why)
	}
	if p.Version != p.Current {
		width := 0
		for _, s := range p.Services {
			width = max(width, len(s.Service))
		}
		for _, s := range p.Services {
			v.say("  %-8s  %-*s  %s", s.Action, width, s.Service, v.about(&s))
		}
	}
	for i := range p.Refused {
		v.refusal(&p.Refused[i])
	}
}

// about says what is done to a service, and what it publishes.
func (v *stackView) about(s *protocol.ServiceChange) string {
	var parts []string
	if len(s.Why) > 0 {
		parts = append(parts, strings.Join(s.Why, ", ")+" changed")
	}
	if v.stack != nil && s.Action != protocol.ActionRemove {
		for i := range v.stack.Services {
			if svc := &v.stack.Services[i]; svc.Name == s.Service && len(svc.Ports) > 0 {
				parts = append(parts, "publishes "+portsText(svc.Ports))
			}
		}
	}
	return strings.Join(parts, "; ")
}

// refusal shows why a node does not run it, and the lines that would change that.
func (v *stackView) refusal(r *protocol.NodeRefusal) {
	var lines []string
	for _, why := range r.Reasons {
		text := why.Reason
		if why.Service != "" {
			text = why.Service + ": " + text
		}
		v.say("  not on %s: %s", r.NodeName, text)
		if why.PolicyLine != "" {
			lines = append(lines, why.PolicyLine)
		}
	}
	for _, l := range lines {
		v.say("    its owner would allow that in policy.toml: %s", l)
	}
}

// status shows what became different.
func (v *stackView) status(s *protocol.StackStatus) {
	for i := range s.Instances {
		n := &s.Instances[i]
		text := instanceText(n)
		if n.Reason != "" {
			text += ": " + n.Reason
		}
		_, shown := v.states[n.Service]
		if v.states[n.Service] == text || !shown && n.State == protocol.InstanceWaiting {
			continue // that it begins by waiting is no news
		}
		v.states[n.Service] = text
		v.say("%6s  %s  %s", brief(time.Since(v.started)), n.Service, text)
		if n.State == protocol.InstanceBackoff || n.State == protocol.InstanceFailed {
			for line := range strings.Lines(lastLinesOf(n.LastOutput, 5)) {
				v.say("        %s | %s", n.Service, strings.TrimRight(line, "\r\n"))
			}
		}
	}
}

// lastLinesOf returns the last n lines of text.
func lastLinesOf(text string, n int) string {
	lines := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "")
}

// end says how it ended, where it ended well.
func (v *stackView) end(detached bool) {
	switch {
	case v.asJSON || v.nothing:
	case detached:
		v.say("%s: version %d is accepted by %s; 'hearth stack ps %s' shows what becomes of it", v.name, v.accepted, v.holder, v.name)
	default:
		v.say("%s is up on %s, version %d, after %s", v.name, v.holder, v.accepted, brief(time.Since(v.started)))
	}
}

// portsText lists ports as docker writes them.
func portsText(ports []protocol.StackPort) string {
	var texts []string
	for _, p := range ports {
		text := fmt.Sprintf("%d→%d", p.Published, p.Target)
		if p.Published == p.Target {
			text = fmt.Sprint(p.Published)
		}
		if p.UDP {
			text += "/udp"
		}
		if p.HostIP != "" {
			text = p.HostIP + ":" + text
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// instanceText says what an instance does, in a few words.
func instanceText(n *protocol.InstanceStatus) string {
	text := string(n.State)
	switch {
	case n.State == protocol.InstanceRunning && n.Health == "healthy":
		text += ", healthy"
	case n.Exited && (n.State == protocol.InstanceBackoff || n.State == protocol.InstanceFailed):
		text += fmt.Sprintf(" (%d)", n.ExitCode)
	}
	return text
}
