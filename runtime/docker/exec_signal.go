package docker

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
)

// Signal implements runtime.Process. Engines have no call for it. So hearth sends
// the signal itself, where it may: as root, or to what runs as the same user.
// Else it has a shell in the container send it.
func (p *process) Signal(ctx context.Context, signal string) error {
	told, err := p.started(ctx)
	if err != nil || !told.Running {
		return err
	}
	if p.driver.socket() != "" {
		err = signalProcess(told.Pid, told.ContainerID, signal)
		if errors.Is(err, syscall.ESRCH) {
			return nil
		}
		if err == nil || !errors.Is(err, fs.ErrPermission) {
			return err
		}
		if inside, ok := pidInside(told.Pid); ok && isProcessOf(told.Pid, told.ContainerID) {
			return p.signalInside(ctx, signal, inside)
		}
	}
	return protocol.Errorf(protocol.CodeConflict, "the signal cannot be sent: hearth has no right to, and does not see the engine's processes")
}

// started waits until the engine knows the process, or its end.
func (p *process) started(ctx context.Context) (container.ExecInspect, error) {
	for pause := execPause; ; pause *= 2 {
		told, err := p.inspect(ctx)
		if err != nil || !told.Running || told.Pid != 0 {
			return told, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return told, ctx.Err()
		}
	}
}

// signalInside runs "kill" in the container, as the command's own user: the image
// brings that program, and it may be no more than what it signals.
func (p *process) signalInside(ctx context.Context, signal string, pid int) error {
	return p.driver.within(ctx, askTimeout, "signal a command", func(ctx context.Context) error {
		c := p.driver.client.Load()
		made, err := c.ContainerExecCreate(ctx, p.container, container.ExecOptions{
			User: p.user, Cmd: []string{"sh", "-c", "kill -s " + signal + " " + strconv.Itoa(pid)},
		})
		if err == nil {
			err = c.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{Detach: true})
		}
		return explainExec(err)
	})
}

// pidInside returns the number that a process of this machine has in its own
// namespace.
func pidInside(pid int) (int, bool) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, false
	}
	for line := range bytes.Lines(status) {
		if numbers, ok := strings.CutPrefix(string(line), "NSpid:"); ok {
			fields := strings.Fields(numbers)
			if len(fields) == 0 {
				return 0, false
			}
			inside, err := strconv.Atoi(fields[len(fields)-1])
			return inside, err == nil && inside > 1
		}
	}
	return 0, false
}
