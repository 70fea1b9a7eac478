package p2p

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/keys"
)

func testPeerBook(t *testing.T, dir string) (*peerBook, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	return newPeerBook(dir, idOf(t, keys.NewSecret()), slog.New(slog.NewTextHandler(log, nil))), log
}

func somePeer(t testing.TB, i int) peer.ID {
	t.Helper()
	id, err := peer.IDFromPrivateKey(newKey(t, keys.NewSecret(), fmt.Sprint(i)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRosterKeepsAddresses(t *testing.T) {
	dir := t.TempDir()
	r, _ := testPeerBook(t, dir)
	a := somePeer(t, 1)
	r.add(a)
	r.add(a)
	r.addAddresses(a, addrs("/ip4/192.168.1.5/tcp/7117"))
	r.addAddresses(somePeer(t, 3), addrs("/ip4/192.168.1.6/tcp/7117"))
	if err := r.file.write(); err != nil {
		t.Fatal(err)
	}
	again, log := testPeerBook(t, dir)
	if !again.knows(a) || len(again.members) != 1 || len(again.addresses()) != 1 || log.String() != "" {
		t.Errorf("read back %+v\n%s", again.members, log)
	}
}

// Nothing is written while nothing changes.
func TestRosterIsIdleWhenNothingChanges(t *testing.T) {
	r, _ := testPeerBook(t, t.TempDir())
	a := somePeer(t, 1)
	at := addrs("/ip4/192.168.1.5/tcp/7117")
	r.add(a)
	r.addAddresses(a, at)
	<-r.file.notify
	for range 3 {
		r.add(a)
		r.addAddresses(a, at)
	}
	if len(r.file.notify) > 0 {
		t.Error("it wants to be written again")
	}
	for i := range 2 * maxAddrs {
		r.addAddresses(a, addrs(fmt.Sprintf("/ip4/192.168.1.5/tcp/%d", i+1)))
	}
	if n := len(r.members[0].Addresses); n != maxAddrs {
		t.Errorf("%d addresses kept", n)
	}
}

// The first change is on disk at once, those after it together, and what is left
// when the device ends.
func TestKeptFileIsWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := testPeerBook(t, dir)
		meet := func(i int) {
			id := somePeer(t, i)
			r.add(id)
			r.addAddresses(id, addrs("/ip4/192.168.1.5/tcp/7117"))
		}
		kept := func() int {
			synctest.Wait()
			data, err := os.ReadFile(r.file.path)
			if err != nil {
				t.Fatal(err)
			}
			members, err := parsePeers(data)
			if err != nil {
				t.Fatal(err)
			}
			return len(members)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.file.run(ctx) }()
		for i, want := range []int{1, 1, 1} {
			meet(i)
			if n := kept(); n != want {
				t.Errorf("%d members are on disk after %d changes", n, i+1)
			}
		}
		time.Sleep(minWriteInterval)
		if n := kept(); n != 3 {
			t.Errorf("%d of 3 members are on disk in the end", n)
		}
		meet(4)
		cancel()
		<-ended
		if n := kept(); n != 4 {
			t.Errorf("%d of 4 members are on disk when it has ended", n)
		}
	})
}

// Of too many members the one heard of least recently goes that is not connected.
func TestRosterIsBounded(t *testing.T) {
	r, _ := testPeerBook(t, "")
	id := func(i int) peer.ID { return peer.ID(fmt.Sprint("id", i)) }
	r.connected = func(p peer.ID) bool { return p == id(1) }
	for i := range maxBookEntries {
		r.add(id(i))
	}
	r.add(id(0)) // heard of again
	r.add(somePeer(t, 1))
	if len(r.members) != maxBookEntries || !r.knows(id(0)) || !r.knows(id(1)) || r.knows(id(2)) {
		t.Errorf("%d members", len(r.members))
	}
}

