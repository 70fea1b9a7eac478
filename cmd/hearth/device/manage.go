package device

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
	if a.d.runtime == nil {
		return protocol.Errorf(protocol.CodeInvalid, "this device runs no work: %s", a.d.cfg.NoDriver)
	}
	err := a.d.runtime.Drain(off)
	switch {
	case err == nil:
		a.d.log.Info("draining", "on", !off)
		a.d.awaitDraining(ctx, !off)
	case errors.Is(err, syscall.ENOSPC):
		return protocol.Errorf(protocol.CodeDiskFull, "the state folder is on a full disk, so a restart would forget it")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return protocol.Errorf(protocol.CodeInternal, "the state folder cannot be written, so a restart would forget it")
	}
	return err
}

// drainTimeout bounds how long it is waited for the own status to say it.
const drainTimeout = time.Second

// awaitDraining waits until this device's own placements know, so that what is
// asked for after the answer meets it.
func (d *Device) awaitDraining(ctx context.Context, on bool) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for {
		changed := d.view.Changed()
		for _, seen := range d.view.Devices() {
			if seen.Self && seen.Status.Draining == on {
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
	a.d.log.Info("this device's owner ends it")
	a.d.endOnce.Do(func() { close(a.d.ending) })
	return nil
}

// Status implements protocol.Manager.
func (a appServer) Status(ctx context.Context, watch bool, yield func(protocol.DeviceInfo) error) error {
	return a.eachChange(ctx, watch, func() error { return yield(a.d.info()) })
}

// info is what the device knows of itself.
func (d *Device) info() protocol.DeviceInfo {
	info := protocol.DeviceInfo{
		ID: d.id, Name: d.cfg.Name, Fingerprint: string(d.cfg.Secret.Fingerprint()), Version: d.cfg.Version,
		Uptime: d.clock().Truncate(time.Second), Peers: len(d.mesh.Peers()), NoEngine: d.cfg.NoDriver,
	}
	if d.runtime == nil {
		return info
	}
	state := d.runtime.State()
	info.Running, info.Queued, info.Draining, info.NoEngine = state.Load.Running, state.Load.Queued, state.Draining, state.Reason
	if state.Ready {
		info.Engine, info.NoEngine = fmt.Sprintf("%s %s", d.driver.Name(), state.Info.Version), ""
	}
	return info
}
