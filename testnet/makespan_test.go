package testnet_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
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
	// makespanTries is how often a burst is measured that something may have disturbed.
	makespanTries = 3
)

// speeds is what share of a core each node lends, and so how fast it is. Together
// they are less than a core: the engine, which takes a quarter of one to start the
// containers, and whatever else the machine does must leave each its due. To tell
// how long one takes on each, so many are run that all take about as long.
var speeds = []struct {
	lent float64
	runs int
}{{0.08, 3}, {0.12, 4}, {0.2, 7}, {0.3, 11}}

// TestMakespan: forty containers that are asked for at once on one device, and
// each need the same processor time, spread over nodes by their speeds, so that
// the last one ends nearly as soon as it could. What could be is reckoned from
// how long one takes on each node, its start included, in a second burst that is
// spread by hand: so what the machine does besides counts on both sides. That
// changes, and then the two cannot be compared: a burst that is too slow is measured
// again, in a mesh that knows nothing of the last one. What places badly does so each
// time. The times are the engine's.
//
// It measures, so it runs beside no other test.
func TestMakespan(t *testing.T) {
	image := testnet.Image(t)
	for try := range makespanTries {
		var factor float64
		t.Run(strconv.Itoa(try+1), func(t *testing.T) { factor = measureMakespan(t, image) })
		if t.Failed() || factor <= makespanFactor {
			return
		}
	}
	load, _ := os.ReadFile("/proc/loadavg")
	t.Errorf("no burst was done within %v times the best possible (the machine's load: %s)", makespanFactor, load)
}

// measureMakespan returns how many times as long as it could a burst takes.
func measureMakespan(t *testing.T, image string) float64 {
	secret := testnet.NewSecret(t)
	witness := testnet.NewWitness(t, secret)
	lan := netns.New(t)
	machine := ownMachine(t)
	var nodes []*testnet.Node
	for i, speed := range speeds {
		nodes = append(nodes, lan.AddHost("node"+strconv.Itoa(i+1)).StartNode(t, testnet.Options{
			Secret: secret, Env: []string{"HOST_PROC=" + machine},
			Args: []string{"--cpus", strconv.FormatFloat(speed.lent, 'g', -1, 64), "--memory", "512m"},
		}))
		nodes[i].WaitAble(i + 1) // each measures its speed undisturbed
	}
	asker := nodes[1]
	devices := asker.WaitAble(len(nodes))
	ids := idsOf(devices)

	begun := time.Now()
	runBurst(t, asker, image, "burst-", make([]string, burst))
	ran := witness.Ended(burst, func(testnet.Container) bool { return true })
	if len(ran) != burst {
		t.Errorf("%d requests were run by %d containers", burst, len(ran))
	}
	makespan := slices.MaxFunc(ran, func(a, b testnet.Container) int { return a.Ended.Compare(b.Ended) }).Ended.Sub(begun)

	takes := runByHand(t, asker, witness, image, nodes)
	var spread time.Duration // the makespan, had each taken as long as it takes
	for i, n := range nodes {
		count, last := 0, begun
		for _, c := range ran {
			if c.Node == ids[n.Name] {
				count++
				last = slices.MaxFunc([]time.Time{last, c.Ended}, time.Time.Compare)
			}
		}
		d, _ := testnet.Find(devices, n.Name)
		t.Logf("%s lends %v cores, and is rated %.1f: one takes %v; of the burst it ran %d, the last until %v",
			n.Name, speeds[i].lent, d.Score, takes[i].Round(time.Millisecond), count, last.Sub(begun).Round(time.Millisecond))
		spread = max(spread, time.Duration(count)*takes[i])
		if count == 0 {
			t.Errorf("%s ran none", n.Name)
		}
	}
	best := bestMakespan(takes, burst)
	factor := float64(makespan) / float64(best)
	t.Logf("makespan %v, %.2f times the best possible, %v; by how it was spread %.2f times",
		makespan.Round(time.Millisecond), factor, best.Round(time.Millisecond), float64(spread)/float64(best))
	return factor
}

// ownMachine returns a folder to take for /proc, in which nobody else uses the
// processor. Each node stands for a machine of its own: what uses this one beside
// it, the other nodes included, is not on that.
func ownMachine(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"cpuinfo", "meminfo", "zoneinfo"} {
		if err := os.Symlink("/proc/"+name, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	now, err := os.ReadFile("/proc/stat")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "stat"), now, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
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

// runBurst asks the node for one on each of the nodes named, or on any where the name
// is empty, all at once, and returns when all have ended well.
func runBurst(t *testing.T, asker *testnet.Node, image, prefix string, names []string) {
	t.Helper()
	conn, err := app.Dial(t.Context(), asker.State)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	device := protocol.NewAppClient(conn.Open, conn.Token())
	ends := make(chan error, len(names))
	for i, name := range names {
		go func() { ends <- runOne(t, device, protocol.RequestID(prefix+strconv.Itoa(i)), image, name) }()
	}
	for range names {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
}

// runOne has one run, on the node of that name if there is one, to its good end.
func runOne(t *testing.T, device *protocol.AppClient, id protocol.RequestID, image, node string) error {
	session, err := device.Run(t.Context(), protocol.Run{ID: id, Service: protocol.Service{
		Image: image, Args: []string{"work", burstWork.String()}, Memory: 16 << 20,
		Constraints: protocol.Constraints{Node: node},
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

// runByHand returns how long one takes on each node while all of them are at work.
func runByHand(t *testing.T, asker *testnet.Node, witness *testnet.Witness, image string, nodes []*testnet.Node) []time.Duration {
	t.Helper()
	var names []string
	for i, n := range nodes {
		names = append(names, slices.Repeat([]string{n.Name}, speeds[i].runs)...)
	}
	begun := time.Now()
	runBurst(t, asker, image, "byhand-", names)
	var takes []time.Duration
	for i, n := range nodes {
		ran := witness.Ended(speeds[i].runs, func(c testnet.Container) bool {
			number, byHand := strings.CutPrefix(c.Request, "byhand-")
			k, err := strconv.Atoi(number)
			return byHand && err == nil && names[k] == n.Name
		})
		last := slices.MaxFunc(ran, func(a, b testnet.Container) int { return a.Ended.Compare(b.Ended) }).Ended
		takes = append(takes, last.Sub(begun)/time.Duration(speeds[i].runs))
	}
	return takes
}
