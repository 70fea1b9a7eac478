package p2p

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"pgregory.net/rapid"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

func testNames(dir string, kept ...string) (*names, *logBuffer) {
	log := &logBuffer{}
	n := newNames(pin{Name: "self", ID: "me"}, kept, slog.New(slog.NewTextHandler(log, nil)))
	n.load(dir)
	return n, log
}

func TestNamesStayWithTheirHolders(t *testing.T) {
	dir := t.TempDir()
	n, _ := testNames(dir)
	a, b := somePeer(t, 1), somePeer(t, 2)
	for _, c := range []struct {
		name string
		id   peer.ID
		has  bool
	}{
		{"tv", a, true}, {"tv", a, true}, {"tv", b, false}, {"self", a, false}, {"self", "me", true},
		{"radio", a, true}, {"tv", b, false}, {"radio", b, false},
	} {
		if has := n.pinName(c.name, c.id); has != c.has {
			t.Errorf("claim(%s, %s) = %v", c.name, c.id, has)
		}
	}
	if _, err := n.forget("radio"); err != nil {
		t.Error(err)
	}
	if err := n.file.write(); err != nil {
		t.Fatal(err)
	}
	again, log := testNames(dir)
	if again.holder("tv") != a || again.holder("radio") != "" || len(again.forgotten) != 1 || log.String() != "" {
		t.Errorf("read back %+v\n%s", again.holders, log)
	}
	if again.pinName("tv", b) || !again.pinName("radio", b) {
		t.Error("a pin was forgotten, or one that was to be is not")
	}
}

// Whatever devices claim, in whatever order and number, a name stays with the device
// that had it first, until the owner forgets it; what others say frees only a name that
// no policy mentions and whose holder was away for an hour.
func TestNamesHolderIsNeverChangedByClaims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, _ := testNames("", "n0")
		names := rapid.SampledFrom([]string{"self", "n0", "n1", "n2", "n3"})
		ids := rapid.SampledFrom([]peer.ID{"me", "a", "b", "c"})
		holders := map[string]peer.ID{"self": "me"}
		for range rapid.IntRange(0, 100).Draw(t, "steps") {
			name, id := names.Draw(t, "name"), ids.Draw(t, "id")
			switch rapid.SampledFrom([]string{"claim", "claim", "claim", "claim", "claim", "claim", "crowd", "forget", "accept", "away"}).Draw(t, "step") {
			case "claim":
				room := len(n.holders) < maxPins
				has := n.pinName(name, id)
				if _, taken := holders[name]; !taken && room {
					holders[name] = id
				}
				if has != (holders[name] == id) {
					t.Fatalf("%s claims %s of %s: %v", id, name, holders[name], has)
				}
			case "crowd":
				for i := range 300 {
					throwAway := peer.ID(fmt.Sprint("x", len(n.holders), i))
					n.pinName(fmt.Sprint("crowd", len(n.holders), i), throwAway)
					if n.pinName(name, throwAway) {
						if _, taken := holders[name]; taken {
							t.Fatalf("%s of %s was taken", name, holders[name])
						}
						holders[name] = throwAway
					}
				}
			case "forget":
				if _, err := n.forget(name); err == nil {
					delete(holders, name)
				}
			case "accept":
				away := time.Since(n.holders[name].lastSeen) > forgetTimeout
				if freed := n.acceptForgotten(pin{Name: name, ID: id}); freed != (holders[name] == id && away && name != "n0" && name != "self") {
					t.Fatalf("another owner's word on %s of %s: freed %v, away %v", name, id, freed, away)
				} else if freed {
					delete(holders, name)
				}
			case "away":
				if p, ok := n.holders[name]; ok {
					p.lastSeen = p.lastSeen.Add(-2 * forgetTimeout)
					n.holders[name] = p
				}
			}
			for _, name := range []string{"self", "n0", "n1", "n2", "n3"} {
				if got := n.holder(name); got != holders[name] {
					t.Fatalf("%s is of %q, not %q", name, got, holders[name])
				}
			}
			if len(n.holders) > maxPins || len(n.forgotten) > maxForgotten {
				t.Fatalf("%d names, %d forgotten", len(n.holders), len(n.forgotten))
			}
		}
	})
}

func TestNamesAreBounded(t *testing.T) {
	dir := t.TempDir()
	n, _ := testNames(dir)
	id := somePeer(t, 1)
	for i := range maxPins + 10 {
		n.pinName(fmt.Sprint("n", i)+strings.Repeat("x", keys.MaxName-6), id)
	}
	if len(n.holders) != maxPins || !n.full() || n.pinName("late", "b") || n.holder("late") != "" {
		t.Errorf("%d names", len(n.holders))
	}
	if err := n.file.write(); err != nil {
		t.Fatal(err)
	}
	if again, log := testNames(dir); len(again.holders) != maxPins || log.String() != "" {
		t.Errorf("%d names read back\n%s", len(again.holders), log)
	}
}

