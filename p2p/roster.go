package p2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
)

const (
	// PeersFile is the name of the file with the known peers in the state
	// folder.
	PeersFile = "peers.json"
	// maxKnown is how many members are remembered.
	maxKnown = 256
	// maxAddrs is how many addresses of one device are kept or announced.
	maxAddrs = 12
	// writePause is the least time between two writes of the file, and writeShare the
	// least in units of what one took: a mesh that comes up changes it hundreds of
	// times, and a memory card takes up to 50 ms for each.
	writePause, writeShare = time.Second, 100
	// maxPeersFile bounds what is read: far more than maxKnown peers take.
	maxPeersFile = 1 << 20
)

// A roster remembers the members that proved themselves: whose name is whose,
// and where they were last. It is safe for concurrent use.
type roster struct {
	path string // of the file; empty keeps none
	log  *slog.Logger
	// changed has one place: it says that the file is out of date.
	changed chan struct{}

	mu      sync.Mutex // owns what follows
	self    known
	members []known // the least recently heard of first
}

// known is one entry of the roster, and of the file.
type known struct {
	ID        peer.ID  `json:"id"`
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
}

// newRoster reads the roster kept in dir. A file that cannot be understood is
// set aside: the mesh is then found anew by the other ways.
func newRoster(dir string, self peer.ID, name string, log *slog.Logger) *roster {
	r := &roster{log: log, changed: make(chan struct{}, 1), self: known{ID: self, Name: name}}
	if dir == "" {
		return r
	}
	r.path = filepath.Join(dir, PeersFile)
	members, err := readPeers(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the file of known peers is damaged and set aside; devices are found anew", "file", r.path, "kept", r.path+".bad", "err", err)
		if err := os.Rename(r.path, r.path+".bad"); err != nil {
			log.Warn("the damaged file of known peers could not be set aside", "err", err)
		}
	}
	for _, k := range members {
		if k.ID != self && k.Name != name {
			r.members = append(r.members, k)
		}
	}
	return r
}

func readPeers(path string) ([]known, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPeersFile))
	if err != nil {
		return nil, err
	}
	var members []known
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if len(members) > maxKnown {
		return nil, fmt.Errorf("%d peers where at most %d are kept", len(members), maxKnown)
	}
	for i, k := range members {
		if err := keys.ValidName(k.Name); err != nil {
			return nil, err
		}
		if k.ID.Validate() != nil || slices.ContainsFunc(members[:i], func(o known) bool { return o.ID == k.ID || o.Name == k.Name }) {
			return nil, errors.New("a peer is there twice or has no ID")
		}
	}
	return members, nil
}

// claim pins name to id if it is free, and releases the name that id had
// before. It returns false and the holder where the name is another's.
func (r *roster) claim(name string, id peer.ID) (holder peer.ID, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.self.Name && id != r.self.ID {
		return r.self.ID, false
	}
	if i := slices.IndexFunc(r.members, func(k known) bool { return k.Name == name && k.ID != id }); i >= 0 {
		return r.members[i].ID, false
	}
	k := known{ID: id}
	i := slices.IndexFunc(r.members, func(k known) bool { return k.ID == id })
	if i >= 0 {
		k = r.members[i]
		r.members = slices.Delete(r.members, i, i+1)
	} else if len(r.members) == maxKnown {
		r.members = slices.Delete(r.members, 0, 1)
	}
	if k.Name != name {
		k.Name = name
		r.touch()
	}
	r.members = append(r.members, k)
	return id, true
}

// name returns the name pinned to id; empty for one that never proved itself.
func (r *roster) name(id peer.ID) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.members, func(k known) bool { return k.ID == id }); i >= 0 {
		return r.members[i].Name
	}
	return ""
}

// holder returns who has the name; empty if nobody.
func (r *roster) holder(name string) peer.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if name == r.self.Name {
		return r.self.ID
	}
	if i := slices.IndexFunc(r.members, func(k known) bool { return k.Name == name }); i >= 0 {
		return r.members[i].ID
	}
	return ""
}

// located remembers where a member can be dialled, before the addresses that
// were known already; of others nothing is kept.
func (r *roster) located(id peer.ID, addrs []ma.Multiaddr) {
	var text []string
	for _, a := range addrs {
		text = append(text, a.String())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.members, func(k known) bool { return k.ID == id })
	if i < 0 {
		return
	}
	old := r.members[i].Addresses
	for _, a := range old {
		if !slices.Contains(text, a) {
			text = append(text, a)
		}
	}
	text = text[:min(len(text), maxAddrs)]
	if !slices.Equal(old, text) {
		r.members[i].Addresses = text
		r.touch()
	}
}

// addressesOf returns where a member was last.
func (r *roster) addressesOf(id peer.ID) []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.IndexFunc(r.members, func(k known) bool { return k.ID == id }); i >= 0 {
		return parseAddrs(r.members[i].Addresses)
	}
	return nil
}

// addresses returns the members whose addresses are known.
func (r *roster) addresses() []peer.AddrInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []peer.AddrInfo
	for _, k := range r.members {
		if addrs := parseAddrs(k.Addresses); len(addrs) > 0 {
			out = append(out, peer.AddrInfo{ID: k.ID, Addrs: addrs})
		}
	}
	return out
}

// touch says that the file is out of date.
func (r *roster) touch() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// run writes the file when it has changed, the first change at once and what
// follows closely together, until ctx ends; what changed last is written then. It
// owns the file.
func (r *roster) run(ctx context.Context) {
	if r.path == "" {
		return
	}
	failing := false
	for ctx.Err() == nil {
		select {
		case <-r.changed:
		case <-ctx.Done():
			continue
		}
		began := time.Now()
		err := r.write()
		pause := max(writePause, writeShare*time.Since(began))
		if err != nil && !failing {
			r.log.Warn("known peers could not be saved; after a restart they must be found anew", "file", r.path, "err", err)
		}
		failing = err != nil
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	select {
	case <-r.changed:
		_ = r.write()
	default:
	}
}

func (r *roster) write() error {
	r.mu.Lock()
	data, err := json.MarshalIndent(r.members, "", "  ")
	r.mu.Unlock()
	if err != nil {
		return err
	}
	return writeFile(r.path, append(data, '\n'))
}

// parseAddrs returns those of addrs that can be dialled, without peer IDs and
// at most maxAddrs.
func parseAddrs(addrs []string) []ma.Multiaddr {
	var out []ma.Multiaddr
	for _, text := range addrs {
		if len(out) == maxAddrs {
			break
		}
		a, err := ma.NewMultiaddr(text)
		if err != nil {
			continue
		}
		if a, _ = peer.SplitAddr(a); a != nil && isTCP(a) {
			out = append(out, a)
		}
	}
	return out
}
