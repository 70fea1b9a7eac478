package main

import (
	"testing"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
)

// A device has a driver whether or not there is an engine when it starts, unless
// it was told not to; only one that was told to have one misses it.
func TestChooseDriver(t *testing.T) {
	for name, want := range map[string]struct{ runs, optional bool }{
		"": {true, true}, "docker": {true, false}, "none": {false, false},
	} {
		c, cfg := &cli{drivers: drivers()}, device.DefaultConfig()
		c.chooseDriver(name, &cfg)
		if (cfg.Driver != nil) != want.runs || (cfg.Reaper != nil) != want.runs || cfg.EngineOptional != want.optional {
			t.Errorf("--driver %q: driver %v, reaper %v, optional %v", name, cfg.Driver != nil, cfg.Reaper != nil, cfg.EngineOptional)
		}
	}
}
