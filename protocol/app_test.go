package protocol

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRunIsCarriedToItsEnd(t *testing.T) {
	s := newScript()
	var got Run
	d := &device{run: func(_ context.Context, r Run) (Session, error) { got = r; return s, nil }}
	c, l := appLink(t, d)
	want := Run{ID: "r-1", Service: sampleService(), Detach: true}
	want.Service.TTY = true
	sess, err := c.Run(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked to run %+v", got)
	}
	big := Decision{}
	for i := range 1000 {
		big.Candidates = append(big.Candidates, Candidate{Node: PeerID(fmt.Sprint("node", i)), Excluded: strings.Repeat("x", 500)})
	}
	s.Decision(big)
	s.finish(StateSucceeded)
	u, err := sess.Next()
	if err != nil || u.Decision == nil || !reflect.DeepEqual(*u.Decision, big) {
		t.Errorf("decision: %v", err)
	}
	updates, err := readAll(sess)
	expect(t, updates, "event 6")
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	sess.Close()
	wantServed(t, l, nil)
	if len(s.stopped) > 0 {
		t.Error("a request that had ended was stopped")
	}
}

// An app that goes away lets go of its session, and the device draws its
// conclusions; it is never stopped from here.
func TestAppThatGoesAway(t *testing.T) {
	for name, leave := range map[string]func(Session, *link){
		"closed":     func(s Session, _ *link) { s.Close() },
		"reset":      func(_ Session, l *link) { l.stream.Reset() },
		"half-close": func(_ Session, l *link) { l.stream.CloseWrite() },
		"cut short":  func(_ Session, l *link) { l.stream.Write([]byte{9, 1}); l.stream.CloseWrite() },
		"nonsense":   func(_ Session, l *link) { l.stream.Write([]byte{2, 0xff, 0xff}) },
		"half frame": func(_ Session, l *link) { l.stream.Write([]byte{9, 1}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			c, l := appLink(t, running(s))
			sess, err := c.Run(t.Context(), Run{Service: Service{Image: "a"}})
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close()
			if err := sess.CloseWrite(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			select {
			case <-s.closed:
				t.Errorf("%s: the end of the input was taken for that of the app", name)
			default:
			}
			leave(sess, l)
			<-s.closed
			<-l.served
			if len(s.stopped) > 0 {
				t.Errorf("%s: stopped", name)
			}
		})
	}
}

// A device that shuts down cuts its apps off, but leaves the sessions of Run to
// its own end: closing them would cancel the requests.
func TestDeviceThatShutsDown(t *testing.T) {
	for name, say := range map[string]func(*script){
		"a silent container":  func(*script) {},
		"a talking container": func(s *script) { _ = s.Output(context.Background(), Stdout, make([]byte, 2*DefaultOutputLimit)) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript()
			c, l := appLink(t, running(s))
			sess, err := c.Run(t.Context(), Run{Service: Service{Image: "a"}})
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close()
			go func() { _, _ = sess.Write(make([]byte, 1<<20)) }()
			synctest.Wait()
			l.cancel()
			say(s)
			synctest.Wait()
			if _, err := readAll(sess); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("%s: the app was told %v", name, err)
			}
			select {
			case <-s.closed:
				t.Errorf("%s: the session was closed", name)
			case err := <-l.served:
				t.Errorf("%s: served with %v before the device ended it", name, err)
			default:
			}
			s.End()
			wantServed(t, l, context.Canceled)
			<-s.closed
		})
	}
}

func TestWrongToken(t *testing.T) {
	for _, token := range []string{"", "wrong", "righT", "right "} {
		_, l := appLink(t, &device{})
		c := NewAppClient(l.open, token)
		if _, err := c.Diagnose(t.Context()); CodeOf(err) != CodeUnauthorized {
			t.Errorf("token %q: %v", token, err)
		}
		if err := <-l.served; CodeOf(err) != CodeUnauthorized {
			t.Errorf("token %q: served with %v", token, err)
		}
	}
	l := newLink(t, func(ctx context.Context, s Stream) error {
		return ServeApp(ctx, s, func(string) Right { return RightNone }, &device{})
	})
	if _, err := NewAppClient(l.open, "").Diagnose(t.Context()); CodeOf(err) != CodeUnauthorized {
		t.Errorf("a device without a token let an app in: %v", err)
	}
}

func sampleDevices(n int) []Device {
	list := make([]Device, n)
	for i := range list {
		list[i] = Device{Status: sampleStatus(), Self: i == 0, Age: time.Duration(i)}
		list[i].Status.Name = fmt.Sprint("device", i)
	}
	return list
}

func TestDevices(t *testing.T) {
	want := sampleDevices(1000)
	c, l := appLink(t, &device{devices: func(_ context.Context, watch bool, yield func([]Device) error) error {
		if watch {
			t.Error("watched")
		}
		return yield(want)
	}})
	var got []Device
	if err := c.Devices(t.Context(), false, func(d []Device) error { got = d; return nil }); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d devices, or different ones", len(got))
	}
	wantServed(t, l, nil)
}

func TestWatchDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := appLink(t, &device{devices: func(ctx context.Context, watch bool, yield func([]Device) error) error {
			for i := range 3 {
				if err := yield(sampleDevices(i)); err != nil {
					return err
				}
			}
			<-ctx.Done()
			return ctx.Err()
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var got []int
		err := c.Devices(ctx, true, func(d []Device) error {
			if got = append(got, len(d)); len(got) == 3 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || fmt.Sprint(got) != "[0 1 2]" {
			t.Errorf("%v, %v", got, err)
		}
		wantServed(t, l, nil)

		enough := errors.New("enough")
		if err := c.Devices(t.Context(), true, func([]Device) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("yield's error: %v", err)
		}
		wantServed(t, l, nil)
	})
}

// A watcher that stops reading costs a blocked goroutine, until it goes.
func TestWatcherThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := appLink(t, &device{devices: func(_ context.Context, _ bool, yield func([]Device) error) error {
			for {
				if err := yield(sampleDevices(100)); err != nil {
					return err
				}
			}
		}})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-time.After(time.Hour)
			cancel()
		}()
		err := c.Devices(ctx, true, func([]Device) error { <-ctx.Done(); return ctx.Err() })
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantServed(t, l, nil)
	})
}

func TestDiagnose(t *testing.T) {
	want := []Check{{Name: "engine", Level: LevelProblem, Finding: strings.Repeat("x", 5000), Advice: "start it"}, {Name: "secret"}}
	c, l := appLink(t, &device{diagnose: func(context.Context) ([]Check, error) { return want, nil }})
	got, err := c.Diagnose(t.Context())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	wantServed(t, l, nil)
}

func TestListsThatFail(t *testing.T) {
	secret := errors.New("secret")
	d := &device{
		diagnose: func(context.Context) ([]Check, error) { return nil, secret },
		devices: func(_ context.Context, _ bool, yield func([]Device) error) error {
			return errors.Join(yield(sampleDevices(1)), Errorf(CodeLeaving, "shutting down"))
		},
	}
	c, l := appLink(t, d)
	if _, err := c.Diagnose(t.Context()); CodeOf(err) != CodeInternal || err.Error() != "internal error" {
		t.Errorf("diagnose: %v", err)
	}
	wantServed(t, l, secret)
	if err := c.Devices(t.Context(), true, func([]Device) error { return nil }); CodeOf(err) != CodeLeaving {
		t.Errorf("devices: %v", err)
	}
	wantServed(t, l, nil)
}
