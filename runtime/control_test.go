package runtime_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

func lines(s *said) []string { return strings.Split(strings.TrimSpace(s.stdout), "\n") }

// What is wished for before the container runs is told as soon as it does, the
// size first, each signal once.
func TestWishesWaitForTheStart(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "tell")
		o.Service.Image, o.Service.TTY = "absent", true
		s := b.offer(o)
		until(t, s, protocol.StatePulling)
		for range 1000 {
			s.Resize(1, 1)
			for _, name := range []string{"USR1", "HUP", "USR1"} {
				if err := s.Signal(name); err != nil {
					t.Fatal(err)
				}
			}
		}
		s.Resize(50, 132)
		s.Resize(0, 80) // of no terminal
		time.AfterFunc(time.Minute, func() { s.Signal("TERM") })
		got := listen(s)
		heard := lines(got)
		slices.Sort(heard)
		if want := []string{"50 132", "HUP", "USR1", "ready"}; !slices.Equal(heard, want) {
			t.Errorf("%q, want %q", heard, want)
		}
		// A signal is no stop: how it ended is the container's own business.
		if got.end().State != protocol.StateFailed || got.end().ExitCode != 143 {
			t.Errorf("ended as %+v", got.end())
		}
		b.idle()
	})
}

func TestSignalsOneByOne(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "tell"))
		var want []string
		for i, name := range []string{"INT", "HUP", "INT", "SEGV", "STOP", "CONT", "WINCH"} {
			want = append(want, name)
			time.AfterFunc(time.Duration(1+i)*time.Second, func() { s.Signal(name) })
		}
		time.AfterFunc(time.Minute, func() { s.Resize(1, 2); s.Signal("KILL") })
		got := listen(s)
		if heard := lines(got); !slices.Equal(heard[1:], want) || got.end().ExitCode != 137 {
			t.Errorf("%q and %+v, want %q", heard, got.end(), want)
		}
		if err := s.Signal("TERM"); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestSignalsAreAClosedSet(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		s := b.offer(offer("a", "sleep=1h"))
		for _, name := range []string{"", "SIG", "15", "RTMIN", "TERM ", "\x00", strings.Repeat("x", 1<<20)} {
			err := s.Signal(name)
			if err == nil || protocol.CodeOf(err) != protocol.CodeInvalid || len(err.Error()) > 200 {
				t.Errorf("%.20q: %.300v", name, err)
			}
		}
		s.Stop(0)
		listen(s)
	})
}

// An adopted execution is sent signals as well.
func TestSignalToAnAdoptedOne(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		b.offer(offer("a", "tell"))
		synctest.Wait()
		b.stop()
		b.run()
		s, err := b.node.Attach(b.t.Context(), attach("a"))
		if err != nil {
			t.Fatal(err)
		}
		s.Signal("USR2")
		time.AfterFunc(time.Second, func() { s.Signal("TERM") })
		if got := listen(s); !slices.Equal(lines(got), []string{"ready", "USR2"}) || got.end().ExitCode != 143 {
			t.Errorf("%+v", got)
		}
		b.idle()
	})
}

func TestTerminalHasOneChannel(t *testing.T) {
	inBubble(t, func(b *bed) {
		b.run()
		o := offer("a", "out=1", "err=2", "out=3")
		o.Service.TTY = true
		if got := listen(b.offer(o)); got.stdout != "123" || got.stderr != "" {
			t.Errorf("%+v", got)
		}
	})
}
