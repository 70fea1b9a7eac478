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
	// maxBookEntries is how many members are remembered: as many as can be connected.
	// With more the one heard of least recently is forgotten that is not connected.
	maxBookEntries = maxConns
	// maxAddrs is how many addresses of one device are kept or announced.
	maxAddrs = 12
	// maxPeersFile bounds what is read: more than maxBookEntries peers take.
	maxPeersFile = 2 << 20
)

// A peerBook remembers the members that proved themselves, and where they were last.
// It is safe for concurrent use.
type peerBook struct {
	file stateFile
	self peer.ID
	// connected is who is not forgotten. It must not call the peerBook.
	connected func(peer.ID) bool

	mu      sync.Mutex  // owns what follows
	members []bookEntry // the least recently heard of first
}

// bookEntry is one entry of the book, and of the file.
type bookEntry struct {
	ID        peer.ID  `json:"id"`
	Addresses []string `json:"addresses"`
}

// newPeerBook reads the book in dir. A file that cannot be understood is
// set aside: the mesh is then found anew by the other ways.
func newPeerBook(dir string, self peer.ID, log *slog.Logger) *peerBook {
	r := &peerBook{self: self, connected: func(peer.ID) bool { return false }}
	r.file = stateFile{content: "known peers", log: log, encode: r.encode, notify: make(chan struct{}, 1)}
	if dir != "" {
		r.file.path = filepath.Join(dir, PeersFile)
	}
	r.file.read(maxPeersFile, func(data []byte) error {
		members, err := parsePeers(data)
		r.members = slices.DeleteFunc(members, func(k bookEntry) bool { return k.ID == self })
		return err
	})
	return r
}

func parsePeers(data []byte) ([]bookEntry, error) {
	var members []bookEntry
	if err := json.Unmarshal(data, &members); err != nil {
		return nil, err
	}
	if len(members) > maxBookEntries {
		return nil, fmt.Errorf("%d peers where at most %d are kept", len(members), maxBookEntries)
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

func (b *peerBook) encode() ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return json.MarshalIndent(b.members, "", "  ")
}

// add remembers a member that proved itself.
func (b *peerBook) add(id peer.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := bookEntry{ID: id}
	if i := b.index(id); i >= 0 {
		k = b.members[i]
		b.members = slices.Delete(b.members, i, i+1)
	} else if len(b.members) >= maxBookEntries {
		i := slices.IndexFunc(b.members, func(k bookEntry) bool { return !b.connected(k.ID) })
		b.members = slices.Delete(b.members, max(i, 0), max(i, 0)+1)
	}
	b.members = append(b.members, k)
}

// index is where a member is, or negative; the caller holds the mutex.
func (b *peerBook) index(id peer.ID) int {
	return slices.IndexFunc(b.members, func(k bookEntry) bool { return k.ID == id })
}

// knows reports whether a device has proved to be a member.
func (b *peerBook) knows(id peer.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.index(id) >= 0
}

// addAddresses remembers where a member can be dialled, before the addresses that
// were known already; of others nothing is kept.
func (b *peerBook) addAddresses(id peer.ID, addrs []ma.Multiaddr) {
	var text []string
	for _, a := range addrs {
		text = append(text, a.String())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.index(id)
	if i < 0 {
		return
	}
	old := b.members[i].Addresses
	for _, a := range old {
		if !slices.Contains(text, a) {
			text = append(text, a)
		}
	}
	text = text[:min(len(text), maxAddrs)]
	if !slices.Equal(old, text) {
		b.members[i].Addresses = text
		b.file.markDirty()
	}
}

// addressesOf returns where a member was last.
func (b *peerBook) addressesOf(id peer.ID) []ma.Multiaddr {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.index(id); i >= 0 {
		return parseAddrs(b.members[i].Addresses)
	}
	return nil
}

// addresses returns the members whose addresses are known.
func (b *peerBook) addresses() []peer.AddrInfo {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []peer.AddrInfo
	for _, k := range b.members {
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
