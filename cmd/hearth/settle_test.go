package main

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Memory is given back once after the start and once after each burst of joins, and
// never while nothing happens.
func TestTidyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		joined, times := make(chan struct{}, 1), 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			tidyUp(ctx, joined, func() error { times++; return nil }, slog.New(slog.DiscardHandler))
		}()
		after := func(d time.Duration, want int) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if times != want {
				t.Errorf("%d times, want %d", times, want)
			}
		}
		after(settleAfter-1, 0)
		joined <- struct{}{}
		after(settleAfter-1, 0)
		joined <- struct{}{}
		after(settleAfter, 1)
		after(time.Hour, 1)
		joined <- struct{}{}
		after(settleAfter, 2)
		cancel()
		<-done
	})
}
