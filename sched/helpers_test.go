package sched

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

const gib = protocol.Bytes(1 << 30)

// nodeStatus is the status of an idle node that has the image "busybox".
func nodeStatus(id protocol.PeerID, speed float64, slots int) protocol.Status {
	s := protocol.Status{
		Node: id, Name: "name-" + string(id), Sequence: 1, Interval: time.Second, Role: protocol.RoleNode,
		Speed: speed, CPUs: protocol.Cores(slots), CPUFree: protocol.Cores(slots), Slots: uint32(slots),
		MemoryTotal: 4 * gib, MemoryFree: 4 * gib, DiskFree: 64 * gib,
		Arch: "amd64", OS: "linux", Drivers: []string{"docker"},
		Images: []uint32{protocol.HashImage("busybox")},
	}
	s.Score = DefaultParams().Rate(&s)
	return s
}
