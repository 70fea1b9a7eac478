package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

// requestLinks are the ways to ask for a device's requests.
func requestLinks() map[string]func(testing.TB, *device) (Requests, *link) {
	return map[string]func(testing.TB, *device) (Requests, *link){
		"app": func(t testing.TB, d *device) (Requests, *link) { return appLink(t, d) },
		"device": func(t testing.TB, d *device) (Requests, *link) {
			l := newLink(t, func(ctx context.Context, s Stream) error { return ServeExecute(ctx, s, &device{}, d, d, nodeB) })
			return NewRequestsClient(l.open), l
		},
	}
}

// bothLinks calls test with each way to ask for d's requests.
func bothLinks(t *testing.T, d *device, test func(t *testing.T, r Requests, l *link)) {
	for name, link := range requestLinks() {
		t.Run(name, func(t *testing.T) {
			r, l := link(t, d)
			test(t, r, l)
		})
	}
}

func TestAttachToRequest(t *testing.T) {
	want := Attach{Request: "r", Attempt: 3, Stdout: 7, Stderr: 5, NoFollow: true, NoOutput: true, Since: time.Minute}
	s := newScript()
	d := &device{attach: func(_ context.Context, got Attach) (Session, error) {
		if got != want {
			return nil, fmt.Errorf("asked to attach %+v", got)
		}
		s = newScript()
		s.reader = s.Reader(got.Stdout, got.Stderr)
		s.Event(Event{State: StateRunning})
		s.Output(context.Background(), Stdout, []byte("0123456789"))
		s.End()
		return s, nil
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		sess, err := r.Attach(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		updates, err := readAll(sess)
		expect(t, updates, "event 5", `out 1 @7 cut 0 "789"`)
		if err != io.EOF { //nolint:errorlint // what Session promises
			t.Errorf("what there is by now ended with %v", err)
		}
		if _, err := sess.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("Write: %v", err)
		}
		if err := sess.Signal("INT"); err != nil {
			t.Errorf("Signal after the end: %v", err)
		}
		sess.Close()
		wantServed(t, l, nil)
		<-s.closed
		if _, err := r.Attach(t.Context(), Attach{Request: "-"}); CodeOf(err) != CodeInvalid {
			t.Errorf("a bad ID: %v", err)
		}
		wantServed(t, l, nil)
	})
}

// With Since output may start later than asked, once for each channel; nowhere
// else is a byte missing without a word.
func TestOutputThatStartsLater(t *testing.T) {
	for name, tc := range map[string]struct {
		asked Attach
		told  []Output
		bad   bool
	}{
		"later":           {Attach{Since: 1}, []Output{{Channel: Stdout, Offset: 9, Data: []byte("a")}, {Channel: Stderr, Offset: 5}}, false},
		"as asked":        {Attach{Since: 1, Stdout: 7}, []Output{{Channel: Stdout, Offset: 7, Data: []byte("a")}}, false},
		"later, then cut": {Attach{Since: 1, Stdout: 7}, []Output{{Channel: Stdout, Offset: 12, Cut: 3}}, false},
		"a gap after it":  {Attach{Since: 1}, []Output{{Channel: Stdout, Offset: 9}, {Channel: Stdout, Offset: 10}}, true},
		"before it":       {Attach{Since: 1, Stdout: 7}, []Output{{Channel: Stdout, Offset: 6}}, true},
		"a bad cut":       {Attach{Since: 1}, []Output{{Channel: Stdout, Offset: 2, Cut: 3}}, true},
		"not asked for":   {Attach{}, []Output{{Channel: Stdout, Offset: 9}}, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			a, b := protocoltest.Pipe()
			sess := newRemoteSession(newWire(a), tc.asked)
			defer sess.Close()
			w := newWire(b)
			for _, o := range tc.told {
				_ = sendOutput(w, &o)
			}
			_ = sendUpdate(w, Update{Event: &Event{State: StateSucceeded}})
			_ = b.CloseWrite()
			if _, err := readAll(sess); errors.Is(err, io.EOF) == tc.bad || tc.bad && CodeOf(err) != CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Only a session that may end early does, and only where the other side says so.
func TestBrokenStreamIsNoEarlyEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		noFollow bool
		breakIt  func(*script, *link)
	}{
		"reset":          {true, func(_ *script, l *link) { l.stream.Reset() }},
		"node goes away": {true, func(_ *script, l *link) { l.cancel() }},
		"not asked for":  {false, func(s *script, _ *link) { s.End() }}, // no word of it, as ever
	} {
		for way, link := range requestLinks() {
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				r, l := link(t, running(s))
				sess, err := r.Attach(t.Context(), Attach{Request: "r", NoFollow: tc.noFollow})
				if err != nil {
					t.Fatal(err)
				}
				s.Event(Event{State: StateRunning})
				synctest.Wait()
				tc.breakIt(s, l)
				updates, err := readAll(sess)
				expect(t, updates, "event 5")
				if err == nil || errors.Is(err, io.EOF) || !tc.noFollow && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s, %s: Next returned %v", name, way, err)
				}
				sess.Close()
				<-s.closed
				<-l.served
			})
		}
	}
}

