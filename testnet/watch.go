package testnet

import (
	"context"
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
	"time"
)

// A Device is one line of `hearth nodes --json`.
type Device struct {
	Name       string   `json:"name"`
	PeerID     string   `json:"peer_id"`
	Self       bool     `json:"self"`
	Role       string   `json:"role"`
	Arch       string   `json:"arch"`
	CPUs       float64  `json:"cpus"`
	MemoryFree uint64   `json:"memory_free"`
	Running    uint32   `json:"running"`
	Queued     uint32   `json:"queued"`
	Score      float64  `json:"score"`
	Addresses  []string `json:"addresses"`
	AgeMS      int64    `json:"age_ms"`
}

// A Watch is a running `hearth nodes --watch --json`: what one node sees, as it
// changes.
type Watch struct {
	t      testing.TB
	node   string
	cmd    *exec.Cmd
	lists  chan []Device // closed when the process has ended
	stderr *logBuffer
	last   []Device
}

// Watch starts to watch what the node sees; it ends with the test.
func (n *Node) Watch() *Watch {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{t: n.t, node: n.Name, lists: make(chan []Device), stderr: &logBuffer{changed: make(chan struct{})}}
	w.cmd = n.prepare(ctx, []string{"nodes", "--watch", "--json"})
	w.cmd.Env = append(w.cmd.Environ(), "HEARTH_STATE="+n.State)
	w.cmd.Stderr = w.stderr
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		n.t.Fatalf("watch nodes on %s: %v", n.Name, err)
	}
	go func() { // ends with the process
		defer close(w.lists)
		for d := json.NewDecoder(out); ; {
			var list []Device
			if err := d.Decode(&list); err != nil {
				return
			}
			select {
			case w.lists <- list:
			case <-ctx.Done():
				return
			}
		}
	}()
	n.t.Cleanup(func() {
		cancel()
		_ = w.cmd.Wait()
	})
	return w
}

// Until waits until a list satisfies ok, and returns it. what says in words
// what is waited for.
func (w *Watch) Until(what string, ok func([]Device) bool) []Device {
	w.t.Helper()
	deadline := time.After(waitTimeout)
	for {
		select {
		case list, open := <-w.lists:
			if !open {
				w.t.Fatalf("the watch on %s ended while waiting for %s: %s", w.node, what, w.stderr)
			}
			w.last = list
			if ok(list) {
				return list
			}
		case <-deadline:
			last, _ := json.MarshalIndent(w.last, "", " ")
			w.t.Fatalf("%s does not see %s after %v; it last saw %s", w.node, what, waitTimeout, last)
		}
	}
}

// WaitNodes waits until the node sees exactly count devices, itself included,
// each with a status of its own, and returns them.
func (n *Node) WaitNodes(count int) []Device {
	n.t.Helper()
	return n.Watch().Until("the expected number of devices", func(ds []Device) bool {
		return len(ds) == count && !slices.ContainsFunc(ds, func(d Device) bool { return d.Arch == "" })
	})
}

// WaitAble is WaitNodes for devices that all run work: it waits until they can.
func (n *Node) WaitAble(count int) []Device {
	n.t.Helper()
	return n.Watch().Until("the expected number of nodes able to work", func(ds []Device) bool {
		return len(ds) == count && !slices.ContainsFunc(ds, func(d Device) bool { return d.Role != "node" || d.Score == 0 })
	})
}

// Find returns the device with the name.
func Find(devices []Device, name string) (Device, bool) {
	for _, d := range devices {
		if d.Name == name {
			return d, true
		}
	}
	return Device{}, false
}
