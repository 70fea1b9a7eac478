package p2p

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
)

const (
	// NamesFile maps names to devices. It is in the state folder.
	NamesFile = "names.json"
	// maxPins is how many names have a holder. With more a newcomer gets none: a pin
	// is never freed by what others claim.
	maxPins = 4096
	// maxForgotten is how many names forgotten by this device's owner are told to
	// others; the oldest goes first.
	maxForgotten = 64
	// maxNamesFile bounds what is read: more than all pins take.
	maxNamesFile = 2 << 20
	// forgetTimeout is for how long a holder was not seen before others' word frees its
	// name, and forgetInterval is how often that word is repeated.
	forgetTimeout, forgetInterval = time.Hour, 15 * time.Minute
	// forgottenVersion begins the body of a frame that tells of forgotten names.
	forgottenVersion = 1
)

var (
	// errNoHolder: no device has the name.
	errNoHolder = errors.New("no device has the name")
	// errOwnName: the name is this device's own.
	errOwnName = errors.New("the name is this device's own")
)

// A pin says whose a name is.
type pin struct {
	Name string  `json:"name"`
	ID   peer.ID `json:"id"`
	// lastSeen is when the holder was connected last under that name, or this device
	// started.
	lastSeen time.Time
}

// names maps each name to one device, as this device sees it. The first proven
// member to claim a name holds it. The owner of this device can free it; the
// owner of another can if the holder was away for long. The ID is what we
// trust: a second claimant gets the end of its ID as a suffix. It is safe for
// concurrent use.
type names struct {
	file stateFile
	self pin
	// protected are the names that this device's policy mentions: no other device's word
	// frees them.
	protected []string

	mu        sync.Mutex // owns what follows
	holders   map[string]pin
	forgotten []pin // by this device's owner, the oldest first
}

// namesFile is what the file holds.
type namesFile struct {
	Names     []pin `json:"names"`
	Forgotten []pin `json:"forgotten,omitempty"`
}

// newNames knows of no name but that of self, this device.
func newNames(self pin, kept []string, log *slog.Logger) *names {
	n := &names{self: self, protected: kept, holders: make(map[string]pin)}
	n.file = stateFile{content: "names of devices", log: log, encode: n.encode, notify: make(chan struct{}, 1)}
	return n
}

// load reads the names kept in dir, where they are kept from now on.
func (n *names) load(dir string) {
	if dir != "" {
		n.file.path = filepath.Join(dir, NamesFile)
		if _, err := os.Stat(n.file.path); errors.Is(err, fs.ErrNotExist) {
			n.importPeersFile(filepath.Join(dir, PeersFile))
		}
	}
	n.file.read(maxNamesFile, func(data []byte) error {
		f, err := parseNames(data)
		if err != nil {
			return err
		}
		n.mu.Lock()
		defer n.mu.Unlock()
		now := time.Now()
		for _, p := range f.Names {
			p.lastSeen = now
			n.holders[p.Name] = p
		}
		n.forgotten = f.Forgotten
		return nil
	})
}

// importPeersFile reads the names that the release before kept in PeersFile.
func (n *names) importPeersFile(path string) {
	var former []pin
	data, err := os.ReadFile(path)
	if err != nil || len(data) > maxPeersFile || json.Unmarshal(data, &former) != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, p := range former {
		if p.ID.Validate() == nil && p.ID != n.self.ID && keys.ValidName(p.Name) == nil && p.Name != n.self.Name && len(n.holders) < maxPins {
			n.holders[p.Name] = pin{Name: p.Name, ID: p.ID, lastSeen: now}
		}
	}
	n.file.markDirty()
}

func parseNames(data []byte) (namesFile, error) {
	var f namesFile
	if err := json.Unmarshal(data, &f); err != nil {
		return namesFile{}, err
	}
	if len(f.Names) > maxPins || len(f.Forgotten) > maxForgotten {
		return namesFile{}, fmt.Errorf("%d names and %d forgotten ones where at most %d and %d are kept", len(f.Names), len(f.Forgotten), maxPins, maxForgotten)
	}
	seen := make(map[string]bool, len(f.Names))
	for _, p := range f.Names {
		if seen[p.Name] {
			return namesFile{}, fmt.Errorf("the name %q is there twice", p.Name)
		}
		seen[p.Name] = true
	}
	for _, p := range slices.Concat(f.Names, f.Forgotten) {
		if err := errors.Join(keys.ValidName(p.Name), p.ID.Validate()); err != nil {
			return namesFile{}, err
		}
	}
	return f, nil
}

func (n *names) encode() ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := namesFile{Names: make([]pin, 0, len(n.holders)), Forgotten: n.forgotten}
	for _, p := range n.holders {
		f.Names = append(f.Names, p)
	}
	slices.SortFunc(f.Names, func(a, b pin) int { return cmp.Compare(a.Name, b.Name) })
	return json.MarshalIndent(f, "", "  ")
}

