package p2p

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
)

// membersChild tells a test process to be members of a mesh: the secret, how many,
// and whom they dial.
const membersChild = "HEARTH_TEST_MEMBERS"

// BenchmarkMemberMemory is what each further member costs a device that is idle: of
// its heap, of its stacks and in goroutines, without what is garbage. The members are
// in another process, so that nothing of theirs counts.
func BenchmarkMemberMemory(b *testing.B) {
	const few, more = 3, 30
	secret := keys.NewSecret()
	var heap, stacks, goroutines float64
	for b.Loop() {
		d := start(b, secret, "a", func(c *Config) { c.Log = slog.New(slog.DiscardHandler) })
		stopFew := startMembers(b, d, "few", few)
		before := d.memoryAtRest()
		stopMore := startMembers(b, d, "more", more)
		after := d.memoryAtRest()
		heap += float64(after.heap - before.heap)
		stacks += float64(after.stacks - before.stacks)
		goroutines += float64(after.goroutines - before.goroutines)
		stopMore()
		stopFew()
		d.stop()
	}
	each := func(v float64) float64 { return v / more / float64(b.N) }
	b.ReportMetric(each(heap), "heap-B/member")
	b.ReportMetric(each(stacks), "stack-B/member")
	b.ReportMetric(each(goroutines), "goroutines/member")
}

type memory struct{ heap, stacks, goroutines int64 }

// memoryAtRest is the least of some seconds: what is left when nothing is being done.
func (d *device) memoryAtRest() memory {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var least memory
	for i := range 20 {
		<-tick.C
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := memory{int64(m.HeapAlloc), int64(m.StackInuse), int64(runtime.NumGoroutine())}
		if i == 0 {
			least = now
		}
		least = memory{min(least.heap, now.heap), min(least.stacks, now.stacks), min(least.goroutines, now.goroutines)}
	}
	return least
}

// startMembers runs count members in another process until stop, and returns when
// they have joined d.
func startMembers(t testing.TB, d *device, name string, count int) (stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), membersChild+"="+strings.Join([]string{d.cfg.Secret.Text(), name, strconv.Itoa(count), d.Addresses()[0]}, " "))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the process of the members: %v", err)
		}
	}
	for joined := 0; joined < count; {
		if d.next().joined {
			joined++
		}
	}
	return stop
}

// runMembersChild is such a process; it ends when its stdin does.
func runMembersChild(text string) {
	words := strings.Fields(text)
	secret, err := keys.ParseSecret(words[0])
	if err != nil {
		panic(err)
	}
	count, err := strconv.Atoi(words[2])
	if err != nil {
		panic(err)
	}
	peers := []ma.Multiaddr{ma.StringCast(words[3])}
	for i := range count {
		name := words[1] + strconv.Itoa(i)
		seed := make(keys.Seed, 32)
		copy(seed, name)
		key, err := keys.Identity(secret, seed)
		if err != nil {
			panic(err)
		}
		m, err := New(Config{
			Secret: secret, Key: key, Name: name, Log: slog.New(slog.DiscardHandler),
			Listen: addrs("/ip4/127.0.0.1/tcp/0"), Peers: peers,
		})
		if err != nil {
			panic(err)
		}
		go func() { _ = m.Run(context.Background()) }() // ends with the process
		<-m.Ready()
		peers = append(slices.Clone(peers), ma.StringCast(m.Addresses()[0]))
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
