//go:build !linux

package reaper

import (
	"context"
	"time"
)

// sleep waits for d, and reports false where ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool { return sleepAwake(ctx, d) }
