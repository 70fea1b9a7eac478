package runtime

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/hearth-edge/hearth/protocol"
)

// drainFile is in Config.Dir while the node drains: that it is there is all it
// says.
const drainFile = "draining"

// Drain has the node take no new work, or, with off, take it again. What it has
// taken goes on. It is written to Config.Dir first, so it lasts over restarts.
func (n *Node) Drain(off bool) error {
	n.draining.write.Lock()
	defer n.draining.write.Unlock()
	if err := writeDraining(n.cfg.Dir, !off); err != nil {
		return err
	}
	n.mu.Lock()
	n.draining.on = !off
	n.mu.Unlock()
	n.changed()
	return nil
}

// refusesNew returns why the node takes no new work at all, or nil; n.mu is held.
func (n *Node) refusesNew(load protocol.Load) *protocol.Refusal {
	switch {
	case n.leaving:
		return &protocol.Refusal{Code: protocol.CodeLeaving, Reason: "the device shuts down", Load: load}
	case n.draining.on:
		return &protocol.Refusal{Code: protocol.CodePolicy, Reason: protocol.ReasonDraining, Load: load}
	}
	return nil
}

// readDraining reports whether the node drained when it last ran.
func readDraining(dir string) (bool, error) {
	if dir == "" {
		return false, nil
	}
	_, err := os.Lstat(filepath.Join(dir, drainFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// writeDraining makes or removes the file, also where the power goes right after.
func writeDraining(dir string, on bool) error {
	if dir == "" {
		return nil
	}
	path := filepath.Join(dir, drainFile)
	if on {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	} else if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
