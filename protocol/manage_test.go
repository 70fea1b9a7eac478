package protocol

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
)

func TestDrainAndDownAreAnswered(t *testing.T) {
	var drained []bool
	downs, forgotten := 0, ""
	c, l := appLink(t, &device{
		drain:  func(_ context.Context, off bool) error { drained = append(drained, off); return nil },
		down:   func(context.Context) error { downs++; return nil },
		forget: func(_ context.Context, name string) error { forgotten = name; return nil },
	})
	for _, ask := range []func() error{
		func() error { return c.Drain(t.Context(), false) },
		func() error { return c.Drain(t.Context(), true) },
		func() error { return c.Down(t.Context()) },
		func() error { return c.Forget(t.Context(), "attic") },
	} {
		if err := ask(); err != nil {
			t.Error(err)
		}
		wantServed(t, l, nil)
	}
	if !reflect.DeepEqual(drained, []bool{false, true}) || downs != 1 || forgotten != "attic" {
		t.Errorf("drained with off %v, down %d times, forgot %q", drained, downs, forgotten)
	}
	if err := c.Forget(t.Context(), strings.Repeat("a", maxName+1)); CodeOf(err) != CodeInvalid {
		t.Error(err)
	}
	if err := <-l.served; CodeOf(err) != CodeInvalid {
		t.Errorf("served with %v", err)
	}
}

func TestManageThatFailsIsTold(t *testing.T) {
	secret := errors.New("secret")
	c, l := appLink(t, &device{
		drain:  func(context.Context, bool) error { return Errorf(CodeDiskFull, "no room") },
		down:   func(context.Context) error { return secret },
		status: func(context.Context, bool, func(DeviceInfo) error) error { return Errorf(CodeLeaving, "going") },
	})
	if err := c.Drain(t.Context(), false); CodeOf(err) != CodeDiskFull {
		t.Error(err)
	}
	wantServed(t, l, nil)
	if err := c.Down(t.Context()); CodeOf(err) != CodeInternal || err.Error() != "internal error" {
		t.Error(err)
	}
	wantServed(t, l, secret)
	if err := c.Status(t.Context(), false, nil); CodeOf(err) != CodeLeaving {
		t.Error(err)
	}
	wantServed(t, l, nil)
}

func TestStatusWatchTellsEachChangeUntilLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := sampleDeviceInfo()
		c, l := appLink(t, &device{status: func(ctx context.Context, watch bool, yield func(DeviceInfo) error) error {
			err := yield(want)
			if watch && err == nil {
				busy := want
				busy.Running++
				err = yield(busy)
				<-ctx.Done()
			}
			return err
		}})
		var got []DeviceInfo
		err := c.Status(t.Context(), false, func(d DeviceInfo) error { got = append(got, d); return nil })
		if err != nil || !reflect.DeepEqual(got, []DeviceInfo{want}) {
			t.Errorf("told %+v, %v", got, err)
		}
		wantServed(t, l, nil)

		enough := errors.New("enough")
		err = c.Status(t.Context(), true, func(d DeviceInfo) error {
			if d.Running > want.Running {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Error(err)
		}
		wantServed(t, l, nil)
	})
}
