package runtime_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// TestInMemory: what a container has in memory is bounded by the memory that it
// may use, and is docker's where nothing else is said.
func TestInMemory(t *testing.T) {
	const mib = 1 << 20
	tmp := protocol.Tmpfs{Target: "/tmp", Size: 64 * mib, Mode: 0o1777}
	readOnly := runtime.DefaultPolicy()
	readOnly.ReadOnlyRoot = true
	for name, c := range map[string]struct {
		policy  runtime.Policy
		service protocol.Service
		tmpfs   []protocol.Tmpfs
		shm     protocol.Bytes
		ro      bool
		code    protocol.Code
	}{
		"nothing asked": {service: protocol.Service{Memory: 256 * mib}, shm: 64 * mib},
		"little memory": {service: protocol.Service{Memory: 16 * mib}, shm: 16 * mib},
		"shm":           {service: protocol.Service{Memory: 256 * mib, ShmSize: 256 * mib}, shm: 256 * mib},
		"too much shm":  {service: protocol.Service{Memory: 256 * mib, ShmSize: 256*mib + 1}, code: protocol.CodeResources},
		"tmpfs": {service: protocol.Service{Memory: 128 * mib, Tmpfs: []protocol.Tmpfs{{Target: "/run"}, {Target: "/x", Size: 5, Mode: 0o700, Exec: true}}},
			tmpfs: []protocol.Tmpfs{{Target: "/run", Size: 128 * mib, Mode: 0o1777}, {Target: "/x", Size: 5, Mode: 0o700, Exec: true}}, shm: 64 * mib},
		"too large a tmpfs":         {service: protocol.Service{Memory: 128 * mib, Tmpfs: []protocol.Tmpfs{{Target: "/run", Size: 129 * mib}}}, code: protocol.CodeResources},
		"a tmpfs over the engine's": {service: protocol.Service{Tmpfs: []protocol.Tmpfs{{Target: "/dev/shm"}}}, code: protocol.CodeInvalid},
		"a tmpfs over all":          {service: protocol.Service{Tmpfs: []protocol.Tmpfs{{Target: "/"}}}, code: protocol.CodeInvalid},
		// As docker does, --read-only gives no /tmp; the owner's policy does.
		"read-only asked":                 {service: protocol.Service{Memory: 128 * mib, ReadOnlyRoot: true}, shm: 64 * mib, ro: true},
		"read-only policy":                {policy: readOnly, service: protocol.Service{Memory: 128 * mib}, tmpfs: []protocol.Tmpfs{tmp}, shm: 64 * mib, ro: true},
		"read-only policy, little memory": {policy: readOnly, service: protocol.Service{Memory: 8 * mib}, tmpfs: []protocol.Tmpfs{{Target: "/tmp", Size: 8 * mib, Mode: 0o1777}}, shm: 8 * mib, ro: true},
		"read-only policy, own /tmp": {policy: readOnly, service: protocol.Service{Memory: 128 * mib, Tmpfs: []protocol.Tmpfs{{Target: "/tmp", Size: 9, Mode: 0o700, Exec: true}}},
			tmpfs: []protocol.Tmpfs{{Target: "/tmp", Size: 9, Mode: 0o700, Exec: true}}, shm: 64 * mib, ro: true},
	} {
		p := c.policy
		if reflect.DeepEqual(p, runtime.Policy{}) {
			p = runtime.DefaultPolicy()
		}
		spec, code, reason := refusal(p, me, c.service, plenty)
		if code != c.code || code == protocol.CodeNone && (!reflect.DeepEqual(spec.Tmpfs, c.tmpfs) || spec.ShmSize != c.shm || spec.ReadOnlyRoot != c.ro) {
			t.Errorf("%s: %v %q, %+v, shm %v, read-only %t", name, code, reason, spec.Tmpfs, spec.ShmSize, spec.ReadOnlyRoot)
		}
	}
}

func (a *asking) PullAlways(ctx context.Context, image string, progress func(runtime.PullStep)) error {
	a.fetches++
	return a.Driver.PullAlways(ctx, image, progress)
}

// TestPullPolicy: with "always" the registry is asked for what is here, with
// "never" for nothing: another node may have it.
func TestPullPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		image          string
		pull           protocol.PullPolicy
		refused        protocol.Code
		state          protocol.State
		pulls, fetches int
	}{
		"missing, here":    {image: image, state: protocol.StateSucceeded},
		"missing, absent":  {image: "absent", state: protocol.StateSucceeded, pulls: 1},
		"always, here":     {image: image, pull: protocol.PullAlways, state: protocol.StateSucceeded, fetches: 1},
		"always, absent":   {image: "absent", pull: protocol.PullAlways, state: protocol.StateSucceeded, fetches: 1},
		"always, no luck":  {image: "unreachable", pull: protocol.PullAlways, state: protocol.StateFailed, fetches: 1},
		"never, here":      {image: image, pull: protocol.PullNever, state: protocol.StateSucceeded},
		"never, just made": {image: "just made", pull: protocol.PullNever, state: protocol.StateSucceeded},
		"never, absent":    {image: "absent", pull: protocol.PullNever, refused: protocol.CodeImageNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(b *bed) {
				b.engine.AddImage("unreachable", fake.Image{Pull: time.Second, Fail: protocol.Errorf(protocol.CodePullFailed, "no luck")})
				got := &asking{Driver: b.cfg.Driver}
				b.cfg.Driver = got
				b.run()
				b.engine.AddImage("just made", fake.Image{}) // nobody was told yet
				o := offer("a")
				o.Service.Image, o.Service.Pull = c.image, c.pull
				if c.refused != 0 {
					contains(t, b.refused(o, c.refused).Reason, "--pull never")
				} else if end := listen(b.offer(o)).end(); end.State != c.state {
					t.Errorf("it ended as %+v", end)
				}
				if got.pulls != c.pulls || got.fetches != c.fetches {
					t.Errorf("%d pulls, and %d whatever is here", got.pulls, got.fetches)
				}
			})
		})
	}
}

// TestTerminalOfAnotherSize: an offer that is made again finds its execution,
// also where the asker's terminal has another size by then.
func TestTerminalOfAnotherSize(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "describe=/x", "sleep=1m")
		o.Service.TTY, o.Service.TTYRows, o.Service.TTYColumns = true, 43, 132
		first := b.offer(o)
		o.Service.TTYRows, o.Service.TTYColumns = 24, 80
		second := listen(b.offer(o))
		contains(t, second.stdout, "size 43 132\n")
		contains(t, listen(first).stdout, "size 43 132\n")
		if len(b.started) != 1 {
			t.Errorf("started %v", b.started)
		}
		o.Service.Hostname = "other"
		b.refused(o, protocol.CodeConflict)
	})
}
