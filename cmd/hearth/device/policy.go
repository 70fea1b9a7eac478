package device

import (
	"context"
	"path/filepath"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/docker"
	"github.com/hearth-edge/hearth/runtime/machine"
)

// Here is what a policy has to know of this machine, for a device with its
// state in that folder that lends all it has. No device need run; where no
// engine answers, its usual places count.
func Here(ctx context.Context, stateDir string) (runtime.Here, error) {
	m, err := machine.New(machine.Config{Dir: stateDir})
	if err != nil {
		return runtime.Here{}, err
	}
	private, err := privatePaths(stateDir)
	if err != nil {
		return runtime.Here{}, err
	}
	var info runtime.Info
	var logins []string
	_ = askEngine(ctx, func(ctx context.Context, d *docker.Driver) (err error) {
		logins = d.Logins()
		info, err = d.Info(ctx)
		return err
	})
	here := runtime.HereFor(info, runtime.Lent{CPUs: m.CPUs, Memory: m.Memory}, m.Accelerators(), private)
	here.Has, here.Logins = info.Has, func() []string { return logins }
	return here, nil
}

// privatePaths are this device's own that no container is to see.
func privatePaths(stateDir string) ([]string, error) {
	state, err := filepath.Abs(stateDir)
	return []string{state}, err
}
