package testnet_test

import (
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/chaos"
)

// TestSleepingDevice: a device that asks and runs is suspended for 75 s, with its
// engine and containers, while the others go on: longer than a lease, than a lost
// connection is waited for, and than a status counts. It comes back without
// anyone's help, runs what it is given, and no request was told a lie.
func TestSleepingDevice(t *testing.T) {
	t.Parallel()
	m := chaos.Start(t, chaos.Options{Seed: 3, Devices: 3, Engines: true, Clocks: true})
	// An app whose request is asleep waits; that of all apps it is can hardly be.
	load := m.Load(chaos.LoadOptions{Apps: 4, Lines: 20, Every: 200 * time.Millisecond, Timeout: 5 * time.Minute})
	m.AwaitStarts(6)
	asleep := m.Devices[0]
	asleep.AwaitStarts(1)
	asleep.Sleep()
	timer := time.NewTimer(75 * time.Second)
	m.AwaitStarts(4)
	<-timer.C
	asleep.Wake()
	asleep.AwaitStarts(1)
	m.WaitAll()
	m.Settle(load)
}
