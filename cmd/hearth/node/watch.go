package node

import (
	"context"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// watchAgain is how long a device that is connected, and whose events stopped
// coming, is left alone before it is watched again.
const watchAgain = time.Second

// Watch implements protocol.Requests: the events of all devices as one stream,
// those that join meanwhile included. What happens on a device while it is not
// connected is not told later; Inspect tells it.
func (m *meshRequests) Watch(ctx context.Context, yield func(protocol.Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	w := &watcher{
		requests: m, events: make(chan protocol.Event), ended: make(chan watchEnd), watched: make(map[protocol.NodeID]bool),
	}
	defer w.streams.Wait()
	defer cancel()
	return w.run(ctx, yield)
}

// watcher merges the streams of events of one Watch. Run's goroutine owns
// watched; each device's stream has a goroutine, which ends with ctx.
type watcher struct {
	requests *meshRequests
	events   chan protocol.Event // unbuffered: who watches slowly is noticed where the events are
	ended    chan watchEnd
	watched  map[protocol.NodeID]bool
	streams  sync.WaitGroup
}

// watchEnd says that a device's stream ended; of this device's, node is empty.
type watchEnd struct {
	node protocol.NodeID
	err  error
}

func (w *watcher) run(ctx context.Context, yield func(protocol.Event) error) error {
	w.start(ctx, "", w.requests.own)
	again := time.NewTicker(watchAgain)
	defer again.Stop()
	for {
		changed := w.requests.changed()
		for _, p := range w.requests.peers() {
			w.start(ctx, p.ID, w.requests.at(p.ID))
		}
		for news := false; !news; {
			select {
			case <-ctx.Done():
				return nil
			case e := <-w.events:
				if err := yield(e); err != nil {
					return err
				}
			case end := <-w.ended:
				// Too slow for one device is too slow: nothing is left out in silence.
				if end.node == "" || protocol.CodeOf(end.err) == protocol.CodeOverloaded {
					return end.err
				}
				w.requests.log.Debug("a device's events stopped", "peer", end.node, "err", end.err)
				w.watched[end.node] = false
			case <-changed:
				news = true
			case <-again.C:
				news = true
			}
		}
	}
}

// start follows a device's events unless that is being done.
func (w *watcher) start(ctx context.Context, node protocol.NodeID, at protocol.Requests) {
	if w.watched[node] {
		return
	}
	w.watched[node] = true
	w.streams.Go(func() {
		err := at.Watch(ctx, func(e protocol.Event) error {
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
