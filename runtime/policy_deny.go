package runtime

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// deny is the refusal of what the owner could allow by the key. fix completes
// "its owner can allow that by …" with what the policy file needs; it is empty
// where no line alone would do.
func deny(key, fix, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if fix != "" {
		text += fixWords + fix
	}
	return protocol.Errorf(protocol.CodePolicy, "%s (%s in its owner's policy)", text, key)
}

// fixWords stand before the fix in a refusal.
const fixWords = "; its owner can allow that by "

// StackRefusal is what deny said, and other reasons, about a service of a stack:
// with the fix by itself.
func StackRefusal(service string, err error) protocol.StackRefusal {
	r := protocol.StackRefusal{Service: service, Code: protocol.CodeOf(err), Reason: err.Error()}
	before, after, found := strings.Cut(r.Reason, fixWords)
	if end := strings.LastIndex(after, " ("); found && end >= 0 {
		r.Reason, r.PolicyLine = before+after[end:], strings.TrimPrefix(after[:end], "the line ")
	}
	return r
}

// DenyPublishing is the refusal of a port that may not be published.
func DenyPublishing(format string, args ...any) error {
	return deny("publish_public", line("publish_public", "true"), format, args...)
}

// line is the fix that sets the key to a value as the file has it.
func line(key, value string) string { return "the line " + key + " = " + value }

// listing is the fix that has the key's list name one more. It tells nothing of
// what the owner listed: where that is more than usual, only what to add.
func listing(key string, have, usual []string, add string) string {
	switch {
	case len(add) > maxQuoted:
		return ""
	case len(have) > 0 && !slices.Equal(have, usual):
		return fmt.Sprintf("adding %q to %s", add, key)
	}
	if have == nil || len(have) > 0 {
		have = usual
	}
	quoted := make([]string, 0, len(have)+1)
	for _, s := range append(slices.Clone(have), add) {
		quoted = append(quoted, strconv.Quote(s))
	}
	return line(key, "["+strings.Join(quoted, ", ")+"]")
}

// amountInFile writes an amount of memory as the policy file has it.
func amountInFile(b protocol.Bytes) string {
	unit := 0
	for b > 0 && b%1024 == 0 && unit < 3 {
		b, unit = b/1024, unit+1
	}
	return fmt.Sprintf(`"%d%c"`, uint64(b), "bkmg"[unit])
}

// maxQuoted is how much of what was asked for a reason repeats.
const maxQuoted = 120

// quoted writes what was asked for in few characters.
func quoted(s string) string {
	if len(s) > maxQuoted {
		s = s[:maxQuoted] + "…"
	}
	return fmt.Sprintf("%q", s)
}

// lending is the fix for a path that is to be mounted, under the key.
func (p *Policy) lending(key, source string) string {
	source = path.Clean(source)
	switch {
	case checkMountPath(source) != nil:
		return ""
	case key == "writable_mounts":
		return listing(key, p.WritableMounts, nil, source)
	}
	return listing(key, p.Mounts, nil, source)
}
