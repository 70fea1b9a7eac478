package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync/atomic"

	"golang.org/x/term"

	"github.com/hearth-edge/hearth/protocol"
)

// runView shows the updates of one request.
type runView struct {
	cli *cli
	// quiet leaves out what is said about the request; explain shows how the
	// nodes were rated.
	quiet, explain bool
	// outputOnly shows what the container wrote and how much of it is missing.
	outputOnly bool
	// inside: it is of a command in a container; only its end is spoken of.
	inside bool
	// lines, where it is not nil, shows all as lines of JSON.
	lines *runLines
	// sanitize keeps output that goes to a terminal from doing more there than to be
	// shown; sanitizers are its writers.
	sanitize bool
	// timestamps has each line begin with when it came; stamps know where one begins.
	timestamps bool
	stamps     [protocol.Stderr + 1]lineTimes
	sanitizers [protocol.Stderr + 1]*sanitizer
	// lineEnd is "\r\n" while the terminal is the container's.
	lineEnd  string
	decision *protocol.Decision
	progress progress
	named    string
	attempt  uint32 // that was spoken of
	moved    moved
	fetch    string // what was said last of a fetch
	cut      uint64
	// interrupted says that the one who looks on has ended it.
	interrupted atomic.Bool
}

func newRunView(c *cli, quiet, explain bool) *runView {
	return &runView{cli: c, quiet: quiet, explain: explain, lineEnd: "\n"}
}

// show handles one update; end says that it was the last, and err is what the
// command ends with.
func (v *runView) show(u protocol.Update) (end bool, err error) {
	switch {
	case v.outputOnly && u.Output == nil:
		return u.Event != nil && u.Event.State.Ended(), nil
	case u.Decision != nil:
		v.decision = u.Decision
		if v.explain {
			v.progress.clear()
			return false, explainDecision(v.cli.stderr, u.Decision)
		}
	case u.Output != nil:
		v.progress.clear()
		if v.lines != nil {
			return false, v.lines.output(u.Output)
		}
		return false, v.write(u.Output)
	case u.Event != nil:
		if v.lines != nil {
			if err := v.lines.event(u.Event); err != nil {
				return false, err
			}
		}
		return v.event(u.Event)
	}
	return false, nil
}

func (v *runView) write(o *protocol.Output) error {
	if o.Cut > 0 {
		v.cut += o.Cut
		v.say("%d bytes of output were dropped here", o.Cut)
	}
	data := o.Data
	if v.timestamps {
		data = v.stamps[o.Channel].stamp(data, o.At)
	}
	_, err := v.writer(o.Channel).Write(data)
	return err
}

// writer returns what takes the container's output of a channel.
func (v *runView) writer(c protocol.Channel) io.Writer {
	out := v.cli.stdout
	if c == protocol.Stderr {
		out = v.cli.stderr
	}
	if !v.sanitize || !isTerminal(out) {
		return out
	}
	if v.sanitizers[c] == nil {
		v.sanitizers[c] = &sanitizer{to: out}
	}
	return v.sanitizers[c]
}

// finish shows what is held back of the output.
func (v *runView) finish() {
	for _, t := range v.sanitizers {
		if t != nil {
			_ = t.finish() // the terminal may be gone
		}
	}
}

func (v *runView) event(e *protocol.Event) (end bool, err error) {
	if e.State.Ended() {
		v.progress.clear()
		return true, v.endingAfterMoves(e)
	}
	if e.State == protocol.StatePulling {
		v.pulling(e)
		return false, nil
	}
	v.progress.clear()
	switch {
	case v.inside:
	case e.Attempt > v.attempt:
		v.attempt, v.named = e.Attempt, ""
		if e.Attempt > 1 && e.Reason != "" && !v.moved.add(e.Reason) {
			v.tellMoves()
			if !v.moved.add(e.Reason) {
				v.say("%s", e.Reason)
			}
		}
	case e.NodeName != "" && e.NodeName != v.named && e.State > protocol.StatePlacing:
		v.named = e.NodeName
		v.tellMoves()
		v.say("running on %s", e.NodeName)
	case e.Reason != "" && (e.QueuePlace > 0 || e.State == protocol.StateRunning):
		v.say("%s", e.Reason)
	}
	return false, nil
}

// pulling shows a fetch: as a bar on a terminal, and in a line where it takes
// long to begin or is tried again.
func (v *runView) pulling(e *protocol.Event) {
	if e.Reason != "" && e.Reason != v.fetch {
		v.fetch = e.Reason
		v.progress.clear()
		v.say("%s: %s", e.NodeName, e.Reason)
	}
	if e.Progress != nil && !v.quiet && isTerminal(v.cli.stderr) {
		v.progress.draw(v.cli.stderr, e)
	}
}

