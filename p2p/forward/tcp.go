package forward

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Dial opens a stream to the container's port. ctx bounds the opening alone.
type Dial func(ctx context.Context) (protocol.Stream, error)

// TCP carries each connection to l over a stream of its own until ctx ends: then
// l is closed, and all connections are reset. One whose stream cannot be opened is
// reset; failed is told why. The error is why l could not be listened to any more.
func TCP(ctx context.Context, l net.Listener, dial Dial, failed func(error)) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, maxConns)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil:
			failed(err)
			select {
			case <-time.After(acceptPause):
			case <-ctx.Done():
			}
			continue
		}
		near := protocol.NetStream(c)
		select {
		case places <- struct{}{}:
		default:
			_ = near.Reset()
			failed(protocol.Errorf(protocol.CodeOverloaded, "more than %d connections at a time", maxConns))
			continue
		}
		conns.Go(func() {
			defer func() { <-places }()
			far, err := open(ctx, dial)
			if err != nil {
				_ = near.Reset()
				failed(err)
				return
			}
			_ = protocol.Join(ctx, near, far) // how it ends is told by the ends
		})
	}
}

// open dials within bounds.
func open(ctx context.Context, dial Dial) (protocol.Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	s, err := dial(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.Join(protocol.Errorf(protocol.CodeTimeout, "the container was not reached in %v", dialTimeout), err)
	}
	return s, err
}

// logFirst returns a func that logs the first error and each of another text.
func logFirst(log *slog.Logger, args ...any) func(error) {
	var mu sync.Mutex // guards last
	last := ""
	return func(err error) {
		mu.Lock()
		same := err.Error() == last
		last = err.Error()
		mu.Unlock()
		if !same {
			log.Warn("a connection was not forwarded", append(args, "err", err)...)
		}
	}
}
