package p2p

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
)

const (
	// PeersFile is the name of the file with the known peers in the state
	// folder.
	PeersFile = "peers.json"
	// maxKnown is how many members are remembered: as many as can be connected.
	// With more the one heard of least recently is forgotten that is not connected.
	maxKnown = maxConns
	// maxAddrs is how many addresses of one device are kept or announced.
	maxAddrs = 12
	// maxPeersFile bounds what is read: more than maxKnown peers take.
	maxPeersFile = 2 << 20
)

// A roster remembers the members that proved themselves, and where they were last.
// It is safe for concurrent use.
type roster struct {
	file keptFile
	self peer.ID
	// connected is who is not forgotten. It must not call the roster.
	connected func(peer.ID) bool

	mu      sync.Mutex // owns what follows
	members []known    // the least recently heard of first
}

// known is one entry of the roster, and of the file.
type known struct {
	ID        peer.ID  `json:"id"`
	Addresses []string `json:"addresses"`
}

// newRoster reads the roster kept in dir. A file that cannot be understood is
// set aside: the mesh is then found anew by the other ways.
func newRoster(dir string, self peer.ID, log *slog.Logger) *roster {
	r := &roster{self: self, connected: func(peer.ID) bool { return false }}
	r.file = keptFile{what: "known peers", log: log, encode: r.encode, changed: make(chan struct{}, 1)}
	if dir != "" {
		r.file.path = filepath.Join(dir, PeersFile)
	}
	r.file.read(maxPeersFile, func(data []byte) error {
		members, err := parsePeers(data)
		r.members = slices.DeleteFunc(members, func(k known) bool { return k.ID == self })
		return err
	})
	return r
}

func parsePeers(data []byte) ([]known, error) {
	var members []known
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if len(members) > maxKnown {
		return nil, fmt.Errorf("%d peers where at most %d are kept", len(members), maxKnown)
	}
	seen := make(map[peer.ID]bool, len(members))
	for _, k := range members {
		if k.ID.Validate() != nil || seen[k.ID] {
			return nil, errors.New("a peer is there twice or has no ID")
		}
		seen[k.ID] = true
	}
	return members, nil
}

func (r *roster) encode() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.MarshalIndent(r.members, "", "  ")
}

// met remembers a member that proved itself.
func (r *roster) met(id peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := known{ID: id}
	if i := r.index(id); i >= 0 {
		k = r.members[i]
		r.members = slices.Delete(r.members, i, i+1)
	} else if len(r.members) >= maxKnown {
		i := slices.IndexFunc(r.members, func(k known) bool { return !r.connected(k.ID) })
		r.members = slices.Delete(r.members, max(i, 0), max(i, 0)+1)
	}
	r.members = append(r.members, k)
}

// index is where a member is, or negative; the caller holds the mutex.
func (r *roster) index(id peer.ID) int {
	return slices.IndexFunc(r.members, func(k known) bool { return k.ID == id })
}

// knows reports whether a device has proved to be a member.
func (r *roster) knows(id peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index(id) >= 0
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
	i := r.index(id)
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
		r.file.touch()
	}
}

// addressesOf returns where a member was last.
func (r *roster) addressesOf(id peer.ID) []ma.Multiaddr {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := r.index(id); i >= 0 {
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
