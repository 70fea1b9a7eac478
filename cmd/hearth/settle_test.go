package main

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back twice after the start and twice after each burst of joins, and
// never while nothing happens.
func TestTidyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		joined := make(chan struct{}, 1)
		var times atomic.Int32
		done := make(chan struct{})
		go func() {
			defer close(done)
			tidyUp(ctx, joined, func() error { times.Add(1); return nil }, slog.New(slog.DiscardHandler))
		}()
		after := func(d time.Duration, want int32) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if n := times.Load(); n != want {
				t.Errorf("%d times, want %d", n, want)
			}
		}
		after(settleAfter-1, 0)
		joined <- struct{}{}
		after(settleAfter-1, 0)
		joined <- struct{}{}
		after(settleAfter, 1)
		after(restedAfter, 2)
		after(time.Hour, 2)
		joined <- struct{}{}
		after(settleAfter, 3)
		joined <- struct{}{}
		after(settleAfter, 4)
		after(time.Hour, 5)
		cancel()
		<-done
	})
}
