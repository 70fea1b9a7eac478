package stack

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// desired is what a stack is to be.
type desired struct {
	services []service
	// stopped says that its owner stopped it, gone that it is to be removed.
	stopped, gone bool
}

// service is what one instance is to be.
type service struct {
	name    string
	hash    string
	hosts   []string // as Spec has them
	restart protocol.RestartPolicy
	deps    []protocol.Dependency
	// joins names the service whose network it shares.
	joins string
	// imageID is the engine's own of the image that it is to be of; empty is any.
	imageID string
	// stopped says that its owner stopped it, forbidden that the policy does not
	// allow it; then it does not run. blocked is why it cannot start now.
	stopped, forbidden bool
	blocked            string
}

// instance is what was seen of a service, and what is remembered of it.
type instance struct {
	Container
	busy step // what is being done for it
	// asked is the number of the question that was answered last.
	asked uint64
	// absent says that its image is not there, fetch that the registry is to be
	// asked all the same.
	absent, fetch bool
	failures      int       // in a row
	notBefore     time.Time // the back-off's end
	stuckUntil    time.Time // that of a stop or removal, which nothing else puts off
	up            time.Time // when it began to run, as far as was seen
	unhealthy     time.Time // since when it is; zero if it is not
	again         bool      // it is to be restarted
	signalled     bool      // its end is not its own
	done          bool      // it has ended for good, unless somebody starts it
}

// step is one thing that is done to an instance.
type step uint8

const (
	idle step = iota
	stepPull
	stepCreate
	stepStart
	stepStop
	stepRemove
	stepCleanUp // of the whole stack: its networks and volumes
)

// String names it, for the log.
func (s step) String() string {
	return [...]string{"none", "pull", "create", "start", "stop", "remove", "clean up"}[s]
}

// An action is a step that is due.
type action struct {
	step    step
	service string
	// cause says why it is stopped.
	cause cause
}

// cause is why an instance is stopped.
type cause uint8

const (
	unwanted     cause = iota // by its owner
	stale                     // another version takes its place
	restarted                 // its owner, or what it depends on, was restarted
	foundUnwell               // its checks failed for too long
	lostItsPlace              // the container whose network it shares began anew
)

// next returns what is due for a stack, and when to look again even without news;
// zero is never. It decides, and changes nothing: given the same it returns the same.
func next(d *desired, seen map[string]*instance, now time.Time) (due []action, again time.Time) {
	n := decision{desired: d, seen: seen, now: now}
	for i := range d.services {
		n.decide(&d.services[i])
	}
	left := false
	for _, name := range sortedNames(seen) {
		if n.service(name) == nil {
			n.discard(name)
		}
		left = left || seen[name].State != Absent || seen[name].busy != idle
	}
	if d.gone && !left {
		n.due = append(n.due, action{step: stepCleanUp})
	}
	return n.due, n.again
}

// decision is next at work.
type decision struct {
	desired *desired
	seen    map[string]*instance
	now     time.Time
	due     []action
	again   time.Time
}

func (n *decision) service(name string) *service {
	for i := range n.desired.services {
		if n.desired.services[i].name == name {
			return &n.desired.services[i]
		}
	}
	return nil
}

// instance returns what was seen of a service, never nil.
func (n *decision) instance(name string) *instance {
	if i := n.seen[name]; i != nil {
		return i
	}
	return &instance{}
}

func (n *decision) do(s step, name string, why cause) {
	n.due = append(n.due, action{step: s, service: name, cause: why})
}

// lookAgain has next called at that time.
func (n *decision) lookAgain(at time.Time) {
	if n.again.IsZero() || at.Before(n.again) {
		n.again = at
	}
}

// wantsDown reports whether a service is not to run.
func (n *decision) wantsDown(s *service) bool {
	return n.desired.gone || n.desired.stopped || s.stopped || s.forbidden
}

// decide says what is due for one service.
func (n *decision) decide(s *service) {
	i := n.instance(s.name)
	switch {
	case i.busy != idle || i.State == Removing:
	case n.now.Before(i.stuckUntil):
		n.lookAgain(i.stuckUntil)
	case n.desired.gone:
		if !n.hasDependents(s.name) {
			n.discard(s.name)
		}
	case n.wantsDown(s):
		if i.State == Running && !n.hasDependents(s.name) {
			n.do(stepStop, s.name, unwanted)
		}
	case i.State == Absent:
		n.make(s, i)
	case n.isStale(s, i):
		n.replace(s, i)
	case i.State == Running:
		n.watch(s, i)
	case !i.done:
		n.start(s, i)
	}
}

// discard removes what is not wanted any more.
func (n *decision) discard(name string) {
	switch i := n.seen[name]; {
	case i == nil || i.busy != idle || i.State == Absent || i.State == Removing:
	case n.now.Before(i.stuckUntil):
		n.lookAgain(i.stuckUntil)
	case i.State == Running:
		n.do(stepStop, name, unwanted)
	default:
		n.do(stepRemove, name, unwanted)
	}
}

// hasDependents reports whether a service runs that depends on this one and is to
// be stopped, too: that one goes first.
func (n *decision) hasDependents(name string) bool {
	for i := range n.desired.services {
		s := &n.desired.services[i]
		if !n.wantsDown(s) || !s.dependsOn(name) {
			continue
		}
		if seen := n.instance(s.name); seen.State == Running || seen.busy == stepStart {
			return true
		}
	}
	return false
}

func (s *service) dependsOn(name string) bool {
	return s.joins == name || slices.ContainsFunc(s.deps, func(d protocol.Dependency) bool { return d.Service == name })
}