// The second holder of a name is told apart by the end of its ID, as much of it as it
// takes, in a name that is valid.
func TestNameShownOfSecondHolder(t *testing.T) {
	n, _ := testNames("")
	a, b := somePeer(t, 1), somePeer(t, 2)
	end := b.String()
	n.pinName("pi", a)
	if got := n.displayName("pi", a); got != "pi" {
		t.Errorf("the holder is shown as %s", got)
	}
	if got := n.displayName("pi", b); got != "pi-"+end[len(end)-4:] {
		t.Errorf("the second is shown as %s", got)
	}
	n.pinName("pi-"+end[len(end)-4:], a)
	if got := n.displayName("pi", b); got != "pi-"+end[len(end)-8:] {
		t.Errorf("where that is a name: %s", got)
	}
	long := strings.Repeat("x", keys.MaxName)
	n.pinName(long, a)
	if got := n.displayName(long, b); keys.ValidName(got) != nil || got == long {
		t.Errorf("a long name is shown as %s", got)
	}
}

// What a file holds that is not understood is set aside.
func TestDamagedNamesAreSetAside(t *testing.T) {
	id := somePeer(t, 1).String()
	for _, data := range []string{
		`{"names":[{"name":"a b","id":"` + id + `"}]}`, `{"names":[{"name":"a","id":""}]}`, `[]`,
		`{"names":[{"name":"a","id":"` + id + `"},{"name":"a","id":"` + id + `"}]}`,
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, NamesFile)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		n, log := testNames(dir)
		if kept, err := os.ReadFile(path + ".bad"); err != nil || string(kept) != data || len(n.holders) > 0 || !strings.Contains(log.String(), "damaged") {
			t.Errorf("%s: %v\n%s", data, err, log)
		}
	}
}

// Two devices of one name form one mesh: each keeps its own, and shows the other with
// the end of its ID.
func TestSecondHolderOfANameJoins(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	a := start(t, secret, "tv")
	b := start(t, secret, "tv", func(c *Config) { c.Key = newKey(t, secret, "other") }, a.asPeer())
	for _, side := range [][2]*device{{a, b}, {b, a}} {
		at, other := side[0], side[1]
		id := string(other.ID())
		e := at.next()
		if want := "tv-" + id[len(id)-4:]; !e.joined || e.peer.Name != want || e.peer.ClaimedName != "tv" {
			t.Errorf("joined as %+v, want %s", e.peer, want)
		}
		if at.NameOf(other.ID()) != "" {
			t.Error("it passes for the holder of the name")
		}
		c := at.Conflicts()
		if len(c) != 1 || c[0].Name != "tv" || c[0].Holder != at.ID() || c[0].Claimant != other.ID() || c[0].Address == "" {
			t.Errorf("%+v", c)
		}
		at.logs("a second device claims a name")
		eventually(t, func() bool { return at.Peers()[0].Rival == other.ID() })
		gossiping(t, other)
		if s := at.nextStatus(other.ID()); s.Name != e.peer.Name {
			t.Errorf("its scores are of %s", s.Name)
		}
	}
}

// A name stays with its holder, which is away; the owner of one device forgets it, and
// the device that claims it has it. Others accept that once the holder was away long.
func TestForgottenNameIsOfWhoClaimsIt(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	a := start(t, secret, "a")
	witness := start(t, secret, "witness", a.asPeer())
	keeper := start(t, secret, "keeper", a.asPeer(), witness.asPeer(), func(c *Config) { c.ProtectedNames = []string{"nas"} })
	all := func(c *Config) {
		for _, d := range []*device{a, witness, keeper} {
			d.asPeer()(c)
		}
	}
	first := start(t, secret, "nas", all)
	for _, d := range []*device{a, witness, keeper} {
		d.joins(first)
	}
	if err := a.Forget("nas"); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("forgotten while it is connected: %v", err)
	}
	first.stop()
	eventually(t, func() bool { return len(a.Peers()) == 2 && len(witness.Peers()) == 2 && len(keeper.Peers()) == 2 })
	second := start(t, secret, "nas", func(c *Config) { c.Key = newKey(t, secret, "second") }, all)
	called := func(d *device) string {
		for _, p := range d.Peers() {
			if p.ID == second.ID() {
				return p.Name
			}
		}
		return ""
	}
	for _, d := range []*device{a, witness, keeper} {
		eventually(t, func() bool { return called(d) != "" })
		if name := called(d); name == "nas" || d.NameOf(second.ID()) != "" {
			t.Errorf("%s calls the new one %s", d.name, name)
		}
	}
	if err := a.Forget("nas"); err != nil {
		t.Fatal(err)
	}
	if called(a) != "nas" || a.NameOf(second.ID()) != "nas" || len(a.Conflicts()) > 0 {
		t.Errorf("a calls it %s", called(a))
	}
	for _, err := range []error{a.Forget("nobody"), a.Forget("a")} {
		if protocol.CodeOf(err) == protocol.CodeInternal || err == nil {
			t.Error(err)
		}
	}
	// The others saw the first one just now.
	if called(witness) == "nas" {
		t.Error("another owner's word took a name of one seen just now")
	}
	long := func(d *device) {
		d.names.mu.Lock()
		defer d.names.mu.Unlock()
		p := d.names.holders["nas"]
		p.lastSeen = p.lastSeen.Add(-2 * forgetTimeout)
		d.names.holders["nas"] = p
	}
	long(witness)
	long(keeper)
	a.live.Load().detector.sendForgotten() // as each quarter of an hour
	eventually(t, func() bool { return called(witness) == "nas" })
	if called(keeper) == "nas" {
		t.Error("another owner's word took a name that the policy mentions")
	}
	if err := keeper.Forget("nas"); err != nil || called(keeper) != "nas" {
		t.Errorf("its own owner: %v", err)
	}
}