// ending turns the last event into what the command ends with.
func (v *runView) ending(e *protocol.Event) error {
	fail := func(code int, text string) error {
		if e.Reason != "" {
			text = e.Reason
		}
		return &failure{err: errors.New(text), code: code}
	}
	switch e.State {
	case protocol.StateSucceeded:
		if e.Reason != "" {
			v.say("%s", e.Reason)
		}
		return nil
	case protocol.StateFailed:
		if e.Code != protocol.CodeNone {
			code := exitError
			if e.Exited {
				code = e.ExitCode
			}
			return fail(code, "the container could not be run")
		}
		if e.Reason != "" {
			v.say("%s", e.Reason)
		}
		return exited(e.ExitCode)
	case protocol.StateRefused:
		if v.decision == nil || e.Code == protocol.CodeUnknownNode {
			return fail(exitNoNode, "no node can run this")
		}
		if !v.explain {
			v.reasons(v.decision.Candidates, e.Request)
		}
		return &failure{err: errors.New("no node can run this"), hint: policyHint(v.decision.Candidates), code: exitNoNode}
	case protocol.StateCancelled:
		if e.Exited && !v.interrupted.Load() {
			return exited(e.ExitCode)
		}
		return exited(exitInterrupted)
	case protocol.StateTimedOut:
		return fail(exitTimeout, "it ran into its --timeout and was stopped")
	default:
		return fail(exitError, "what became of it is not known")
	}
}

// policyKey finds the key of a policy in a reason that names one.
var policyKey = regexp.MustCompile(`\(([a-z_]+) in its owner's policy\)`)

// policyHint says how an owner allows what a policy refused.
func policyHint(all []protocol.Candidate) string {
	for _, c := range all {
		if found := policyKey.FindStringSubmatch(c.Excluded); c.Code == protocol.CodePolicy && found != nil {
			return fmt.Sprintf("a node's owner allows it in policy.toml in the state folder there, and starts 'hearth up' again; 'hearth policy example' explains %s", found[1])
		}
	}
	return ""
}

// manyReasons is of how many devices it is told at once why they did not take a
// request.
const manyReasons = 32

// reasons says why each device was left out, those with the same reason in one line.
func (v *runView) reasons(all []protocol.Candidate, id protocol.RequestID) {
	var order []string
	names := make(map[string][]string)
	for _, c := range all[:min(len(all), manyReasons)] {
		if names[c.Excluded] == nil {
			order = append(order, c.Excluded)
		}
		names[c.Excluded] = append(names[c.Excluded], cmp.Or(c.Name, shortID(c.Node)))
	}
	for _, why := range order {
		v.complain("%s: %s", strings.Join(names[why], ", "), why)
	}
	if more := len(all) - manyReasons; more > 0 {
		v.complain("and %d more: 'hearth explain %s' tells the reason of every device", more, id)
	}
}

// say prints a line about the request unless --quiet.
func (v *runView) say(format string, args ...any) {
	if !v.quiet {
		v.complain(format, args...)
	}
}

// complain prints a line about the request even with --quiet.
func (v *runView) complain(format string, args ...any) {
	fmt.Fprintf(v.cli.stderr, "hearth: %s%s", printable(fmt.Sprintf(format, args...)), v.lineEnd)
}

// guessed marks an estimate that rests on defaults, as long as nothing is known of
// the service.
func guessed(c *protocol.Candidate) string {
	if c.Guess {
		return "~"
	}
	return ""
}

// explainDecision prints how every node was rated.
func explainDecision(w *os.File, d *protocol.Decision) error {
	return table(w, decisionRows(d))
}

func decisionRows(d *protocol.Decision) [][]string {
	rows := [][]string{{"NODE", "SCORE", "ESTIMATE", "WORK", "NETWORK", "FETCH", "CHANCE", ""}}
	for _, c := range d.Candidates {
		name := cmp.Or(c.Name, shortID(c.Node))
		if c.Self {
			name += " *"
		}
		if c.Excluded != "" {
			score := "-"
			if c.Score > 0 {
				score = fmt.Sprintf("%.2f", c.Score)
			}
			rows = append(rows, []string{name, score, c.Excluded})
			continue
		}
		chosen := ""
		if c.Chosen {
			chosen = "chosen"
		}
		rows = append(rows, []string{
			name, fmt.Sprintf("%.2f", c.Score), guessed(&c) + brief(c.Estimate), brief(c.Work), brief(c.Network), brief(c.Cold),
			fmt.Sprintf("%.0f%%", 100*c.Chance), chosen,
		})
	}
	if d.Unnamed > 0 {
		rows = append(rows, []string{fmt.Sprintf("and %d more", d.Unnamed)})
	}
	return rows
}

// progress draws a pull's bar on one line of a terminal.
type progress struct {
	out   *os.File
	drawn bool
}

func (p *progress) draw(out *os.File, e *protocol.Event) {
	p.out, p.drawn = out, true
	const width = 30
	pr, done := e.Progress, 0
	if pr.Total > 0 {
		done = int(float64(width) * min(1, float64(pr.Current)/float64(pr.Total)))
	}
	fmt.Fprintf(out, "\r\x1b[Kpulling on %s [%s%s] %s / %s  (%d/%d layers)", printable(e.NodeName),
		strings.Repeat("█", done), strings.Repeat(" ", width-done), pr.Current, pr.Total, pr.LayersDone, pr.Layers)
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.drawn = false
	}
}

// isTerminal reports whether f is one.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
