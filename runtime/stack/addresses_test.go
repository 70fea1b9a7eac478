package stack

import (
	"context"
	"testing"
	"time"
)

// TestWatchAddressesEndsWithItsContext: there is real news on machines that tests
// change, so only the end is certain.
func TestWatchAddressesEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- watchAddresses(ctx, func() {}) }()
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on after its context has ended")
	}
}
