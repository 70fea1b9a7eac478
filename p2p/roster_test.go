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

func testRoster(t *testing.T, dir string) (*roster, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	return newRoster(dir, idOf(t, keys.NewSecret()), "self", slog.New(slog.NewTextHandler(log, nil))), log
}

func somePeer(t testing.TB, i int) peer.ID {
	t.Helper()
	id, err := peer.IDFromPrivateKey(newKey(t, keys.NewSecret(), fmt.Sprint(i)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestRosterKeepsNames(t *testing.T) {
	dir := t.TempDir()
	r, _ := testRoster(t, dir)
	a, b := somePeer(t, 1), somePeer(t, 2)
	for _, c := range []struct {
		name   string
		id     peer.ID
		holder peer.ID
		ok     bool
	}{
		{"tv", a, a, true}, {"tv", a, a, true}, {"tv", b, a, false}, {"self", a, r.self.ID, false},
		{"radio", a, a, true}, {"tv", b, b, true}, {"radio", b, a, false},
	} {
		if holder, ok := r.claim(c.name, c.id); holder != c.holder || ok != c.ok {
			t.Errorf("claim(%s, %s) = %s, %v", c.name, c.id, holder, ok)
		}
	}
	r.located(a, addrs("/ip4/192.168.1.5/tcp/7117"))
	r.located(somePeer(t, 3), addrs("/ip4/192.168.1.6/tcp/7117"))
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	again, log := testRoster(t, dir)
	if again.name(a) != "radio" || again.holder("tv") != b || len(again.members) != 2 || len(again.addresses()) != 1 || log.String() != "" {
		t.Errorf("read back %+v\n%s", again.members, log)
	}
	if _, ok := again.claim("radio", b); ok {
		t.Error("a pin was forgotten")
	}
}

// Nothing is written while nothing changes.
func TestRosterIsIdleWhenNothingChanges(t *testing.T) {
	r, _ := testRoster(t, t.TempDir())
	a := somePeer(t, 1)
	at := addrs("/ip4/192.168.1.5/tcp/7117")
	if _, ok := r.claim("tv", a); !ok {
		t.Fatal("not pinned")
	}
	r.located(a, at)
	<-r.changed
	for range 3 {
		r.claim("tv", a)
		r.located(a, at)
	}
	if len(r.changed) > 0 {
		t.Error("it wants to be written again")
	}
	for i := range 2 * maxAddrs {
		r.located(a, addrs(fmt.Sprintf("/ip4/192.168.1.5/tcp/%d", i+1)))
	}
	if n := len(r.members[0].Addresses); n != maxAddrs {
		t.Errorf("%d addresses kept", n)
	}
}

// The first change is on disk at once, those after it together, and what is left
// when the device ends.
func TestRosterIsWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r, _ := testRoster(t, dir)
		kept := func() int {
			synctest.Wait()
			members, err := readPeers(r.path)
			if err != nil {
				t.Fatal(err)
			}
			return len(members)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.run(ctx) }()
		for i, want := range []int{1, 1, 1} {
			r.claim(fmt.Sprint("n", i), somePeer(t, i))
			if n := kept(); n != want {
				t.Errorf("%d members are on disk after %d changes", n, i+1)
			}
		}
		time.Sleep(writePause)
		if n := kept(); n != 3 {
			t.Errorf("%d of 3 members are on disk in the end", n)
		}
		r.claim("last", somePeer(t, 4))
		cancel()
		<-ended
		if n := kept(); n != 4 {
			t.Errorf("%d of 4 members are on disk when it has ended", n)
		}
	})
}

func TestRosterIsBounded(t *testing.T) {
	r, _ := testRoster(t, "")
	first := somePeer(t, 0)
	r.claim("n0", first)
	for i := 1; i < maxKnown; i++ {
		r.claim(fmt.Sprint("n", i), peer.ID(fmt.Sprint("id", i)))
	}
	r.claim("n0", first) // heard of again
	r.claim("one-more", somePeer(t, 1))
	if len(r.members) != maxKnown || r.name(first) != "n0" || r.holder("n1") != "" {
		t.Errorf("%d members", len(r.members))
	}
}

func TestDamagedRosterIsSetAside(t *testing.T) {
	id := somePeer(t, 1)
	for name, data := range map[string]string{
		"torn":       `[{"id":"` + id.String(),
		"not a list": `{"peers":[]}`,
		"bad name":   `[{"id":"` + id.String() + `","name":"a b"}]`,
		"no ID":      `[{"id":"","name":"tv"}]`,
		"twice":      `[{"id":"` + id.String() + `","name":"tv"},{"id":"` + id.String() + `","name":"radio"}]`,
		"null":       `[null]`,
		"too many":   "[" + strings.Repeat(`{"id":"`+id.String()+`","name":"tv"},`, maxKnown) + `{"id":"` + id.String() + `","name":"tv"}]`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, PeersFile)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		r, log := testRoster(t, dir)
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
	r := newReports("ours", slog.New(slog.NewTextHandler(log, nil)))
	for port := range 50 {
		r.stranger(fmt.Sprintf("192.168.1.9:%d", port+1), "", keys.ErrNotMember)
	}
	r.stranger("192.168.1.9", "theirs", nil)
	r.stranger("192.168.1.9", "theirs", nil)
	r.stranger("192.168.1.9:80", "", keys.ErrNotMember)
	if n := strings.Count(log.String(), "\n"); n != 2 {
		t.Errorf("%d lines logged:\n%s", n, log)
	}
	if s := r.seenStrangers(); len(s) != 1 || s[0].Fingerprint != "theirs" {
		t.Errorf("%+v", s)
	}
	for i := range 3 * maxReports {
		r.stranger(fmt.Sprintf("10.0.%d.%d", i/250, i%250), "theirs", nil)
		r.conflict("tv", "a", peer.ID(fmt.Sprint(i)), "10.0.0.1:1")
	}
	if len(r.seenStrangers()) != maxReports || len(r.seenConflicts()) != maxReports || len(r.said) != maxReports {
		t.Errorf("%d strangers, %d conflicts, %d said", len(r.strangers), len(r.conflicts), len(r.said))
	}
}

// A device that comes and goes while nobody listens is told of at most twice.
func TestNewsAreBounded(t *testing.T) {
	m := newMembers("self")
	for i := range 101 {
		m.tell(news{id: "a", joined: i%2 == 0, peer: Peer{Name: fmt.Sprint(i)}})
		m.tell(news{id: "b", joined: i%2 == 0})
		if len(m.news) > 4 {
			t.Fatalf("%d news", len(m.news))
		}
	}
	if n := m.news[0]; !n.joined || n.peer.Name != "100" {
		t.Errorf("the last word is %+v", n)
	}
}
