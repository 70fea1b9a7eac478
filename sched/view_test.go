package sched

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func noTime() time.Duration { return 0 }

// testView is a view of the device "self" whose clock stands at *now.
func testView() (v *View, now *time.Duration) {
	now = new(time.Duration)
	return NewView("self", func() time.Duration { return *now }, DefaultParams()), now
}

func peerNamed(t *testing.T, v *View, id protocol.PeerID) Peer {
	t.Helper()
	for _, p := range v.Snapshot(nil).Peers {
		if p.Node == id {
			return p
		}
	}
	t.Fatalf("%s is not in the snapshot", id)
	return Peer{}
}

func TestDevices(t *testing.T) {
	v, now := testView()
	v.Joined("self", "zebra", "")
	v.Joined("1", "tv", "/ip4/10.0.0.1")
	v.Joined("2", "pi", "/ip4/10.0.0.2")
	v.RTT("1", 3*time.Millisecond)
	v.UpdateStatus(nodeStatus("1", 1, 4))
	v.UpdateStatus(nodeStatus("3", 1, 4)) // not connected
	*now = time.Second
	got := v.Devices()
	if len(got) != 3 || !got[0].Self || got[0].Status.Name != "zebra" || got[1].Status.Name != "pi" || got[2].Status.Name != "tv" {
		t.Fatalf("devices: %+v", got)
	}
	if tv := got[2]; tv.Age != time.Second || tv.RTT != 3*time.Millisecond || tv.Address != "/ip4/10.0.0.1" || tv.Status.Slots != 4 {
		t.Errorf("tv: %+v", tv)
	}
	v.Left("1")
	v.Left("self")
	v.Left("nobody")
	if got := v.Devices(); len(got) != 2 || v.Connected("1") || !v.Connected("self") {
		t.Errorf("after tv left: %+v", got)
	}
}

func TestStatusBeforeConnectionCounts(t *testing.T) {
	v, _ := testView()
	v.UpdateStatus(nodeStatus("1", 2, 4))
	v.Joined("1", "", "")
	if p := peerNamed(t, v, "1"); p.Status == nil || p.Name != "name-1" {
		t.Errorf("%+v", p)
	}
}

func TestEarlyStatusesAreBounded(t *testing.T) {
	v, _ := testView()
	for i := range 10 * maxEarly {
		v.UpdateStatus(nodeStatus(protocol.PeerID(fmt.Sprint(i)), 1, 1))
	}
	if len(v.earlyStatuses) > maxEarly {
		t.Errorf("%d scores of strangers kept", len(v.earlyStatuses))
	}
}

func TestOlderStatusIsIgnored(t *testing.T) {
	v, _ := testView()
	v.Joined("1", "tv", "")
	newer, older := nodeStatus("1", 1, 4), nodeStatus("1", 9, 4)
	newer.Sequence = 5
	v.UpdateStatus(newer)
	v.UpdateStatus(older)
	if p := peerNamed(t, v, "1"); p.Status.Speed != 1 {
		t.Error("an older score took the place of a newer one")
	}
}

func TestStatusGrowsStale(t *testing.T) {
	v, now := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 1, 4))
	v.UpdateStatus(nodeStatus("self", 1, 4))
	for _, c := range []struct {
		at   time.Duration
		want bool
	}{{0, false}, {3 * time.Second, false}, {3*time.Second + 1, true}} {
		*now = c.at
		if got := peerNamed(t, v, "1").Stale; got != c.want {
			t.Errorf("after %v stale is %v", c.at, got)
		}
		if p := peerNamed(t, v, "self"); p.Stale || p.Age != 0 {
			t.Errorf("the own score after %v: %+v", c.at, p)
		}
	}
}

func TestChanged(t *testing.T) {
	v, _ := testView()
	v.Joined("1", "tv", "")
	for name, change := range map[string]func(){
		"score":  func() { v.UpdateStatus(nodeStatus("1", 1, 4)) },
		"joined": func() { v.Joined("2", "pi", "") },
		"left":   func() { v.Left("2") },
	} {
		if name == "left" {
			v.Joined("2", "pi", "")
		}
		changed := v.Changed()
		select {
		case <-changed:
			t.Fatalf("%s: told before it happened", name)
		default:
		}
		change()
		select {
		case <-changed:
		default:
			t.Errorf("%s: not told", name)
		}
	}
}

func TestOwnDispatchesAreCounted(t *testing.T) {
	v, now := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 1, 4))
	sent := func() int {
		p := peerNamed(t, v, "1")
		return p.Sent - p.Finished
	}
	check := func(when string, want int) {
		t.Helper()
		if got := sent(); got != want {
			t.Errorf("%s: %d counted, want %d", when, got, want)
		}
	}
	v.OfferSent("1")
	v.OfferSent("1")
	check("two offers", 2)
	v.OfferAccepted("1")
	check("one accepted", 2)
	v.UpdateStatus(nodeStatus("1", 1, 4))
	check("the new score has the accepted one", 1)
	v.OfferRefused("1", protocol.Load{Running: 4, Queued: 3, Slots: 4})
	check("refused", 0)
	*now = 50 * time.Millisecond
	p := peerNamed(t, v, "1")
	if p.Status.Running != 4 || p.Status.Queued != 3 || p.Age != 50*time.Millisecond {
		t.Errorf("after the refusal: %+v of %+v", p, p.Status)
	}
	if idle := nodeStatus("1", 1, 4); p.Status.Score >= idle.Score {
		t.Error("the rating does not show the refusal")
	}
	v.OfferSent("1")
	v.OfferFailed("1")
	check("forgotten", 0)
	v.Finished("1")
	check("returned", -1)
	v.OfferSent("nobody")
}

