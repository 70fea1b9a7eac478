package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

const testImage = "hearth-drivertest:conformance"

// newTestDriver returns a driver of a node and mesh of its own.
func newTestDriver(t testing.TB, change ...func(*Config)) *Driver {
	t.Helper()
	cfg := Config{
		ConfigDir: t.TempDir(),
		Mesh:      fmt.Sprintf("drivertest-%d", os.Getpid()), // others may run these tests too
		Node:      "drivertest",
		MayAsk:    testRegistries,
		Log:       slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&cfg)
	}
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d.lookUp = func(context.Context, string, string) ([]netip.Addr, error) {
		return nil, errors.New("no network in tests")
	}
	return d
}

// testRegistries names those of tests, which are on this machine.
func testRegistries(registry string, logins []string) (bool, error) {
	policy := runtime.DefaultPolicy()
	if strings.HasPrefix(registry, "127.0.0.1:") {
		policy.Registries = []string{registry}
	}
	return policy.MayAsk(registry, logins)
}

func unique() string { return strings.ToLower(rand.Text()[:8]) }

func TestConformance(t *testing.T) {
	runtimetest.BusyboxImage(t, testImage)
	const interrupted = "hearth-drivertest:interrupted"
	runtimetest.InterruptedImage(t, interrupted)
	runtimetest.Conformance(t, func(t *testing.T) runtime.Driver {
		return newTestDriver(t)
	}, runtimetest.Options{
		Image:   testImage,
		Missing: newRegistry(t).ref("missing"), Interrupted: interrupted,
		Script: runtimetest.BusyboxScript(),
	})
}