func TestStopRequest(t *testing.T) {
	want := Stop{Request: "r", Signal: "HUP", Grace: time.Minute, SignalOnly: true}
	var fail error
	var got Stop
	d := &device{stop: func(_ context.Context, s Stop) error { got = s; return fail }}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		got, fail = Stop{}, nil
		if err := r.Stop(t.Context(), want); err != nil || got != want {
			t.Errorf("stopped %+v, %v", got, err)
		}
		wantServed(t, l, nil)
		if _, err := l.stream.Write([]byte("x")); err == nil {
			t.Error("the stream was left open")
		}
		fail = Errorf(CodeNotFound, "no such request")
		if err := r.Stop(t.Context(), want); CodeOf(err) != CodeNotFound || err.Error() != fail.Error() {
			t.Errorf("not found was told as %v", err)
		}
		wantServed(t, l, nil)
		fail = errors.New("secret")
		if err := r.Stop(t.Context(), want); CodeOf(err) != CodeInternal || err.Error() == "secret" {
			t.Errorf("an inner error was told as %v", err)
		}
		wantServed(t, l, fail)
		got = Stop{}
		for _, bad := range []Stop{{}, {Request: "r", Signal: "term"}, {Request: "r", Signal: "FOO"}} {
			if err := r.Stop(t.Context(), bad); CodeOf(err) != CodeInvalid || got != (Stop{}) {
				t.Errorf("%+v: %v", bad, err)
			}
			wantServed(t, l, nil)
		}
	})
}

// After the answer to a stop the server closes, whatever the asker does.
func TestStopRequestIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, link := range requestLinks() {
			r, l := link(t, running(nil))
			a, err := l.open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			open := func(context.Context) (Stream, error) { return noClose{a}, nil }
			switch c := r.(type) {
			case *AppClient:
				r = NewAppClient(open, testToken)
			case *RequestsClient:
				c.open = open
			}
			if err := r.Stop(t.Context(), Stop{Request: "r"}); err != nil {
				t.Error(err)
			}
			if n, err := a.Read(make([]byte, 1)); n > 0 || err != io.EOF { //nolint:errorlint // the stream's own
				t.Errorf("after the answer came %d bytes and %v", n, err)
			}
			wantServed(t, l, nil)
		}
	})
}

type noClose struct{ Stream }

func (noClose) Close() error { return nil }

func sampleInfos(n int) []RequestInfo {
	list := make([]RequestInfo, n)
	for i := range list {
		list[i] = sampleInfo()
		list[i].ID = RequestID(fmt.Sprint("r", i))
	}
	return list
}

func TestListRequests(t *testing.T) {
	want := sampleInfos(2000)
	want[1] = RequestInfo{ID: "bare", Orchestrator: nodeA, Last: Event{State: StateAccepted}}
	want[2].Args = []string{strings.Repeat("x", maxInfoArgs-8), "echo"[:0]}
	mute := make([]string, maxSilent+1)
	for i := range mute {
		mute[i] = strings.Repeat("n", 63) // the longest name
	}
	d := &device{list: func(_ context.Context, all bool, yield func(RequestInfo) error) ([]string, error) {
		if !all {
			return nil, Errorf(CodeLeaving, "shutting down")
		}
		for _, i := range want {
			if err := yield(i); err != nil {
				return nil, err
			}
		}
		return mute, nil
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		var got []RequestInfo
		keep := func(i RequestInfo) error { got = append(got, i); return nil }
		silent, err := r.List(t.Context(), true, keep)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d requests, or different ones: %v", len(got), err)
		}
		if !slices.Equal(silent, mute[:maxSilent]) {
			t.Errorf("%d were named that did not answer", len(silent))
		}
		wantServed(t, l, nil)
		if _, err := r.List(t.Context(), false, keep); CodeOf(err) != CodeLeaving {
			t.Errorf("an error was told as %v", err)
		}
		wantServed(t, l, nil)
		enough := errors.New("enough")
		if _, err := r.List(t.Context(), true, func(RequestInfo) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("yield's error: %v", err)
		}
		wantServed(t, l, nil)
	})
}

// A list that was cut off is not taken for a whole one.
func TestListThatBreaks(t *testing.T) {
	var l *link
	d := &device{list: func(_ context.Context, _ bool, yield func(RequestInfo) error) ([]string, error) {
		err := yield(sampleInfo())
		l.stream.Reset()
		return nil, err
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, this *link) {
		l = this
		if _, err := r.List(t.Context(), true, func(RequestInfo) error { return nil }); err == nil {
			t.Error("a broken list was taken for a whole one")
		}
		<-l.served
	})
}

