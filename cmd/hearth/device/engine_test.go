package device

import (
	"context"
	"testing"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// TestEngineThatComesLater: a device that is started without its engine is in the
// mesh, is no node and finds nothing wrong with that; when the engine comes it is one.
func TestEngineThatComesLater(t *testing.T) {
	engine := fake.NewEngine(fake.Config{})
	defer engine.Close()
	engine.SetDown(true)
	cfg := DefaultConfig()
	cfg.Secret, cfg.Name, cfg.StateDir = keys.NewSecret(), "kitchen", t.TempDir()
	cfg.Listen = []ma.Multiaddr{ma.StringCast("/ip4/127.0.0.1/tcp/0")}
	cfg.NoDiscovery, cfg.CPUs, cfg.Speed, cfg.EngineOptional = true, 4, 1, true
	cfg.Driver = func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
		return engine.Driver(string(mesh), self), nil
	}
	n, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	awaitRole := func(want protocol.Role) {
		t.Helper()
		for {
			changed := n.view.Changed()
			if ds := n.view.Devices(); len(ds) == 1 && ds[0].Status.Role == want && ds[0].Status.Name != "" {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				t.Fatalf("the device has not become a %v", want)
			}
		}
	}
	awaitRole(protocol.RoleDevice)
	if c := n.checkEngine(); c.Level != protocol.LevelWarning {
		t.Errorf("without an engine: %+v", c)
	}
	engine.SetDown(false)
	awaitRole(protocol.RoleNode)
	if c := n.checkEngine(); c.Level != protocol.LevelOK {
		t.Errorf("with an engine: %+v", c)
	}
	engine.SetDown(true)
	awaitRole(protocol.RoleDevice)
	if c := n.checkEngine(); c.Level != protocol.LevelProblem {
		t.Errorf("when the engine is gone: %+v", c)
	}
}
