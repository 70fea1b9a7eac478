package device

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// probeSize is what a check writes: as much as a request and its end take.
	probeSize = 256 << 10
	// lowState is below what space the state folder's file system soon is full.
	lowState = 64 << 20
)

const stateAdvice = "make room in its file system: without, requests are refused and ends cannot be written down"

// CheckState tells whether the state folder can be written to. It writes a file
// there: how much is free says nothing of quotas, nor of a memory card that went
// read-only.
func CheckState(dir string) protocol.Check {
	const name = "state"
	err := probe(dir)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return problem(name, stateAdvice, "the disk of the state folder %s is full", dir)
	case errors.Is(err, syscall.EROFS):
		return problem(name, "mount it to be written again; a memory card that fails goes read-only", "the file system of the state folder %s is read-only", dir)
	case err != nil:
		return problem(name, "see that its owner can write it, and that the disk is sound", "the state folder cannot be written: %v", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return problem(name, "see that the disk is sound", "the state folder cannot be looked at: %v", err)
	}
	free := protocol.Bytes(fs.Bavail) * protocol.Bytes(fs.Bsize)
	if free < lowState {
		return warning(name, stateAdvice, "%s is left on the disk of the state folder %s", free, dir)
	}
	return ok(name, "%s; %s is left on its disk", dir, free)
}

// probe writes a file to the folder, and removes it.
func probe(dir string) error {
	f, err := os.CreateTemp(dir, "doctor-")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeSize))
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}

// lends says what the device lends less than it was told to.
func (d *Device) lends() error {
	m := d.machine
	switch {
	case d.cfg.CPUs > m.CPUs:
		return fmt.Errorf("--cpus %g: this machine has %g, which it lends", float64(d.cfg.CPUs), float64(m.CPUs))
	case d.cfg.Memory > m.Memory:
		return fmt.Errorf("--memory %s: this machine has less, and lends %s", d.cfg.Memory, m.Memory)
	}
	return nil
}