// What this orchestrator has on a node is there, whatever the node says and
// however long it has been gone.
func TestOwnExecutionsAreAFloor(t *testing.T) {
	v, now := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 4, 4))
	check := func(when string, own int, want float64) {
		t.Helper()
		p := peerNamed(t, v, "1")
		if p.Inflight != own {
			t.Errorf("%s: %d of its own, want %d", when, p.Inflight, own)
		}
		if got := load(&p, 4); got != want {
			t.Errorf("%s: %v executions, want %v", when, got, want)
		}
	}
	for range 3 {
		v.OfferSent("1")
		v.OfferAccepted("1")
	}
	v.OfferSent("1")
	check("three accepted, one offered", 4, 4)
	v.UpdateStatus(nodeStatus("1", 4, 4))
	*now = time.Minute
	check("the node says that it is idle", 4, 4)
	v.Finished("1")
	v.OfferRefused("1", protocol.Load{})
	check("one is back, one refused", 2, 2)
	v.Left("1")
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 4, 4))
	check("it was gone for a while", 2, 2)
	v.Reattached("1")
	check("one of an earlier process", 3, 3)
	for range 3 {
		v.Finished("1")
	}
	if check("all are back", 0, 0); len(v.inflight) != 0 {
		t.Errorf("remembered: %v", v.inflight)
	}
}

// A change would have been gossiped: what nothing was heard of is as it was.
func TestLoadAgesUntilAChangeWouldBeKnown(t *testing.T) {
	v, now := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 1, 4))
	*now = 900 * time.Millisecond
	if p := peerNamed(t, v, "1"); p.Age != 100*time.Millisecond {
		t.Errorf("with an interval of 1 s and 10 changes in it, the load is %v old", p.Age)
	}
}

// Who keeps this device waiting is found out, whatever its status says.
func TestWaiting(t *testing.T) {
	v, now := testView()
	v.Joined("1", "tv", "")
	at := func(ms time.Duration, what string, change func(), want time.Duration) {
		t.Helper()
		*now = ms * time.Millisecond
		change()
		if got := peerNamed(t, v, "1").Waited; got != want*time.Millisecond {
			t.Errorf("%s: waited for %v, want %d ms", what, got, want)
		}
	}
	status := func() { v.UpdateStatus(nodeStatus("1", 1, 4)) }
	at(0, "a score", status, 0)
	at(1000, "the next one is due", func() {}, 0)
	at(1300, "it is late", func() {}, 300)
	at(1400, "there it is", status, 0)
	at(1400, "an offer", func() { v.OfferSent("1") }, 0)
	at(1500, "another one", func() { v.OfferSent("1") }, 100)
	at(1600, "the newest is refused", func() { v.OfferRefused("1", protocol.Load{}) }, 200)
	at(1700, "the first is accepted, and an idle score comes", func() { v.OfferAccepted("1"); status() }, 300)
	at(1800, "a third", func() { v.OfferSent("1"); v.OfferAccepted("1") }, 400)
	at(1900, "the first begins", func() { v.Started("1") }, 100)
	at(2000, "and ends", func() { v.Finished("1") }, 200)
	at(2100, "the third is lost before it began", func() { v.Finished("1") }, 0)
	at(2200, "one that an earlier process sent", func() { v.Reattached("1"); v.Started("1"); v.Finished("1") }, 0)
}

func TestWorkIsLearned(t *testing.T) {
	v, _ := testView()
	v.Joined("1", "tv", "")
	v.UpdateStatus(nodeStatus("1", 4, 4))
	s := &protocol.Service{Image: "busybox", Args: []string{"sleep", "5"}}
	if got := v.Demand(s).Work; got != DefaultParams().DefaultWork {
		t.Errorf("a service never seen is taken to need %v", got)
	}
	v.RecordRun(s, "1", 5*time.Second)
	if got := v.Demand(&protocol.Service{Image: "busybox", Args: []string{"sleep", "9"}}).Work; got != 20 {
		t.Errorf("after 5 s at speed 4: %v", got)
	}
	v.RecordRun(s, "1", 10*time.Second)
	if got := v.Demand(s).Work; got != 25 {
		t.Errorf("the average moved to %v", got)
	}
	if got := v.Demand(&protocol.Service{Image: "busybox", Args: []string{"true"}}).Work; got != DefaultParams().DefaultWork {
		t.Errorf("another command: %v", got)
	}
	for i := range 3000 {
		v.RecordRun(&protocol.Service{Image: fmt.Sprint(i)}, "1", time.Second)
	}
	if n := len(v.work.seen); n != DefaultParams().MaxWorkSeen {
		t.Errorf("%d services remembered", n)
	}
}

func TestEstimateHere(t *testing.T) {
	v, _ := testView()
	s := protocol.Service{Image: "busybox"}
	if v.EstimateHere(s, 0, 0, 4) != math.MaxInt64 {
		t.Error("an estimate without a score")
	}
	v.UpdateStatus(nodeStatus("self", 2, 4))
	// Work 2 at speed 2 is 1 s; two wait for one of four slots: 1 + 3·(6−4+1)/4.
	if got, want := v.EstimateHere(s, 4, 2, 4), 3250*time.Millisecond; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	s.Image = "alpine"
	if got, want := v.EstimateHere(s, 0, 0, 4), time.Second+DefaultParams().ColdStart; got != want {
		t.Errorf("cold: %v, want %v", got, want)
	}
}

func TestRateOfRequestsFades(t *testing.T) {
	var r arrivalRate
	for i := range 100 {
		r.count(time.Duration(i) * 100 * time.Millisecond)
	}
	if got := r.at(10 * time.Second); got < 9 || got > 11 {
		t.Errorf("%v requests a second, 10 came", got)
	}
	if got := r.at(time.Minute); got > 0.1 {
		t.Errorf("%v requests a second, long after", got)
	}
}
