package sched

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// wantSince attaches for the output of the last d, and checks what comes.
func (m *mesh) wantSince(d time.Duration, want string) {
	m.t.Helper()
	synctest.Wait()
	now := m.attach(protocol.Attach{Request: "r", Since: d, NoFollow: true})
	<-now.done
	if !errors.Is(now.err, io.EOF) || string(now.stdout) != want || now.cut != 0 {
		m.t.Errorf("the last %v: %q, %d cut, %v; want %q", d, now.stdout, now.cut, now.err, want)
	}
}

func TestAttachSince(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		m.wantSince(time.Hour, "")
		e.write(t, "one ")
		time.Sleep(time.Minute)
		e.write(t, "two ")
		_ = e.feed.Output(t.Context(), protocol.Stderr, []byte("err "))
		time.Sleep(time.Minute)
		e.write(t, "three ")
		time.Sleep(time.Minute)

		m.wantSince(0, "one two err three ")
		m.wantSince(1<<63-1, "one two err three ")
		m.wantSince(3*time.Minute, "one two err three ")
		m.wantSince(3*time.Minute-1, "two err three ")
		m.wantSince(2*time.Minute, "two err three ")
		m.wantSince(time.Minute, "three ")
		m.wantSince(time.Minute-1, "")

		late := m.attach(protocol.Attach{Request: "r", Since: time.Second})
		half := m.attach(protocol.Attach{Request: "r", Since: 2 * time.Minute, Stdout: 10, Stderr: 1})
		quiet := m.attach(protocol.Attach{Request: "r", Since: time.Hour, NoOutput: true})
		synctest.Wait()
		e.write(t, "four")
		e.exit(0)
		for a, want := range map[*asker]string{late: "four", half: "rr ree four", quiet: ""} {
			if end := a.end(); end.State != protocol.StateSucceeded || string(a.stdout) != want || a.cut != 0 {
				t.Errorf("%+v, %q, %d cut; want %q", end, a.stdout, a.cut, want)
			}
		}
		time.Sleep(time.Minute)
		m.wantSince(time.Minute, "four")
		m.wantSince(time.Minute-1, "")
	})
}

// What is dropped of the time that is asked about is told, and nothing else.
func TestAttachSinceDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxOutput = 4
		m := newMesh(t, params, abc...)
		defer m.close()
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		for _, text := range []string{"abcd", "efgh", "ijkl"} {
			e.write(t, text)
			time.Sleep(time.Minute)
		}
		m.wantSince(time.Minute, "ijkl")
		now := m.attach(protocol.Attach{Request: "r", Since: 2 * time.Minute, NoFollow: true})
		<-now.done
		if string(now.stdout) != "ijkl" || now.cut != 4 {
			t.Errorf("%q, %d cut", now.stdout, now.cut)
		}
	})
}

// Output that waited for a slow reader came when it was taken in.
func TestAttachSinceSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := DefaultParams()
		params.MaxOutput = 4
		m := newMesh(t, params, abc...)
		defer m.close()
		app, err := m.orch.Accept(t.Context(), on("b", "r"))
		if err != nil {
			t.Fatal(err)
		}
		e := m.nodes["b"].only(t)
		e.write(t, "abcd")
		synctest.Wait()
		e.write(t, "efgh")
		time.Sleep(time.Hour)
		follow(t, app)
		m.wantSince(time.Minute, "efgh")
	})
}

// When output of the time before a restart came is not known: all is shown.
func TestAttachSinceRestart(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "one ")
		time.Sleep(time.Hour)
		m.restart()
		m.wantSince(time.Second, "one ") // as if it came just now
		time.Sleep(time.Minute)
		e.write(t, "two ")
		m.wantSince(time.Second, "two ")
		e.exit(0)
		synctest.Wait()
		time.Sleep(time.Minute)
		m.wantSince(time.Second, "")
		m.restart() // from now on the journal alone knows it
		for range 2 {
			m.wantSince(time.Second, "one two ")
			time.Sleep(time.Hour)
		}
	})
}