func TestInspect(t *testing.T) {
	want := sampleDetail()
	for i := range 5000 {
		want.Events = append(want.Events, Event{Attempt: uint32(i), State: StateRunning, Reason: strings.Repeat("x", 100)})
	}
	big := Decision{Places: 7, Unnamed: 3}
	for i := range 1000 {
		big.Candidates = append(big.Candidates, Candidate{Node: PeerID(fmt.Sprint("node", i)), Excluded: strings.Repeat("x", 500)})
	}
	want.Decisions = append(want.Decisions, big, sampleDecision())
	d := &device{inspect: func(_ context.Context, id RequestID) (RequestDetail, error) {
		switch id {
		case "req":
			return want, nil
		case "secret":
			return RequestDetail{}, errors.New("secret")
		}
		return RequestDetail{}, Errorf(CodeNotFound, "no such request")
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		got, err := r.Inspect(t.Context(), "req")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%d events, %d decisions, or different ones: %v", len(got.Events), len(got.Decisions), err)
		}
		wantServed(t, l, nil)
		for id, code := range map[RequestID]Code{"other": CodeNotFound, "": CodeInvalid, "a b": CodeInvalid} {
			if got, err := r.Inspect(t.Context(), id); CodeOf(err) != code || !reflect.DeepEqual(got, RequestDetail{}) {
				t.Errorf("%q: %v", id, err)
			}
			wantServed(t, l, nil)
		}
		if _, err := r.Inspect(t.Context(), "secret"); CodeOf(err) != CodeInternal || err.Error() == "secret" {
			t.Errorf("an inner error was told as %v", err)
		}
		if err := <-l.served; err == nil || err.Error() != "secret" {
			t.Errorf("served with %v", err)
		}
	})
}

func TestWatchRequests(t *testing.T) {
	ended := make(chan error, 1)
	d := &device{watch: func(ctx context.Context, begun func(), yield func(Event) error) error {
		begun()
		for i := range 3 {
			if err := yield(Event{Request: "r", Attempt: uint32(i), State: StateRunning}); err != nil {
				return err
			}
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		ctx, cancel := context.WithCancel(t.Context())
		var got []uint32
		err := r.Watch(ctx, func() {}, func(e Event) error {
			if got = append(got, e.Attempt); len(got) == 3 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || fmt.Sprint(got) != "[0 1 2]" {
			t.Errorf("%v, %v", got, err)
		}
		if err := <-ended; err == nil {
			t.Error("the device was not told that its watcher has gone")
		}
		wantServed(t, l, nil)
	})
}

// A watch is accepted when it has begun, and no sooner; one that fails before that
// is answered with the reason.
func TestWatchIsAcceptedWhenItHasBegun(t *testing.T) {
	begin, denied := make(chan struct{}), false
	d := &device{watch: func(ctx context.Context, begun func(), _ func(Event) error) error {
		if denied {
			return Errorf(CodeLeaving, "shutting down")
		}
		<-begin
		begun()
		<-ctx.Done()
		return nil
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		denied, begin = false, make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		accepted, watched := make(chan struct{}), make(chan error)
		go func() { watched <- r.Watch(ctx, func() { close(accepted) }, func(Event) error { return nil }) }()
		select {
		case <-accepted:
			t.Error("it was accepted before it had begun")
		case begin <- struct{}{}: // the device is asked, and has not begun
		}
		<-accepted
		cancel()
		if err := <-watched; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantServed(t, l, nil)

		denied = true
		err := r.Watch(t.Context(), func() { t.Error("accepted") }, func(Event) error { return nil })
		if CodeOf(err) != CodeLeaving {
			t.Errorf("denied with %v", err)
		}
		wantServed(t, l, nil)
	})
}

func TestWatchThatEnds(t *testing.T) {
	for _, end := range []error{Errorf(CodeOverloaded, "too slow"), nil} {
		d := &device{watch: func(_ context.Context, begun func(), yield func(Event) error) error {
			begun()
			return errors.Join(yield(sampleEvent()), end)
		}}
		bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
			var got []Event
			err := r.Watch(t.Context(), func() {}, func(e Event) error { got = append(got, e); return nil })
			if CodeOf(err) != CodeOf(end) || !reflect.DeepEqual(got, []Event{sampleEvent()}) {
				t.Errorf("%v, %v", got, err)
			}
			wantServed(t, l, nil)
		})
	}
}

// A device that shuts down resets what is watched: that is no end in order.
func TestWatchOfDeviceThatShutsDown(t *testing.T) {
	d := &device{watch: func(ctx context.Context, begun func(), _ func(Event) error) error {
		begun()
		<-ctx.Done()
		return nil
	}}
	bothLinks(t, d, func(t *testing.T, r Requests, l *link) {
		watched := make(chan error)
		go func() { watched <- r.Watch(t.Context(), func() {}, func(Event) error { return nil }) }()
		l.cancel()
		if err := <-watched; err == nil {
			t.Error("the watch ended in order")
		}
		wantServed(t, l, context.Canceled)
	})
}
