package testnet_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// What TestMakespan promises, and on what.
const (
	makespanFactor = 1.25
	burst          = 40
	// burstWork is the processor time of each.
	burstWork = 400 * time.Millisecond
)

// lent is what share of a core each node lends, and so how fast it is. Together
// they are less than a core: the engine, which takes a quarter of one to start the
// containers, and whatever else the machine does must leave each its due.
var lent = []float64{0.08, 0.12, 0.2, 0.3}

// TestMakespan: forty containers that are asked for at once on one device, and
// each need the same processor time, spread over nodes by their speeds, so that
// the last one ends nearly as soon as it could. What could be is reckoned from
// how long one takes on each node alone, its start included. The times are the
// engine's.
//
// It measures, so it runs beside no other test.
func TestMakespan(t *testing.T) {
	secret := testnet.NewSecret(t)
	image := testnet.Image(t)
	witness := testnet.NewWitness(t, secret)
	lan := netns.New(t)
	var nodes []*testnet.Node
	for i, share := range lent {
		nodes = append(nodes, lan.AddHost("node"+strconv.Itoa(i+1)).StartNode(t, testnet.Options{
			Secret: secret, Args: []string{"--cpus", strconv.FormatFloat(share, 'g', -1, 64), "--memory", "512m"},
		}))
		nodes[i].WaitAble(i + 1) // each measures its speed undisturbed
	}
	asker := nodes[1]
	ids := idsOf(asker.WaitAble(len(nodes)))

	begun := time.Now()
	runBurst(t, asker, image)
	ran := witness.Ended(burst, func(testnet.Container) bool { return true })
	if len(ran) != burst {
		t.Errorf("%d requests were run by %d containers", burst, len(ran))
	}
	makespan := slices.MaxFunc(ran, func(a, b testnet.Container) int { return a.Ended.Compare(b.Ended) }).Ended.Sub(begun)

	var alone []time.Duration
	var spread time.Duration // the makespan, had each taken as long as alone
	for i, n := range nodes {
		alone = append(alone, runAlone(t, n, witness, image))
		count, last := 0, begun
		for _, c := range ran {
			if c.Node == ids[n.Name] {
				count++
				last = slices.MaxFunc([]time.Time{last, c.Ended}, time.Time.Compare)
			}
		}
		t.Logf("%s lends %v cores: one takes %v alone; of the burst it ran %d, the last until %v",
			n.Name, lent[i], alone[i].Round(time.Millisecond), count, last.Sub(begun).Round(time.Millisecond))
		spread = max(spread, time.Duration(count)*alone[i])
		if count == 0 {
			t.Errorf("%s ran none", n.Name)
		}
	}
	best := bestMakespan(alone, burst)
	t.Logf("makespan %v, %.2f times the best possible, %v; by how it was spread %.2f times",
		makespan.Round(time.Millisecond), float64(makespan)/float64(best), best.Round(time.Millisecond), float64(spread)/float64(best))
	if limit := makespanFactor; float64(makespan) > limit*float64(best) {
		load, _ := os.ReadFile("/proc/loadavg")
		t.Errorf("the burst took %v; the best possible is %v, promised is %v times that, where the machine has nothing else to do (its load: %s)",
			makespan, best, limit, load)
	}
}

// bestMakespan is the shortest time in which nodes that each run one at a time,
// which takes so long there, can run count.
func bestMakespan(alone []time.Duration, count int) time.Duration {
	var ends []time.Duration
	for _, d := range alone {
		for k := range count {
			ends = append(ends, time.Duration(k+1)*d)
		}
	}
	slices.Sort(ends)
	return ends[count-1]
}

// runBurst asks the node for all at once, and returns when all have ended well.
func runBurst(t *testing.T, asker *testnet.Node, image string) {
	conn, err := app.Dial(t.Context(), asker.State)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	ends := make(chan error, burst)
	for i := range burst {
		go func() { ends <- runOne(t, device, protocol.RequestID(fmt.Sprintf("burst-%d", i)), image) }()
	}
	for range burst {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

func runOne(t *testing.T, device *protocol.AppClient, id protocol.RequestID, image string) error {
	session, err := device.Run(t.Context(), protocol.Run{ID: id, Service: protocol.Service{
		Image: image, Args: []string{"work", burstWork.String()}, Memory: 16 << 20,
	}})
	if err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	defer session.Close()
	for {
		u, err := session.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if u.Event != nil && u.Event.State.Ended() && u.Event.State != protocol.StateSucceeded {
			return fmt.Errorf("%s ended as %v: %s", id, u.Event.State, u.Event.Reason)
		}
	}
}

// runAlone returns how long one takes on the node, from its asking to its end,
// with nothing else to do.
func runAlone(t *testing.T, n *testnet.Node, witness *testnet.Witness, image string) time.Duration {
	t.Helper()
	id := "alone-" + n.Name
	start := time.Now()
	if r := n.Hearth("run", "--node", n.Name, "--id", id, "--memory", "16m", image, "work", burstWork.String()); r.Code != 0 {
		t.Fatalf("exit code %d: %s", r.Code, r.Stderr)
	}
	return witness.Ended(1, func(c testnet.Container) bool { return c.Request == id })[0].Ended.Sub(start)
}