// Output that came to light with the true end came then.
func TestAttachSinceCorrected(t *testing.T) {
	inMesh(t, abc, func(t *testing.T, m *mesh) {
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "one ")
		m.nodes["b"].set(func() { m.nodes["b"].gone = true })
		if err := m.orch.Stop(t.Context(), protocol.Stop{Request: "r"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if d := m.inspect("r"); d.Last.State != protocol.StateUnknown {
			t.Fatalf("%+v", d.Last)
		}
		m.wantSince(time.Second, "")
		m.nodes["b"].set(func() { m.nodes["b"].gone = false })
		e.write(t, "two")
		e.exit(7)
		time.Sleep(10 * time.Second)
		if d := m.inspect("r"); d.Last.ExitCode != 7 {
			t.Fatalf("%+v", d.Last)
		}
		m.wantSince(10*time.Second, "two")
		m.wantSince(2*time.Minute, "one two")
	})
}

// wantTimes checks when what is kept of the output came: seconds after start, or -1
// where that is not known.
func (m *mesh) wantTimes(start time.Time, want string) {
	m.t.Helper()
	synctest.Wait()
	s, err := m.orch.Attach(m.t.Context(), protocol.Attach{Request: "r", NoFollow: true})
	if err != nil {
		m.t.Fatal(err)
	}
	defer s.Close()
	got := ""
	for {
		u, err := s.Next()
		if err != nil {
			break
		}
		if u.Output == nil {
			continue
		}
		came := -1.0
		if !u.Output.At.IsZero() {
			came = u.Output.At.Sub(start).Seconds()
		}
		got += fmt.Sprintf("%s@%v ", u.Output.Data, came)
	}
	if got != want {
		m.t.Errorf("it came as %q, want %q", got, want)
	}
}

// Each piece of output says when it came, also when it is kept as one with others,
// and after the end; after a restart no time is made up.
func TestOutputTellsWhenItCame(t *testing.T) {
	withJournal(t, abc, func(t *testing.T, m *mesh) {
		start := time.Now()
		m.run(on("b", "r"))
		e := m.nodes["b"].only(t)
		e.say(protocol.StateRunning)
		e.write(t, "one ")
		time.Sleep(2 * time.Second)
		e.write(t, "two ")
		_ = e.feed.Output(t.Context(), protocol.Stderr, []byte("err "))
		synctest.Wait()
		time.Sleep(time.Minute)
		e.write(t, "three ")
		m.wantTimes(start, "one @0 two @2 err @2 three @62 ")

		m.restart()
		m.wantTimes(start, "one two @-1 err @-1 three @-1 ")
		time.Sleep(time.Minute)
		e.write(t, "four ")
		m.wantTimes(start, "one two @-1 err @-1 three @-1 four @122 ")
		time.Sleep(time.Minute)
		e.write(t, "five ")
		e.exit(0)
		synctest.Wait()
		m.restart() // from now on the journal alone knows it
		m.wantTimes(start, "one two @-1 err @-1 three @-1 four @122 five @182 ")
	})
}

// However long a request writes, what is asked for is shown, and little more.
func TestMarks(t *testing.T) {
	var m marks
	const interval = 700 * time.Millisecond
	var now time.Duration
	for i := range uint64(200_000) { // 39 hours
		now += interval
		m.add(now, time.Time{}, position{stdout: i})
	}
	if len(m) > maxMarks {
		t.Fatalf("%d marks", len(m))
	}
	for _, d := range []time.Duration{0, 1, time.Second, time.Minute, 10 * time.Minute, time.Hour, 24 * time.Hour, now - 1} {
		p, ok := m.since(now - d)
		came := time.Duration(p.stdout+1) * interval
		exact := (now - d + interval - 1) / interval * interval
		if most := 2*time.Second + d/20; !ok || came > exact || exact-came > most {
			t.Errorf("the last %v: from %v before on, at most %v are right", d, now-came, d+most)
		}
	}
	if _, ok := m.since(now + 1); ok {
		t.Error("something came that did not")
	}
	if p, ok := m.since(-time.Hour); !ok || p != (position{}) {
		t.Errorf("all begins at %+v", p)
	}
	if _, ok := marks(nil).since(-1); ok {
		t.Error("something came where nothing did")
	}
}
