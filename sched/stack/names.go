package stack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Names remembers which stacks this device has seen in the mesh and who holds
// them, over restarts, so that a stack is not begun a second time while its holder
// is away. Its methods may be called concurrently; only Run writes to the disk.
type Names struct {
	path  string
	clock func() time.Duration // monotonic
	now   func() time.Time
	log   *slog.Logger
	dirty chan struct{}

	mu    sync.Mutex // guards known; never held across I/O
	known map[nameKey]*sighting
}

type nameKey struct {
	name   protocol.StackName
	holder protocol.PeerID
}

// sighting is a stack as it was last seen.
type sighting struct {
	Name       protocol.StackName `json:"name"`
	Holder     protocol.PeerID    `json:"holder"`
	HolderName string             `json:"holder_name"`
	Version    uint64             `json:"version"`
	// Seen is on the clock of this device, for people.
	Seen time.Time `json:"seen"`
	// learned is when this device was told by the holder itself, outside of its
	// status.
	learned time.Duration
}

// NewNames reads the file at path, if there is one. What cannot be read is logged,
// and begun anew.
func NewNames(path string, clock func() time.Duration, now func() time.Time, log *slog.Logger) *Names {
	n := &Names{path: path, clock: clock, now: now, log: log, dirty: make(chan struct{}, 1), known: make(map[nameKey]*sighting)}
	raw, err := os.ReadFile(path)
	var list []sighting
	if err == nil {
		list, err = decodeNames(raw)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("which stacks were seen in the mesh cannot be read, and is begun anew", "file", path, "err", err)
	}
	for i := range list {
		n.known[nameKey{list[i].Name, list[i].Holder}] = &list[i]
	}
	return n
}

func decodeNames(raw []byte) ([]sighting, error) {
	var list []sighting
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if len(list) > maxNames {
		return nil, fmt.Errorf("it has %d names, the most is %d", len(list), maxNames)
	}
	for i := range list {
		if _, err := protocol.ParseStackName(string(list[i].Name)); err != nil {
			return nil, err
		}
		if _, err := protocol.ParsePeerID(string(list[i].Holder)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Seen takes in what a connected device called name told in its status. A stack
// that it does not name any more is forgotten, unless there are some that it does
// not name. It does not block.
func (n *Names) Seen(s *protocol.Status, name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := false
	told := make(map[protocol.StackName]bool, len(s.Stacks))
	for i := range s.Stacks {
		told[s.Stacks[i].Name] = true
		changed = n.add(s.Stacks[i].Name, s.Node, name, s.Stacks[i].Version) || changed
	}
	for key, was := range n.known {
		recent := was.learned > 0 && n.clock()-was.learned < freshFor
		if key.holder == s.Node && !told[key.name] && s.UnnamedStacks == 0 && !recent {
			delete(n.known, key)
			changed = true
		}
	}
	n.written(changed)
}

// Holds takes in what the holder itself answered.
func (n *Names) Holds(name protocol.StackName, holder protocol.PeerID, holderName string, version uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := n.add(name, holder, holderName, version)
	n.known[nameKey{name, holder}].learned = n.clock()
	n.written(changed)
}

// Left notes down when a device was last seen.
func (n *Names) Left(holder protocol.PeerID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	changed := false
	for key, s := range n.known {
		if key.holder == holder {
			s.Seen, changed = n.now(), true
		}
	}
	n.written(changed)
}

// add reports whether that is news. n.mu is held.
func (n *Names) add(name protocol.StackName, holder protocol.PeerID, holderName string, version uint64) bool {
	key := nameKey{name, holder}
	s := n.known[key]
	if s == nil {
		n.makeRoom()
		s = &sighting{Name: name, Holder: holder}
		n.known[key] = s
	}
	changed := s.HolderName != holderName || s.Version != version
	s.HolderName, s.Version, s.Seen = holderName, version, n.now()
	return changed
}

// makeRoom forgets what was seen longest ago. n.mu is held.
func (n *Names) makeRoom() {
	if len(n.known) < maxNames {
		return
	}
	var oldest *sighting
	for _, s := range n.known {
		if oldest == nil || s.Seen.Before(oldest.Seen) {
			oldest = s
		}
	}
	delete(n.known, nameKey{oldest.Name, oldest.Holder})
}

// holders returns who holds stacks of that name as far as is known, by name.
func (n *Names) holders(name protocol.StackName) []sighting {
	n.mu.Lock()
	defer n.mu.Unlock()
	var list []sighting
	for key, s := range n.known {
		if name == "" || key.name == name {
			list = append(list, *s)
		}
	}
	slices.SortFunc(list, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.HolderName, b.HolderName), cmp.Compare(a.Holder, b.Holder))
	})
	return list
}

func (n *Names) written(changed bool) {
	if !changed {
		return
	}
	select {
	case n.dirty <- struct{}{}:
	default: // it is due already
	}
}

// Run writes changes down until ctx ends.
func (n *Names) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			n.write()
			return nil
		case <-n.dirty:
			n.write()
		}
	}
}

func (n *Names) write() {
	raw, err := json.Marshal(n.holders(""))
	if err == nil {
		err = writeSynced(n.path, raw)
	}
	if err != nil {
		n.log.Error("which stacks were seen in the mesh could not be written down", "file", n.path, "err", err)
	}
}
