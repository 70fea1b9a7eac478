package device

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// watchRetryInterval is how long a device that is connected, and whose events stopped
// coming, is left alone before it is watched again.
const watchRetryInterval = time.Second

// Watch implements protocol.Requests: the events of all devices as one stream,
// those that join meanwhile included. It has begun when every device that is
// connected is watched, or has not answered in time. What happens on a device while
// it is not connected is not told later; Inspect tells it.
func (m *meshRequests) Watch(ctx context.Context, begun func(), yield func(protocol.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		requests: m, events: make(chan protocol.Event), started: make(chan protocol.PeerID), ended: make(chan watchEnd),
		watched: make(map[protocol.PeerID]bool),
	}
	defer w.streams.Wait()
	defer cancel()
	if err := w.begin(ctx); err != nil {
		return err
	}
	begun()
	return w.run(ctx, yield)
}

// watcher merges the streams of events of one Watch. Run's goroutine owns
// watched; each device's stream has a goroutine, which ends with ctx.
type watcher struct {
	requests *meshRequests
	events   chan protocol.Event // unbuffered: who watches slowly is noticed where the events are
	started  chan protocol.PeerID
	ended    chan watchEnd
	watched  map[protocol.PeerID]bool
	streams  sync.WaitGroup
}

// watchEnd says that a device's stream ended; of this device's, node is empty.
type watchEnd struct {
	node protocol.PeerID
	err  error
}

// begin returns when all devices that are connected are watched, but for those
// that do not answer in time. Events wait at their devices meanwhile.
func (w *watcher) begin(ctx context.Context) error {
	w.startAll(ctx)
	awaited := maps.Clone(w.watched)
	timeout := time.NewTimer(askTimeout)
	defer timeout.Stop()
	for len(awaited) > 0 {
		select {
		case node := <-w.started:
			delete(awaited, node)
		case end := <-w.ended:
			if err := w.end(end); err != nil || end.node == "" {
				return err
			}
			delete(awaited, end.node)
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (w *watcher) run(ctx context.Context, yield func(protocol.Event) error) error {
	again := time.NewTicker(watchRetryInterval)
	defer again.Stop()
	for {
		changed := w.requests.changed()
		w.startAll(ctx)
		for news := false; !news; {
			select {
			case <-ctx.Done():
				return nil
			case e := <-w.events:
				if err := yield(e); err != nil {
					return err
				}
			case <-w.started: // one that joined, or answers late
			case end := <-w.ended:
				if err := w.end(end); err != nil || end.node == "" {
					return err
				}
			case <-changed:
				news = true
			case <-again.C:
				news = true
			}
		}
	}
}

// end takes note that a device's events stopped. It returns what ends the watching:
// this device's own end, and to be too slow for one, since nothing is left out in
// silence.
func (w *watcher) end(end watchEnd) error {
	if end.node == "" || protocol.CodeOf(end.err) == protocol.CodeOverloaded {
		return end.err
	}
	w.requests.log.Debug("a device's events stopped", "peer", end.node, "err", end.err)
	w.watched[end.node] = false
	return nil
}

func (w *watcher) startAll(ctx context.Context) {
	w.start(ctx, "", w.requests.own)
	for _, p := range w.requests.peers() {
		w.start(ctx, p.ID, w.requests.at(p.ID))
	}
}

// start follows a device's events unless that is being done.
func (w *watcher) start(ctx context.Context, node protocol.PeerID, at protocol.Requests) {
	if w.watched[node] {
		return
	}
	w.watched[node] = true
	w.streams.Go(func() {
		begun := func() {
			select {
			case w.started <- node:
			case <-ctx.Done():
			}
		}
		err := at.Watch(ctx, begun, func(e protocol.Event) error {
			select {
			case w.events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		select {
		case w.ended <- watchEnd{node, err}:
		case <-ctx.Done():
		}
	})
}
