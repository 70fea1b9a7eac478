package p2p

import (
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// A Peer is a member of the mesh that this device is connected to.
type Peer struct {
	ID protocol.PeerID
	// Name is the name to show: the claimed one, with the end of the ID if
	// another device holds that.
	Name string
	// ClaimedName is the name that it claims.
	ClaimedName string
	// Rival is the device that holds this device's name, as the peer sees it;
	// usually empty.
	Rival protocol.PeerID
	// Address is the other end of the live connection, as a multiaddr.
	Address string
	// RTT of the pings, smoothed; 0 until the first one came back.
	RTT time.Duration
}

// Departure says how a peer went.
type Departure uint8

const (
	// Stayed is what a joining peer is reported with.
	Stayed Departure = iota
	// Left means that it said goodbye.
	Left
	// Lost means a broken connection or a silent device.
	Lost
)

// String returns "stayed", "left" or "lost".
func (d Departure) String() string {
	switch d {
	case Left:
		return "left"
	case Lost:
		return "lost"
	default:
		return "stayed"
	}
}

// A Stranger is a device of another mesh that was seen nearby.
type Stranger struct {
	// Address it was seen at: a multiaddr or an IP address.
	Address string
	// Fingerprint of its mesh; empty where it did not tell.
	Fingerprint string
}

// A Conflict is a name that a connected device claims and another one has.
type Conflict struct {
	Name string
	// Holder is the device that has the name; empty where too many names have one.
	Holder protocol.PeerID
	// Claimant is the connected device, which is called Shown here.
	Claimant protocol.PeerID
	Shown    string
	// Address of the claimant's connection.
	Address string
}

// A Copy is a device that runs with a copy of another's state folder, and so with its
// ID. It was seen within the last minutes.
type Copy struct {
	// Of is the ID that both have.
	Of protocol.PeerID
	// Address is the IP address of the copy, since its port is unknown. First
	// is that of the first device; empty if that is this one.
	Address, First string
	// Refused says that this device came second. Others refuse it, and Address
	// is that of the first.
	Refused bool
}

// Stats counts what was turned away.
type Stats struct {
	// Statuses counts dropped statuses by reason: "size", "rate", "malformed",
	// "subject", "name" and "sequence". "garbled" is malformed gossip,
	// "unknown" too many statuses of unconnected devices from one neighbour.
	// "early" and "indirect" are forwarded statuses of a device that sent none
	// itself yet, in the first moment after it joined and later.
	Statuses map[string]uint64
	// Evicted are connections that were closed before they proved anything, because
	// there were too many.
	Evicted uint64
	// Strangers are handshakes with devices that are no members.
	Strangers uint64
}

// DiscoveryStatus says how discovery on the local network is doing.
type DiscoveryStatus struct {
	// Enabled is false where discovery was not asked for.
	Enabled bool
	// Interfaces that are used, by name.
	Interfaces []string
	// LastSeen is when another device's announcement last came in; zero if
	// never.
	LastSeen time.Time
	// Err is why discovery does not work now; nil if it does.
	Err error
}
