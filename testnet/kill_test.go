package testnet_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet/chaos"
)

// kills is how often TestKills kills a device.
const kills = 100

// TestKills: kill -9 of devices that ask and run, a hundred times while requests
// run, now and then of two at once: nothing that was accepted is forgotten,
// nothing runs twice, no container is left, and what is told is true.
//
// It takes the machine's engine for a while, so it runs beside no other test.
func TestKills(t *testing.T) {
	const seed = 20
	random := rand.New(rand.NewPCG(seed, 0))
	m := chaos.Start(t, chaos.Options{Seed: seed, Devices: 5})
	load := m.Load(chaos.LoadOptions{Apps: 2, Lines: 10, Every: 200 * time.Millisecond, Timeout: 5 * time.Minute})
	for killed := 0; killed < kills; {
		m.AwaitStarts(2)
		victims := m.Devices[:0:0]
		for _, i := range random.Perm(len(m.Devices))[:1+random.IntN(2)] {
			victims = append(victims, m.Devices[i])
		}
		for _, d := range victims {
			d.Kill()
			killed++
		}
		for _, d := range victims {
			d.Restart()
		}
	}
	m.Settle(load)
}