// isStale reports whether a container was made of something else than is wanted.
func (n *decision) isStale(s *service, i *instance) bool {
	return i.Hash != s.hash || contradict(i.Hosts, s.hosts) || s.imageID != "" && i.ImageID != s.imageID ||
		s.joins != "" && n.instance(s.joins).State != Absent && i.Joined != n.instance(s.joins).ID
}

// contradict reports whether a name leads elsewhere than it should. Names that are
// missing, or not needed any more, do no harm: the engine's DNS knows the rest.
func contradict(have, want []string) bool {
	names := make(map[string]bool, len(want))
	for _, entry := range want {
		name, _, _ := strings.Cut(entry, ":")
		names[name] = true
	}
	return slices.ContainsFunc(have, func(entry string) bool {
		name, _, _ := strings.Cut(entry, ":")
		return names[name] && !slices.Contains(want, entry)
	})
}

// pulls has a missing image fetched, and reports whether that is due or under way.
func (n *decision) pulls(s *service, i *instance) bool {
	if !i.absent && !i.fetch {
		return false
	}
	if n.waits(i) {
		n.do(stepPull, s.name, unwanted)
	}
	return true
}

// waits reports whether the back-off has ended, and else looks again then.
func (n *decision) waits(i *instance) bool {
	if n.now.Before(i.notBefore) {
		n.lookAgain(i.notBefore)
		return false
	}
	return true
}

// make makes a container that is not there. It needs what it depends on only when
// it starts.
func (n *decision) make(s *service, i *instance) {
	if s.blocked != "" || n.pulls(s, i) || !n.waits(i) {
		return
	}
	if s.joins != "" {
		other := n.service(s.joins)
		if j := n.instance(s.joins); other == nil || j.State == Absent || j.State == Removing || n.isStale(other, j) {
			return
		}
	}
	n.do(stepCreate, s.name, unwanted)
}

// replace takes a stale container away, once all images of the stack are there:
// where one is missing nothing is touched.
func (n *decision) replace(s *service, i *instance) {
	if n.pulls(s, i) || s.blocked != "" || n.imagesMissing() {
		return
	}
	if i.State == Running {
		n.do(stepStop, s.name, stale)
		return
	}
	n.do(stepRemove, s.name, stale)
}

// imagesMissing reports whether an image is missing of which a container is to be
// made.
func (n *decision) imagesMissing() bool {
	return slices.ContainsFunc(n.desired.services, func(s service) bool {
		i := n.instance(s.name)
		return !n.wantsDown(&s) && s.blocked == "" && (i.absent || i.fetch) && (i.State == Absent || n.isStale(&s, i))
	})
}

// watch restarts what runs and should begin anew.
func (n *decision) watch(s *service, i *instance) {
	if i.fetch && s.blocked == "" { // what the registry has now may be another image
		n.pulls(s, i)
		return
	}
	if s.joins != "" {
		if j := n.instance(s.joins); j.State == Running && i.Started.Before(j.Started) {
			n.do(stepStop, s.name, lostItsPlace)
			return
		}
	}
	if i.again {
		n.do(stepStop, s.name, restarted)
		return
	}
	if i.unhealthy.IsZero() || s.restart == protocol.RestartNo {
		return
	}
	if at := i.unhealthy.Add(unhealthyRounds * i.interval()); n.now.Before(at) {
		n.lookAgain(at)
	} else {
		n.do(stepStop, s.name, foundUnwell)
	}
}

func (i *instance) interval() time.Duration {
	if i.HealthInterval <= 0 {
		return defaultInterval
	}
	return i.HealthInterval
}

// start starts a container if all that it depends on is as it should be.
func (n *decision) start(s *service, i *instance) {
	if s.blocked == "" && n.waits(i) && n.waitsFor(s) == "" {
		n.do(stepStart, s.name, unwanted)
	}
}

// waitsFor says what a service that is not running waits for; empty is nothing.
func (n *decision) waitsFor(s *service) string {
	if s.joins != "" && n.instance(s.joins).State != Running {
		return s.joins + ", whose network it shares"
	}
	for _, d := range s.deps {
		if why := n.unmet(d); why != "" {
			return why
		}
	}
	return ""
}

// unmet says why a dependency does not hold; empty where it does.
func (n *decision) unmet(d protocol.Dependency) string {
	s, i := n.service(d.Service), n.instance(d.Service)
	if s == nil || n.wantsDown(s) || i.done && i.ExitCode != 0 {
		switch {
		case d.Optional:
			return ""
		case s == nil:
			return d.Service + ", which the stack does not have"
		case n.wantsDown(s):
			return d.Service + ", which is stopped"
		}
		return fmt.Sprintf("%s, which failed with exit code %d", d.Service, i.ExitCode)
	}
	current := i.State != Absent && !n.isStale(s, i) && i.busy != stepStop
	runs, completed := current && i.State == Running, current && i.done && i.ExitCode == 0
	switch d.Condition {
	case protocol.ConditionCompleted:
		if completed {
			return ""
		}
		return d.Service + " to complete"
	case protocol.ConditionHealthy:
		switch {
		case runs && i.Health == "healthy":
			return ""
		case runs && i.Health == "":
			return d.Service + " to be healthy, which has no health check: give it one, or wait for it to be started only"
		}
		return d.Service + " to be healthy"
	default:
		if runs || completed {
			return ""
		}
		return d.Service + " to start"
	}
}

func sortedNames(seen map[string]*instance) []string {
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
