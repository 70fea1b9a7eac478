package runtime_test

import (
	"io/fs"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// TestPrivatePathsOfEngines: what gives power over an engine, that of a user
// included, is lent only where it is named itself.
func TestPrivatePathsOfEngines(t *testing.T) {
	here := runtime.Here{Lent: plenty.Lent, Look: func(p string) (runtime.File, error) {
		return runtime.File{Path: p, Mode: fs.ModeDir | 0o755}, nil
	}}
	for _, c := range []struct {
		lent, asked string
		refused     bool
	}{
		{"/run/user", "/run/user/1000/docker.sock", true},
		{"/run/user", "/run/user", true},
		{"/run/user/1000", "/run/user/1000", true},
		{"/run/user/1000", "/run/user/1000/podman/podman.sock", true},
		{"/run/user/1000", "/run/user/1000/pulse", false},
		{"/run/user/1000/docker.sock", "/run/user/1000/docker.sock", false},
		{"/run/balena-engine", "/run/balena-engine", false}, // named itself
		{"/run", "/run/balena-engine.sock", true},
		{"/run", "/run/balena", true},
		{"/run", "/run/crun", true},
		{"/run", "/run/k3s/containerd/containerd.sock", true},
		{"/run/k3s", "/run/k3s", true},
		{"/srv", "/srv/run/user/1000/docker.sock", false},
	} {
		p := runtime.DefaultPolicy()
		p.Mounts = []string{c.lent}
		_, code, reason := refusal(p, me, protocol.Service{Mounts: []protocol.Mount{{Source: c.asked, Target: "/in"}}}, here)
		if (code == protocol.CodePolicy) != c.refused || code != protocol.CodeNone && !c.refused {
			t.Errorf("%s of %s: %v %s", c.asked, c.lent, code, reason)
		}
	}
}
