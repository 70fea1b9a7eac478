package protocol

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

func TestSignalsAndSizes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript()
		c, l := executeLink(t, running(s))
		sess := mustOffer(t, c)
		go func() { _, _ = sess.Write(make([]byte, 1<<20)) }() // nobody reads it, and nothing waits for it
		synctest.Wait()
		if err := errors.Join(sess.Signal("USR1"), sess.Resize(24, 65535), sess.Resize(0, 0)); err != nil {
			t.Error(err)
		}
		for _, want := range []string{"USR1", "24x65535", "0x0"} {
			if got := <-s.wished; got != want {
				t.Errorf("%s arrived as %s", want, got)
			}
		}
		for _, bad := range []string{"", "SIGINT", "int", "9", "TERM KILL"} {
			if err := sess.Signal(bad); CodeOf(err) != CodeInvalid {
				t.Errorf("signal %q: %v", bad, err)
			}
		}
		s.finish(StateSucceeded)
		updates, err := readAll(sess)
		expect(t, updates, "event 6")
		if !errors.Is(err, io.EOF) {
			t.Error("a bad name ended the session:", err)
		}
		if err := errors.Join(sess.Signal("INT"), sess.Resize(1, 1)); err != nil {
			t.Errorf("after the end: %v", err)
		}
		sess.Close()
		wantServed(t, l, nil)
	})
}

// deaf cannot pass on signals and sizes.
type deaf struct {
	*script
	err error
}

func (d *deaf) Signal(string) error         { return d.err }
func (d *deaf) Resize(uint16, uint16) error { return errors.New("a later one") }

// What cannot be passed on ends nothing, and is told to the log.
func TestSignalThatIsNotHeard(t *testing.T) {
	lost := errors.New("no way to the node")
	for _, tc := range []struct{ is, logged error }{{lost, lost}, {io.ErrClosedPipe, nil}} {
		for name, finish := range map[string]func(*deaf, Session){
			"to its end": func(d *deaf, _ Session) { d.finish(StateSucceeded) },
			"let go":     func(_ *deaf, s Session) { s.Close() },
		} {
			synctest.Test(t, func(t *testing.T) {
				d := &deaf{newScript(), tc.is}
				c, l := executeLink(t, running(d))
				sess := mustOffer(t, c)
				if err := sess.Signal("INT"); err != nil {
					t.Error(err)
				}
				if tc.logged != nil {
					_ = sess.Resize(1, 1)
				}
				synctest.Wait()
				select {
				case <-d.closed:
					t.Errorf("%s: the session was ended", name)
				default:
				}
				finish(d, sess)
				_, _ = readAll(sess)
				sess.Close()
				if err := <-l.served; !errors.Is(err, tc.logged) || tc.logged != nil && err.Error() != tc.logged.Error() {
					t.Errorf("%s: served with %v, want %v", name, err, tc.logged)
				}
			})
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]string{"int": "INT", "SIGUSR1": "USR1", "sigHup": "HUP", "TERM": "TERM"} {
		if got, err := ParseSignal(text); got != want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "SIG", "9", "RTMIN", "TERM KILL", strings.Repeat("x", 1000)} {
		if got, err := ParseSignal(text); CodeOf(err) != CodeInvalid || len(err.Error()) > 200 {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
