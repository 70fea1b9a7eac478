package chaos

import (
	"time"

	"github.com/hearth-edge/hearth/testnet/history"
	"github.com/hearth-edge/hearth/testnet/netns"
)

// begin takes a fault down.
func (d *Device) begin(kind history.Kind) {
	d.over[kind] = d.m.Record.Fault(kind, d.id, d.Name)
}

// end takes the end of a fault down, where the device has it.
func (d *Device) end(kind history.Kind) {
	if over := d.over[kind]; over != nil {
		over()
		delete(d.over, kind)
	}
}

func (d *Device) has(kind history.Kind) bool { return d.over[kind] != nil }

// Up reports whether its process is there.
func (d *Device) Up() bool { return !d.has(history.Kill) && !d.has(history.Stop) }

// Kill ends its process as a power cut would, but for its containers.
func (d *Device) Kill() {
	d.begin(history.Kill)
	d.node.Kill()
}

// Stop asks its process to leave.
func (d *Device) Stop() {
	d.begin(history.Stop)
	if code := d.node.Stop(); code != 0 {
		d.m.t.Errorf("%s left with exit code %d", d.Name, code)
	}
}

// Restart starts its process again, and returns when it is ready.
func (d *Device) Restart() {
	d.node = d.node.Restart()
	d.end(history.Kill)
	d.end(history.Stop)
}

// Freeze stops its process where it is.
func (d *Device) Freeze() {
	d.begin(history.Freeze)
	d.node.Freeze()
}

// Thaw ends Freeze.
func (d *Device) Thaw() {
	d.node.Thaw()
	d.end(history.Freeze)
}

// Sleep suspends the device with all that it runs, and cuts it off.
func (d *Device) Sleep() {
	d.begin(history.Sleep)
	d.Host.Isolate()
	d.node.Sleep()
}

// Wake ends Sleep.
func (d *Device) Wake() {
	d.Host.Heal()
	d.node.Wake()
	d.end(history.Sleep)
}

// Isolate cuts it off.
func (d *Device) Isolate() {
	d.begin(history.Isolate)
	d.Host.Isolate()
}

// Heal ends Isolate.
func (d *Device) Heal() {
	d.Host.Heal()
	d.end(history.Isolate)
}

// Shape makes its link bad, as a fault of that kind; the zero Link ends it.
func (d *Device) Shape(kind history.Kind, l netns.Link) {
	if l != (netns.Link{}) {
		d.begin(kind)
	}
	d.Host.Shape(l)
	if l == (netns.Link{}) {
		d.end(kind)
	}
}

// Skew sets its wall clock; 0 is right again.
func (d *Device) Skew(by time.Duration) {
	if by != 0 {
		d.begin(history.Skew)
	}
	d.node.Skew(by)
	if by == 0 {
		d.end(history.Skew)
	}
}

// FillDisk leaves no byte free for its state.
func (d *Device) FillDisk() {
	d.begin(history.FillDisk)
	d.node.FillDisk()
}

// FreeDisk ends FillDisk.
func (d *Device) FreeDisk() {
	d.node.FreeDisk()
	d.end(history.FillDisk)
}

// HangEngine makes its engine take calls and answer none.
func (d *Device) HangEngine() {
	d.begin(history.EngineHang)
	d.Engine.Hang()
}

// AnswerEngine ends HangEngine.
func (d *Device) AnswerEngine() {
	d.Engine.Answer()
	d.end(history.EngineHang)
}

// KillEngine ends its engine as a crash would.
func (d *Device) KillEngine() {
	d.begin(history.EngineDown)
	d.Engine.Kill()
}

// RestartEngine ends KillEngine.
func (d *Device) RestartEngine() {
	d.Engine.Restart()
	d.end(history.EngineDown)
}
