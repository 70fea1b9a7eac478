package runtime

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// earlyExit is how long a container runs at most that ended for want of a right: an
// entrypoint finds that out when it starts.
const earlyExit = 10 * time.Second

// maxHintTail is how much of the end of the output is looked at.
const maxHintTail = 4 << 10

// deniedHint is the key of the policy that may be why a container failed soon, for
// people; empty where nothing points to one. The container's own words are all
// that there is to go by, so it says what is so, and not that it is the cause.
func (e *execution) deniedHint(ran time.Duration) string {
	if e.adopted || ran > earlyExit {
		return ""
	}
	tail := bytes.ToLower(e.lastWords())
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return bytes.Contains(tail, []byte(w)) })
	}
	policy := &e.node.cfg.Policy
	switch {
	case policy.ReadOnlyRoot && says("read-only file system"):
		return "it can write to its mounts and to /tmp only (read_only_root in the policy of the node's owner)"
	case !says("not permitted", "permission denied"):
		return ""
	case policy.RunAsNonRoot && e.service.User == "":
		return fmt.Sprintf("it ran as user %s, whatever its image says (run_as_nonroot in the policy of the node's owner)", e.spec.User)
	case !mayBeRoot(e.spec.User):
		return ""
	}
	var withheld []string
	for _, name := range EntrypointCapabilities() {
		if !slices.Contains(e.spec.Capabilities, name) {
			withheld = append(withheld, name)
		}
	}
	switch {
	case len(e.spec.Capabilities) == 0:
		return "it had no capabilities, not even as root (default_capabilities in the policy of the node's owner)"
	case len(withheld) > 0:
		return fmt.Sprintf("it did not have the capabilities %s (default_capabilities in the policy of the node's owner)", strings.Join(withheld, " "))
	case says("not permitted"):
		return "it had few capabilities; --cap-add NAME asks for another one"
	}
	return ""
}

// mayBeRoot reports whether a spec's user can be root: the image's can.
func mayBeRoot(user string) bool {
	uid, _, _ := strings.Cut(user, ":")
	return uid == "" || uid == "0" || uid == "root"
}

// lastWords is the end of what the container wrote to standard error, or to its
// terminal.
func (e *execution) lastWords() []byte {
	channel := protocol.Stderr
	if e.spec.TTY {
		channel = protocol.Stdout
	}
	known := overlaps(e.feed)[channel].kept
	return known[max(0, len(known)-maxHintTail):]
}
