package testnet_test

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/chaos"
)

// TestPartition: a mesh of five under load is parted into two and three, and
// healed, twice with other groups: once for longer than a lease and than a lost
// connection is waited for, once for less. Requests of both deliveries are asked
// for on both sides and cross over when it happens.
//
// It takes the machine's engine for a while, so it runs beside no other test.
func TestPartition(t *testing.T) {
	m := chaos.Start(t, chaos.Options{Seed: 2, Devices: 5})
	load := m.Load(chaos.LoadOptions{Apps: 2, Lines: 20, Every: 200 * time.Millisecond, Timeout: 5 * time.Minute})
	for _, p := range []struct {
		first []*chaos.Device
		last  time.Duration
	}{{m.Devices[:2], 35 * time.Second}, {m.Devices[2:4], 5 * time.Second}} {
		m.AwaitStarts(10)
		heal := m.Partition(p.first...)
		timer := time.NewTimer(p.last)
		m.AwaitStarts(2)
		<-timer.C
		heal()
		m.AwaitStarts(5)
	}
	m.Settle(load)
}