// A holder that was connected until now is not away for long, however long it was.
func TestHolderIsSeenWhileItIsConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := testNames("")
		n.pinName("nas", "a")
		time.Sleep(2 * forgetTimeout)
		n.touchPin("nas", "a")
		time.Sleep(forgetTimeout - 1)
		if n.acceptForgotten(pin{Name: "nas", ID: "a"}) {
			t.Error("too soon")
		}
		time.Sleep(time.Nanosecond)
		if !n.acceptForgotten(pin{Name: "nas", ID: "a"}) {
			t.Error("never")
		}
	})
}

// A copy of a state folder: the device that came first stays connected and undisturbed,
// the second is refused, and all say why.
func TestCopyOfAStateFolder(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	same := func(key crypto.PrivKey) func(*Config) { return func(c *Config) { c.Key = key } }
	key := newKey(t, secret, "b")
	a := start(t, secret, "a")
	b := start(t, secret, "b", same(key), a.asPeer())
	a.joins(b)
	a.live.Load().connector.secure.tieBreaker.free(b.id) // as half a minute later
	copied := start(t, secret, "b", same(key), a.asPeer())
	copied.logs("others refuse this device: it runs with a copy of another's state folder")
	b.logs("runs with a copy of this device's state folder")
	a.logs("two devices run with copies of one state folder")
	for _, d := range []*device{a, b, copied} {
		if c := d.Copies(); len(c) != 1 || c[0].Of != b.ID() || c[0].Address != "127.0.0.1" || (c[0].First == "") == (d == a) || c[0].Refused != (d == copied) {
			t.Errorf("%s has seen %+v", d.name, c)
		}
	}
	if len(a.events) > 0 || len(copied.events) > 0 || len(b.Peers()) != 1 {
		t.Error("a device came or went")
	}
	// The first one ends: the copy may take its place, as one that was started anew.
	b.stop()
	if e := a.next(); e.joined {
		t.Errorf("%+v", e)
	}
	started := time.Now()
	again := start(t, secret, "b", same(key), a.asPeer())
	a.joins(again)
	t.Logf("a device started anew joined after %v", time.Since(started))
}

// Two devices of one state folder that nobody else knows find out by themselves.
func TestCopyThatIsAnnounced(t *testing.T) {
	t.Parallel()
	secret := keys.NewSecret()
	key := func(c *Config) { c.Key = newKey(t, secret, "b") }
	a, b := start(t, secret, "b", key), start(t, secret, "b", key)
	at, _ := peer.SplitAddr(addrs(b.Addresses()[0])[0])
	a.live.Load().connector.addHint(hint{id: a.id, addrs: addrs(at.String()), fresh: true})
	a.logs("runs with a copy of this device's state folder")
	own, _ := peer.SplitAddr(addrs(b.Addresses()[0])[0])
	b.live.Load().connector.addHint(hint{id: b.id, addrs: addrs(own.String()), fresh: true})
	eventually(t, func() bool { return b.live.Load().connector.secure.ownMet() > 1 })
	if len(b.Copies()) > 0 {
		t.Errorf("it takes itself for a copy: %+v", b.Copies())
	}
}

// TestNamesOfTheReleaseBefore: they stood with the peers, and keep their holders.
func TestNamesOfTheReleaseBefore(t *testing.T) {
	dir := t.TempDir()
	secret, log := keys.NewSecret(), slog.New(slog.DiscardHandler)
	id := func(name string) peer.ID {
		id, err := peer.IDFromPrivateKey(newKey(t, secret, name))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	cellar, other, self := id("cellar"), id("other"), id("self")
	old := fmt.Sprintf(`[{"id":%q,"name":"cellar","addresses":[]}]`, cellar)
	if err := os.WriteFile(filepath.Join(dir, PeersFile), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	n := newNames(pin{Name: "self", ID: self}, nil, log)
	n.load(dir)
	if got := n.holders["cellar"].ID; got != cellar || got == other {
		t.Errorf("cellar is %s, and was %s", got, cellar)
	}
}
