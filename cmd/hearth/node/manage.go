package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// Drain implements protocol.Manager.
func (a appServer) Drain(ctx context.Context, off bool) error {
	if a.n.runtime == nil {
		return protocol.Errorf(protocol.CodeInvalid, "this device runs no work: %s", a.n.cfg.NoDriver)
	}
	err := a.n.runtime.Drain(off)
	switch {
	case err == nil:
		a.n.log.Info("draining", "on", !off)
		a.n.awaitDraining(ctx, !off)
	case errors.Is(err, syscall.ENOSPC):
		return protocol.Errorf(protocol.CodeDiskFull, "the state folder is on a full disk, so a restart would forget it")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return protocol.Errorf(protocol.CodeInternal, "the state folder cannot be written, so a restart would forget it")
	}
	return err
}

// drainTold bounds how long it is waited for the own score to say it.
const drainTold = time.Second

// awaitDraining waits until this device's own placements know, so that what is
// asked for after the answer meets it.
func (n *Node) awaitDraining(ctx context.Context, on bool) {
	ctx, cancel := context.WithTimeout(ctx, drainTold)
	defer cancel()
	for {
		changed := n.view.Changed()
		for _, d := range n.view.Devices() {
			if d.Self && d.Score.Draining == on {
				return
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Down implements protocol.Manager. Run ends the streams of apps last, so the
// answer is heard.
func (a appServer) Down(context.Context) error {
	a.n.log.Info("this device's owner ends it")
	a.n.endOnce.Do(func() { close(a.n.ending) })
	return nil
}

// Status implements protocol.Manager.
func (a appServer) Status(ctx context.Context, watch bool, yield func(protocol.DeviceInfo) error) error {
	return a.eachChange(ctx, watch, func() error { return yield(a.n.info()) })
}

// info is what the device knows of itself.
func (n *Node) info() protocol.DeviceInfo {
	d := protocol.DeviceInfo{
		ID: n.id, Name: n.cfg.Name, Fingerprint: string(n.cfg.Secret.Fingerprint()), Version: n.cfg.Version,
		Uptime: n.clock().Truncate(time.Second), Peers: len(n.mesh.Peers()), NoEngine: n.cfg.NoDriver,
	}
	if n.runtime == nil {
		return d
	}
	state := n.runtime.State()
	d.Running, d.Queued, d.Draining, d.NoEngine = state.Load.Running, state.Load.Queued, state.Draining, state.Reason
	if state.Ready {
		d.Engine, d.NoEngine = fmt.Sprintf("%s %s", n.driver.Name(), state.Info.Version), ""
	}
	return d
}
