package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Tolerance is allowed for before two times are in the wrong order: engines tell
// of an end some time after it, a container that is to be killed takes a second,
// and the machine may be busy.
const Tolerance = 2 * time.Second

// Retention is for how long a node keeps a container that has ended and whose end
// nobody has read, and some more to remove it.
const Retention = 11 * time.Minute

// A Promise is one that may be broken.
type Promise string

// The promises.
const (
	// NotForgotten: what was accepted is known to its device until it has ended.
	NotForgotten Promise = "accepted, then forgotten"
	// Ends: every request ends once the faults are over.
	Ends Promise = "never ended"
	// Once per node: one container for a request and attempt, started once.
	OncePerNode Promise = "two containers of one attempt"
	// AtMostOnce: without retries one container at most starts in the mesh.
	AtMostOnce Promise = "run more than once"
	// Attempts: with N retries at most N+1 containers start.
	Attempts Promise = "too many attempts"
	// OneAtATime: two containers of a request never run at the same time.
	OneAtATime Promise = "two at a time"
	// Truth: what was told of an end is what the engine tells.
	Truth Promise = "told what is not so"
	// OneEnd: an end is told once; unknown may be corrected, once.
	OneEnd Promise = "two ends"
	// Corrected: an unknown end does not stay so when all is back.
	Corrected Promise = "unknown for ever"
	// NoOrphans: nothing runs, or is left, that nobody asked for or waits for.
	NoOrphans Promise = "orphan"
	// Output: what was told of it is what the containers wrote.
	Output Promise = "wrong output"
)

// A Violation is a broken promise.
type Violation struct {
	Promise Promise `json:"promise"`
	Request string  `json:"request,omitempty"`
	Text    string  `json:"text"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s: request %s: %s", v.Promise, cmp.Or(v.Request, "(none)"), v.Text)
}

// Check returns every promise that was broken, in the order of the requests.
func Check(h *History) []Violation {
	c := &checker{h: h, containers: map[string][]*Container{}}
	for _, container := range h.Containers {
		c.containers[container.Request] = append(c.containers[container.Request], container)
	}
	known := map[string]bool{}
	for _, r := range h.Requests {
		known[r.ID] = true
		all := c.containers[r.ID]
		slices.SortStableFunc(all, func(a, b *Container) int { return cmp.Compare(a.Attempt, b.Attempt) })
		ran := slices.DeleteFunc(slices.Clone(all), func(k *Container) bool { return k.Starts == 0 })
		c.request = r
		c.counts(ran)
		c.overlaps(ran)
		c.ends(ran)
		c.output(ran)
		c.left(all)
	}
	for _, container := range h.Containers {
		if !known[container.Request] {
			c.request = &Request{ID: container.Request}
			c.broken(NoOrphans, "nobody asked for container %s", name(container))
		}
	}
	return c.found
}

type checker struct {
	h          *History
	containers map[string][]*Container // by request
	request    *Request                // that is looked at
	found      []Violation
}

func (c *checker) broken(p Promise, format string, args ...any) {
	c.found = append(c.found, Violation{p, c.request.ID, fmt.Sprintf(format, args...)})
}

func (c *checker) counts(ran []*Container) {
	type place struct {
		node    string
		attempt int
	}
	seen := map[place]*Container{}
	for _, k := range ran {
		at := place{k.Node, k.Attempt}
		if k.Starts > 1 {
			c.broken(OncePerNode, "container %s was started %d times", name(k), k.Starts)
		}
		if other := seen[at]; other != nil {
			c.broken(OncePerNode, "attempt %d ran on one node as %s and %s", k.Attempt, name(other), name(k))
		}
		seen[at] = k
	}
	switch most := c.request.Retry + 1; {
	case len(ran) <= most:
	case most == 1:
		c.broken(AtMostOnce, "%d containers were started: %v", len(ran), names(ran))
	default:
		c.broken(Attempts, "%d containers were started, %d are allowed: %v", len(ran), most, names(ran))
	}
}

func (c *checker) overlaps(ran []*Container) {
	for i, a := range ran {
		for _, b := range ran[i+1:] {
			from, until := max(a.Started, b.Started), min(c.end(a), c.end(b))
			if until-from > Tolerance {
				c.broken(OneAtATime, "%s and %s both ran for %v, from %v on", name(a), name(b), until-from, from)
			}
		}
	}
}

// left looks at what the engines have when all is over.
func (c *checker) left(all []*Container) {
	for _, k := range all {
		switch {
		case k.Left == "":
		case k.Starts > 0 && k.Left == "exited" && k.Ended > 0 && c.h.Ended-k.Ended <= Retention:
		default:
			c.broken(NoOrphans, "container %s is left, %s", name(k), k.Left)
		}
	}
}

// end returns when a container ended, as far as that is hearth's doing: while its
// engine hangs, or its device sleeps, nothing can end it.
func (c *checker) end(k *Container) time.Duration {
	end := k.Ended
	if end == 0 {
		end = c.h.Ended
	}
	for _, f := range c.h.Faults {
		if f.Node != k.Node || f.Kind != Sleep && f.Kind != EngineHang && f.Kind != EngineDown {
			continue
		}
		if until := c.over(f); f.From < end && end <= until+Tolerance {
			end = max(f.From, k.Started)
		}
	}
	return end
}

func (c *checker) over(f *Fault) time.Duration {
	if f.Until == 0 {
		return c.h.Ended
	}
	return f.Until
}

// ended reports whether t tells an end.
func (t *Told) ended() bool { return protocol.State(t.State).Ended() }

func (t *Told) unknown() bool { return t.State == State(protocol.StateUnknown) }

func name(k *Container) string {
	return fmt.Sprintf("%.12s (attempt %d on %s)", k.ID, k.Attempt, tail(k.Node))
}

func names(all []*Container) (list []string) {
	for _, k := range all {
		list = append(list, name(k))
	}
	return list
}

// tail is the end of a node's ID, since all begin alike.
func tail(node string) string { return node[max(0, len(node)-8):] }