// pinName notes that a device proved to be a member under a name. The name is its own if
// it is free, while there is room for more. claim reports whether the device has it.
func (n *names) pinName(name string, id peer.ID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if name == n.self.Name {
		return id == n.self.ID
	}
	p, taken := n.holders[name]
	switch {
	case taken && p.ID != id, !taken && len(n.holders) >= maxPins:
		return false
	case !taken:
		n.forgotten = slices.DeleteFunc(n.forgotten, func(f pin) bool { return f.Name == name && f.ID == id })
		n.file.markDirty()
	}
	n.holders[name] = pin{Name: name, ID: id, lastSeen: time.Now()}
	return true
}

// holder returns who has the name; empty if nobody.
func (n *names) holder(name string) peer.ID {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.holderOf(name)
}

// holderOf is holder; the caller holds the mutex.
func (n *names) holderOf(name string) peer.ID {
	if name == n.self.Name {
		return n.self.ID
	}
	return n.holders[name].ID
}

// displayName returns the name to show for a device: its claimed name if it
// holds it. Otherwise it appends as much of the end of its ID as makes it
// unique.
func (n *names) displayName(claim string, id peer.ID) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.holderOf(claim) == id {
		return claim
	}
	end := id.String()
	for length := min(4, len(end)); ; length += 4 {
		suffix := "-" + end[max(0, len(end)-length):]
		name := claim[:max(0, min(len(claim), keys.MaxName-len(suffix)))] + suffix
		if holder := n.holderOf(name); holder == "" || length >= len(end) {
			return name
		}
	}
}

// full reports whether there is no room for another name.
func (n *names) full() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.holders) >= maxPins
}

// touchPin notes that the holder of a name was connected until now.
func (n *names) touchPin(name string, id peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.holders[name]; ok && p.ID == id {
		p.lastSeen = time.Now()
		n.holders[name] = p
	}
}

// forget frees a name for this device's owner, and returns whose it was.
func (n *names) forget(name string) (pin, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.holders[name]
	switch {
	case name == n.self.Name:
		return pin{}, errOwnName
	case !ok:
		return pin{}, errNoHolder
	}
	delete(n.holders, name)
	n.forgotten = append(slices.DeleteFunc(n.forgotten, func(f pin) bool { return f.Name == p.Name && f.ID == p.ID }), p)
	n.forgotten = n.forgotten[max(0, len(n.forgotten)-maxForgotten):]
	n.file.markDirty()
	return p, nil
}

// acceptForgotten frees a name that another owner forgot, and reports whether
// it did. It keeps protected names and names whose holder was seen within
// forgetTimeout. The caller knows that the holder is not connected.
func (n *names) acceptForgotten(f pin) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.holders[f.Name]
	if !ok || p.ID != f.ID || slices.Contains(n.protected, f.Name) || time.Since(p.lastSeen) < forgetTimeout {
		return false
	}
	delete(n.holders, f.Name)
	n.file.markDirty()
	return true
}

// forgottenBody returns the body of a frameForgotten; nil if no name was
// forgotten here.
func (n *names) forgottenBody() []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.forgotten) == 0 {
		return nil
	}
	return encodeForgotten(n.forgotten)
}

// encodeForgotten is forgottenVersion, and for each pin the uvarint length of its ID, the
// ID, the uvarint length of its name, and the name.
func encodeForgotten(pins []pin) []byte {
	body := []byte{forgottenVersion}
	for _, p := range pins {
		body = append(binary.AppendUvarint(body, uint64(len(p.ID))), p.ID...)
		body = append(binary.AppendUvarint(body, uint64(len(p.Name))), p.Name...)
	}
	return body
}

// parseForgotten reads what encodeForgotten wrote. Of another version it takes none.
func parseForgotten(body []byte) ([]pin, error) {
	if len(body) == 0 || body[0] != forgottenVersion {
		return nil, nil
	}
	body = body[1:]
	field := func() (text string, err error) {
		size, n := binary.Uvarint(body)
		if n <= 0 || size > uint64(len(body)-n) {
			return "", errors.New("malformed list of forgotten names")
		}
		text, body = string(body[n:n+int(size)]), body[n+int(size):]
		return text, nil
	}
	var pins []pin
	for len(body) > 0 {
		if len(pins) == maxForgotten {
			return nil, errors.New("too many forgotten names")
		}
		id, err := field()
		if err != nil {
			return nil, err
		}
		name, err := field()
		if err != nil {
			return nil, err
		}
		p := pin{Name: name, ID: peer.ID(id)}
		if _, err := peer.IDFromBytes([]byte(id)); err != nil {
			return nil, err
		}
		if err := keys.ValidName(name); err != nil {
			return nil, err
		}
		pins = append(pins, p)
	}
	return pins, nil
}