func TestDamagedFileIsSetAside(t *testing.T) {
	id := somePeer(t, 1)
	for name, data := range map[string]string{
		"torn":       `[{"id":"` + id.String(),
		"not a list": `{"peers":[]}`,
		"no ID":      `[{"id":""}]`,
		"twice":      `[{"id":"` + id.String() + `"},{"id":"` + id.String() + `"}]`,
		"null":       `[null]`,
		"too many":   "[" + strings.Repeat(`{"id":"`+id.String()+`"},`, maxBookEntries) + `{"id":"` + id.String() + `"}]`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, PeersFile)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		r, log := testPeerBook(t, dir)
		kept, err := os.ReadFile(path + ".bad")
		if len(r.members) > 0 || err != nil || string(kept) != data || !strings.Contains(log.String(), "damaged") {
			t.Errorf("%s: %+v, %v\n%s", name, r.members, err, log)
		}
	}
}

func TestBootCounterGrows(t *testing.T) {
	dir := t.TempDir()
	log := &logBuffer{}
	l := slog.New(slog.NewTextHandler(log, nil))
	last := nextBoot(dir, l)
	for range 3 {
		next := nextBoot(dir, l)
		if next != last+1 {
			t.Fatalf("%d after %d", next, last)
		}
		last = next
	}
	if log.String() != "" {
		t.Error(log)
	}
	path := filepath.Join(dir, bootFile)
	for _, bad := range []string{"", "x", "-1", "99999999999"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if b := nextBoot(dir, l); b < last-10 {
			t.Errorf("%q: began anew at %d", bad, b)
		}
	}
	if err := os.WriteFile(path, []byte("4294967295"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b := nextBoot(filepath.Join(dir, "missing"), l); b == 0 || !strings.Contains(log.String(), "could not be saved") {
		t.Errorf("%d\n%s", b, log)
	}
}

func TestReportsAreBoundedAndSaidOnce(t *testing.T) {
	log := &logBuffer{}
	r := newDiagnostics("ours", slog.New(slog.NewTextHandler(log, nil)))
	for port := range 50 {
		r.noteStranger(fmt.Sprintf("192.168.1.9:%d", port+1), "", keys.ErrNotMember)
	}
	r.noteStranger("192.168.1.9", "theirs", nil)
	r.noteStranger("192.168.1.9", "theirs", nil)
	r.noteStranger("192.168.1.9:80", "", keys.ErrNotMember)
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines logged:\n%s", n, log)
	}
	if s := r.seenStrangers(); len(s) != 1 || s[0].Fingerprint != "theirs" {
		t.Errorf("%+v", s)
	}
	for i := range 3 * maxDiagnostics {
		r.noteStranger(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "theirs", nil)
		r.noteConflict("tv", "a", peer.ID(fmt.Sprint(i)), "tv-1", "10.0.0.1:1")
		r.noteCopy(peer.ID(fmt.Sprint(i)), fmt.Sprintf("10.0.%d.%d:1", i/250, i%250), "10.0.0.1:1")
	}
	if len(r.seenStrangers()) != maxDiagnostics || len(r.seenCopies()) != maxDiagnostics || len(r.logged) != maxDiagnostics {
		t.Errorf("%d strangers, %d copies, %d said", len(r.strangers), len(r.copies), len(r.logged))
	}
	if n := strings.Count(log.String(), "\n"); n > 2+2*logBurst {
		t.Errorf("%d lines logged", n)
	}
}

// A device that comes and goes while nobody listens is told of at most twice.
func TestNewsAreBounded(t *testing.T) {
	m := newMembers("self")
	for i := range 101 {
		m.queueEvent(memberEvent{id: "a", joined: i%2 == 0, peer: Peer{Name: fmt.Sprint(i)}})
		m.queueEvent(memberEvent{id: "b", joined: i%2 == 0})
		if len(m.events) > 4 {
			t.Fatalf("%d news", len(m.events))
		}
	}
	if n := m.events[0]; !n.joined || n.peer.Name != "100" {
		t.Errorf("the last word is %+v", n)
	}
}
