package runtime

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// minDefaultMemory is the least that a service gets unasked: with less, hardly
// any program starts, so fewer slots are better than useless ones.
const minDefaultMemory = 64 << 20

// DefaultLogs is how much output the engine keeps where nothing else is said.
const DefaultLogs protocol.Bytes = 20 << 20

// The bounds on what an owner can say.
const (
	minLogs protocol.Bytes = 64 << 10
	maxLogs protocol.Bytes = 1 << 40
	maxPids                = 1 << 22 // the kernel's own
	// minDisk is the least that can be told apart from what others write.
	minDisk protocol.Bytes = 1 << 20
	// minMemory is the least that the Docker engine takes for a container.
	minMemory protocol.Bytes = 6 << 20
)

// nobody is who runs what may not be root and names no user: the ID that no
// file belongs to.
const nobody = "65534:65534"

func (j *judgement) amounts() {
	p, s := j.policy, j.service
	var err error
	j.spec.CPUs, err = p.cpus(s.CPUs, j.here.Lent)
	j.say("cpus", "max_cpus", fmt.Sprintf("%v", j.spec.CPUs), err)
	j.spec.Memory, err = p.memory(s.Memory, j.here.Lent)
	j.say("memory", "max_memory", j.spec.Memory.String(), err)
	j.spec.Timeout, err = p.timeout(s.Timeout)
	grant := "none"
	if j.spec.Timeout > 0 {
		grant = j.spec.Timeout.String()
	}
	j.say("timeout", "max_timeout", grant, err)
	if p.MaxDisk > 0 {
		j.say("disk", "max_disk", p.MaxDisk.String(), nil)
	}
	j.say("processes", "pids", strconv.FormatInt(p.Pids, 10), nil)
	j.say("logs", "logs", p.Logs.String(), nil)
}

func (p *Policy) cpus(asked protocol.Cores, lent Lent) (protocol.Cores, error) {
	if math.IsNaN(float64(asked)) || asked < 0 {
		return 0, protocol.Errorf(protocol.CodeInvalid, "cpus: %g is no amount of cores", float64(asked))
	}
	if asked == 0 {
		return p.defaultCPUs(lent), nil
	}
	if asked > lent.CPUs {
		return 0, protocol.Errorf(protocol.CodeResources, "asks for %s, this node lends %s", asked, lent.CPUs)
	}
	if p.MaxCPUs > 0 && asked > p.MaxCPUs {
		return 0, deny("max_cpus", line("max_cpus", strconv.FormatFloat(float64(asked), 'f', -1, 64)), "asks for %s, this node allows a container %s", asked, p.MaxCPUs)
	}
	return asked, nil
}

func (p *Policy) memory(asked protocol.Bytes, lent Lent) (protocol.Bytes, error) {
	if asked == 0 {
		return p.defaultMemory(lent), nil
	}
	if asked > lent.Memory {
		return 0, protocol.Errorf(protocol.CodeResources, "asks for %s of memory, this node lends %s", asked, lent.Memory)
	}
	if p.MaxMemory > 0 && asked > p.MaxMemory {
		return 0, deny("max_memory", line("max_memory", amountInFile(asked)), "asks for %s of memory, this node allows a container %s", asked, p.MaxMemory)
	}
	return asked, nil
}

func (p *Policy) timeout(asked time.Duration) (time.Duration, error) {
	switch {
	case asked < 0:
		return 0, protocol.Errorf(protocol.CodeInvalid, "timeout: %v is no amount of time", asked)
	case p.MaxTimeout == 0:
		return asked, nil
	case asked > p.MaxTimeout:
		return 0, deny("max_timeout", line("max_timeout", fmt.Sprintf("%q", asked)), "asks for %v, this node lets a container run for %v", asked, p.MaxTimeout)
	case asked == 0:
		return p.MaxTimeout, nil
	}
	return asked, nil
}

// defaultCPUs is one core, or all that is lent where that is less.
func (p *Policy) defaultCPUs(lent Lent) protocol.Cores {
	cpus := p.DefaultCPUs
	if cpus <= 0 {
		cpus = 1
	}
	if p.MaxCPUs > 0 {
		cpus = min(cpus, p.MaxCPUs)
	}
	return min(cpus, lent.CPUs)
}

// defaultMemory lets as many default services in as there are cores for them.
func (p *Policy) defaultMemory(lent Lent) protocol.Bytes {
	memory := p.DefaultMemory
	if memory == 0 {
		byCPU := max(nano(lent.CPUs)/max(nano(p.defaultCPUs(lent)), 1), 1)
		memory = max(lent.Memory/protocol.Bytes(byCPU), minDefaultMemory)
	}
	if p.MaxMemory > 0 {
		memory = min(memory, p.MaxMemory)
	}
	return min(memory, lent.Memory)
}

func (j *judgement) user() {
	asked := j.service.User
	if !j.policy.RunAsNonRoot {
		j.spec.User = asked
		if asked == "" {
			asked = "the image's"
		}
		j.say("user", "run_as_nonroot", asked, nil)
		return
	}
	if asked == "" {
		asked = nobody
	}
	user, ok := notRoot(asked)
	if !ok {
		j.say("user", "run_as_nonroot", "", deny("run_as_nonroot", line("run_as_nonroot", "false"),
			"takes no user but one by numbers above 0, as --user 1000 or 1000:1000: %s may be root", quoted(asked)))
		return
	}
	j.spec.User = user
	j.say("user", "run_as_nonroot", user, nil)
}

// notRoot checks "uid[:gid]": names may be anybody's in an image. A user that
// the image does not know gets root's group unless one is named.
func notRoot(user string) (string, bool) {
	uid, gid, two := strings.Cut(user, ":")
	if !two {
		gid = uid
	}
	for _, id := range []string{uid, gid} {
		n, err := strconv.ParseInt(id, 10, 32)
		if err != nil || n <= 0 || strconv.FormatInt(n, 10) != id {
			return "", false
		}
	}
	return uid + ":" + gid, true
}

func (p *Policy) checkLimits() error {
	switch {
	case p.Pids < 1 || p.Pids > maxPids:
		return fmt.Errorf("%d is out of bounds for pids: 1 to %d", p.Pids, maxPids)
	case p.Logs < minLogs || p.Logs > maxLogs:
		return fmt.Errorf("%s is out of bounds for logs: %s to %s", p.Logs, minLogs, maxLogs)
	case !(p.MaxCPUs >= 0) || !(p.DefaultCPUs >= 0):
		return errors.New("an amount of cores cannot be negative")
	case p.MaxTimeout < 0:
		return errors.New("a time limit cannot be negative")
	case p.MaxMemory > 0 && p.MaxMemory < minMemory, p.DefaultMemory > 0 && p.DefaultMemory < minMemory:
		return fmt.Errorf("a container cannot have less memory than %s", minMemory)
	case p.MaxDisk > 0 && p.MaxDisk < minDisk:
		return fmt.Errorf("%v is out of bounds for max_disk: at least %v", p.MaxDisk, minDisk)
	case p.MaxCPUs > 0 && p.DefaultCPUs > p.MaxCPUs:
		return fmt.Errorf("default_cpus (%g) is more than max_cpus (%g)", float64(p.DefaultCPUs), float64(p.MaxCPUs))
	case p.MaxMemory > 0 && p.DefaultMemory > p.MaxMemory:
		return fmt.Errorf("default_memory (%s) is more than max_memory (%s)", p.DefaultMemory, p.MaxMemory)
	}
	return nil
}
