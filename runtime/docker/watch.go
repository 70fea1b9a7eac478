package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

const (
	// pingPause is how often the engine is asked whether it still answers: a
	// lost connection tells at once, an engine that hangs says nothing. One
	// ping takes it some 100 µs. So a hang is noticed within pingPause and
	// pingTimeout, and within lateCall and pingTimeout where a call waits.
	pingPause   = 5 * time.Second
	pingTimeout = 3 * time.Second
	// firstPingTimeout is how long the first ping of all may take: an engine that
	// has just been started accepts connections before it answers.
	firstPingTimeout = 15 * time.Second
	// settle is how long images must be left alone before they are listed:
	// a pull and a build cause many events.
	settle = 200 * time.Millisecond
)

// Watch implements runtime.Driver. changed is called after each up(true) too.
func (d *Driver) Watch(ctx context.Context, up func(bool), changed func()) error {
	wasUp := true // so that an engine that is down at first is reported
	timeout := firstPingTimeout
	for delay := minBackoff; ctx.Err() == nil; delay = min(2*delay, maxBackoff) {
		lost := d.watchOnce(ctx, timeout, func() {
			wasUp, delay = true, minBackoff
			up(true)
			changed()
		}, changed)
		timeout = pingTimeout
		d.losses.Add(1)
		if wasUp && ctx.Err() == nil {
			wasUp = false
			up(false)
			d.cfg.Log.Warn("Docker engine does not answer: nothing is run here until it does", "err", lost)
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		if err := d.renew(); err != nil {
			return err
		}
	}
	return nil
}

// watchOnce follows the engine, which has that time for the first answer, until it
// is lost; it returns why.
func (d *Driver) watchOnce(ctx context.Context, timeout time.Duration, up, changed func()) error {
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := d.ping(ctx, timeout); err != nil {
		return err
	}
	// It also settles the version of the API, which Events would read while
	// another call settles it.
	if _, err := d.describe(ctx); err != nil {
		return err
	}
	var images <-chan events.Message
	var lost <-chan error
	err := d.begin(ctx, "follow the engine's events", cancel, func() error {
		images, lost = d.client.Load().Events(following, events.ListOptions{
			Filters: filters.NewArgs(filters.Arg("type", string(events.ImageEventType))),
		})
		return nil
	})
	if err != nil {
		return err
	}
	up()

	ping := time.NewTicker(pingPause)
	defer ping.Stop()
	settled := time.NewTimer(settle)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-images:
			settled.Reset(settle)
		case <-settled.C:
			changed()
		case <-ping.C:
			if err := d.Ping(ctx); err != nil {
				d.calls.hung()
				return err
			}
		case <-d.calls.doubt:
			if err := d.Ping(ctx); err != nil {
				d.calls.hung()
				return err
			}
			ping.Reset(pingPause)
		case err := <-lost:
			return err
		}
	}
}

// Ping asks whether the engine answers, the quickest way there is: an error is
// an *Error with CodeEngineDown.
func (d *Driver) Ping(ctx context.Context) error { return d.ping(ctx, pingTimeout) }

func (d *Driver) ping(ctx context.Context, timeout time.Duration) error {
	return d.bounded(ctx, timeout, "ping", func(ctx context.Context) error {
		_, err := d.client.Load().Ping(ctx)
		return err
	})
}
