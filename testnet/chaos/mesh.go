package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/history"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// waitTimeout bounds the waits for what takes no time by itself on an idle machine.
const waitTimeout = 2 * time.Minute

// Options say what a mesh is made of.
type Options struct {
	// Seed of whatever is chosen.
	Seed uint64
	// Devices is how many there are; all run work.
	Devices int
	// Engines gives each an engine of its own, and Clocks clocks that can be set;
	// else they share the machine's.
	Engines, Clocks bool
	// Disk gives each a disk of so many bytes for its state.
	Disk int64
}

// A Mesh is a number of devices on one network. Its methods fail the test when
// something does not work; they may be called from the test's goroutine only.
type Mesh struct {
	Devices []*Device
	LAN     *netns.Net
	Record  *history.Recorder

	t       testing.TB
	o       Options
	image   string
	mesh    string // its fingerprint
	running *running
	engines []*engine
}

// A Device is one of them. Its methods bring about faults, and take them down.
type Device struct {
	Name   string
	Host   *netns.Host
	Engine *testnet.Engine // of its own, or nil
	// State is its state folder.
	State string

	m      *Mesh
	engine *engine // that is listened to, if it is its own
	id     string  // peer ID
	node   *testnet.Node
	over   map[history.Kind]func() // what ends the faults that it has, as taken down
}

// Start starts a mesh, and waits until all devices see each other ready to work.
func Start(t testing.TB, o Options) *Mesh {
	t.Helper()
	secret := testnet.NewSecret(t)
	m := &Mesh{
		LAN: netns.New(t), Record: history.NewRecorder(o.Seed), t: t, o: o,
		image: testnet.Image(t), mesh: testnet.Fingerprint(t, secret), running: newRunning(),
	}
	if !o.Engines {
		m.engines = []*engine{m.watch("")}
	}
	for i := range o.Devices {
		d := &Device{Name: "node" + strconv.Itoa(i+1), m: m, over: map[history.Kind]func(){}}
		d.Host = m.LAN.AddHost(d.Name)
		if o.Engines {
			d.Engine = d.Host.StartEngine(t)
			d.Engine.Load(m.image)
			d.engine = m.watch(d.Engine.Socket)
			m.engines = append(m.engines, d.engine)
		}
		d.node = d.Host.LaunchNode(t, testnet.Options{
			Secret: secret, Engine: d.Engine, Clock: o.Clocks, Disk: o.Disk,
			Args: []string{"--driver", "docker", "--cpus", "2", "--memory", "1g"},
		})
		d.State = d.node.State
		m.Devices = append(m.Devices, d)
	}
	for _, seen := range m.WaitAll() {
		for _, d := range m.Devices {
			if d.Name == seen.Name {
				d.id = seen.PeerID
			}
		}
	}
	return m
}

// WaitAll waits until each device sees all ready to work, and returns what the
// last one sees.
func (m *Mesh) WaitAll() (seen []testnet.Device) {
	m.t.Helper()
	for _, d := range m.Devices {
		d.node.AwaitLog("msg=ready")
		seen = d.node.WaitAble(len(m.Devices))
	}
	return seen
}

// Partition parts the network into a first group and the others.
func (m *Mesh) Partition(first ...*Device) (heal func()) {
	m.t.Helper()
	var hosts []*netns.Host
	for _, d := range first {
		hosts = append(hosts, d.Host)
	}
	over := m.Record.Fault(history.Partition, "", "")
	m.LAN.Partition(hosts)
	return func() {
		m.LAN.Partition()
		over()
	}
}

// AwaitStarts waits until so many more containers were started, and one runs.
func (m *Mesh) AwaitStarts(more int) {
	m.t.Helper()
	m.awaitStarts(nil, more)
}

// AwaitStarts is Mesh's for a device that has an engine of its own.
func (d *Device) AwaitStarts(more int) {
	d.m.t.Helper()
	d.m.awaitStarts(d.engine, more)
}

func (m *Mesh) awaitStarts(on *engine, more int) {
	m.t.Helper()
	_, before, _ := m.running.count(on)
	for deadline := time.After(waitTimeout); ; {
		running, starts, changed := m.running.count(on)
		if running > 0 && starts >= before+more {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			m.t.Fatalf("%d containers were started within %v, %d were expected", starts-before, waitTimeout, more)
		}
	}
}

// Settle waits until the load has ended, and until no container runs any more,
// and judges what was taken down. What it finds fails the test; then the history
// is kept for people.
func (m *Mesh) Settle(l *Load) *history.History {
	m.t.Helper()
	if late := l.End(); len(late) > 0 {
		m.t.Logf("not ended in time: %v", late)
	}
	for _, e := range m.engines {
		e.settle(m.t)
	}
	h := m.Record.History()
	found := history.Check(h)
	for _, v := range found {
		m.t.Error(v)
	}
	if path, err := save(h); err != nil {
		m.t.Error(err)
	} else if len(found) > 0 || l.o.Keep {
		m.t.Logf("the history is in %s: go run ./testnet/history/check %s", path, path)
	} else {
		_ = os.Remove(path)
	}
	m.t.Log(summary(h))
	return h
}

func save(h *history.History) (string, error) {
	f, err := os.Create(filepath.Join(os.TempDir(), fmt.Sprintf("hearth-history-%d-%d.json", h.Seed, os.Getpid())))
	if err != nil {
		return "", fmt.Errorf("keep the history: %w", err)
	}
	defer f.Close()
	return f.Name(), h.Write(f)
}

// summary says in a line what there was.
func summary(h *history.History) string {
	states, answers := map[string]int{}, 0
	for _, r := range h.Requests {
		last := "not accepted"
		for _, t := range r.Told {
			if answers++; t.State != 0 {
				last = t.State.String()
			}
		}
		states[last]++
	}
	faults := map[history.Kind]int{}
	for _, f := range h.Faults {
		faults[f.Kind]++
	}
	return fmt.Sprintf("%d requests %v, %d containers, %d answers, faults %v, in %v",
		len(h.Requests), states, len(h.Containers), answers, faults, h.Ended.Round(time.Second))
}
