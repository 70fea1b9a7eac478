package policyfile

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/hearth-edge/hearth/protocol"
)

// A value is a field of a policy as it is written.
type value interface {
	// set takes a value from the file.
	set(n *unstable.Node) error
	// String writes it as the file would have it; empty where it says nothing.
	String() string
}

// toggle is true or false.
type toggle struct{ p *bool }

func (v toggle) set(n *unstable.Node) error {
	if n.Kind != unstable.Bool {
		return errors.New("write true or false")
	}
	*v.p = n.Data[0] == 't'
	return nil
}

func (v toggle) String() string { return strconv.FormatBool(*v.p) }

// list is of strings; nil says nothing.
type list struct{ p *[]string }

func (v list) set(n *unstable.Node) error {
	const how = `write a list of texts, such as ["a", "b"]`
	if n.Kind != unstable.Array {
		return errors.New(how)
	}
	out := []string{}
	for it := n.Children(); it.Next(); {
		if it.Node().Kind == unstable.Comment {
			continue
		}
		if it.Node().Kind != unstable.String {
			return errors.New(how)
		}
		out = append(out, string(it.Node().Data))
	}
	*v.p = out
	return nil
}

func (v list) String() string {
	if *v.p == nil {
		return ""
	}
	var quoted []string
	for _, s := range *v.p {
		quoted = append(quoted, quote(s))
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a TOML string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// count is a whole number.
type count struct{ p *int64 }

func (v count) set(n *unstable.Node) error {
	i, err := strconv.ParseInt(string(n.Data), 0, 64)
	if n.Kind != unstable.Integer || err != nil {
		return errors.New("write a whole number")
	}
	*v.p = i
	return nil
}

func (v count) String() string { return strconv.FormatInt(*v.p, 10) }

// amount is of cores; 0 says nothing.
type amount struct{ p *protocol.Cores }

func (v amount) set(n *unstable.Node) error {
	f, err := strconv.ParseFloat(strings.ReplaceAll(string(n.Data), "_", ""), 64)
	if n.Kind != unstable.Integer && n.Kind != unstable.Float || err != nil || !(f > 0 && f <= 65536) {
		return errors.New("write a number of cores, such as 2 or 0.5")
	}
	*v.p = protocol.Cores(f)
	return nil
}

func (v amount) String() string {
	if *v.p == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*v.p), 'f', -1, 64)
}

// volume is an amount of memory or disk; 0 says nothing.
type volume struct{ p *protocol.Bytes }

func (v volume) set(n *unstable.Node) error {
	i, err := units.RAMInBytes(string(n.Data))
	if n.Kind != unstable.String || err != nil || i <= 0 {
		return errors.New(`write a size, such as "512m" or "2g"`)
	}
	*v.p = protocol.Bytes(i)
	return nil
}

func (v volume) String() string {
	if *v.p == 0 {
		return ""
	}
	b, unit := uint64(*v.p), 0
	for b%1024 == 0 && unit < 4 {
		b, unit = b/1024, unit+1
	}
	return fmt.Sprintf(`"%d%s"`, b, []string{"b", "k", "m", "g", "t"}[unit])
}

// span is an amount of time; 0 says nothing.
type span struct{ p *time.Duration }

func (v span) set(n *unstable.Node) error {
	d, err := time.ParseDuration(string(n.Data))
	if n.Kind != unstable.String || err != nil || d <= 0 {
		return errors.New(`write a time, such as "90s" or "2h"`)
	}
	*v.p = d
	return nil
}

func (v span) String() string {
	if *v.p == 0 {
		return ""
	}
	return `"` + v.p.String() + `"`
}
