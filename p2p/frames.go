package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// What follows the handshake on a connection is frames, which each side sends
// whenever it wants to:
//
//	kind (1 byte), length of the body (3 bytes, big endian), body
//
// The first frame of each side is a start, whose body is the number of the device's
// start (8 bytes); the listener's comes after the dialler's (startexchange.go). A copy says
// that another device runs with a copy of this one's state folder: its body is 1 where
// this connection is refused for that, else 0, and the address of the other device. A
// name says that this device's name is another's for the sender: its body is the ID of
// that one, or empty where it is not so any more. A forget lists names that the
// sender's owner has forgotten (names.go).
//
// The body of a ping is 4 bytes that mean something to its sender only, and the
// round trip time that the sender measured last, in microseconds (big endian, 0
// before the first). The other side sends it back as an echo. A goodbye, which says
// that the device leaves, is answered with a farewell; neither has a body. The body
// of a status is the device's own, encoded as for gossip: each side hands over its
// latest first of all. The body of a pick is one byte, which says whether the sender
// picks the other side to gossip with (1) or no longer does (0). Frames of gossip, which
// come after the pick that they are for, carry what pubsub says, a message each. Frames of streams
// carry yamux, a whole message each; the side that dialled is its client. A device that
// needs the other's own status asks for it (wanted), without a body. Frames of other kinds
// are passed over.
const (
	framePing byte = iota + 1
	frameEcho
	frameGoodbye
	frameGoodbyeAck
	frameStatus
	framePick
	frameGossip
	frameStreams
	frameStatusRequest
	frameStart
	frameCopy
	frameName
	frameForgotten
)

const (
	// headSize is the length of a frame's kind and length.
	headSize = 4
	// maxStreamsBody is the longest body of a frame of streams that is sent.
	maxStreamsBody = 1<<24 - 1
	// maxGossip is the longest body of a frame of gossip, maxBody of all others: a status.
	maxGossip, maxBody = maxGossipMessage + binary.MaxVarintLen32, protocol.MaxStatus
	// pingSize is the length of a ping's body.
	pingSize = 8
	// maxRTT bounds what is taken for a round trip time.
	maxRTT = time.Minute
)

// putHead writes the head of a frame.
func putHead(head []byte, kind byte, length int) {
	binary.BigEndian.PutUint32(head, uint32(kind)<<24|uint32(length))
}

// readHead takes the head of a frame; it refuses bodies that no frame of the kind has.
func readHead(head []byte) (kind byte, length int, err error) {
	kind, length = head[0], int(binary.BigEndian.Uint32(head)&maxStreamsBody)
	most := maxBody
	switch kind {
	case frameStreams:
		most = maxStreamsBody
	case frameGossip:
		most = maxGossip
	}
	switch {
	case kind == frameStart && length != startSize:
		err = errors.New("a start that is none")
	case (kind == frameCopy || kind == frameName) && length > 1+maxCopyAddress:
		err = errors.New("a notice that is too long")
	case length > most:
		err = fmt.Errorf("a frame of %d bytes where at most %d are allowed", length, most)
	case (kind == framePing || kind == frameEcho) && length != pingSize:
		err = errors.New("a ping that is none")
	case kind == framePick && length != 1:
		err = errors.New("a pick that is none")
	}
	return kind, length, err
}

// pingBody is the body of a ping at a time since the sender's start.
func pingBody(at, rtt time.Duration) []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(at.Microseconds()))
	return binary.BigEndian.AppendUint32(body, uint32(min(rtt.Microseconds(), math.MaxUint32)))
}

// roundTrip returns how long the ping with this body was under way; 0 if that makes
// no sense.
func roundTrip(body []byte, now time.Duration) time.Duration {
	return validRTT(uint32(now.Microseconds()) - binary.BigEndian.Uint32(body))
}

// reportedRTT returns the round trip time that the ping's sender measured; 0 for none.
func reportedRTT(body []byte) time.Duration { return validRTT(binary.BigEndian.Uint32(body[4:])) }

func validRTT(micros uint32) time.Duration {
	if rtt := time.Duration(micros) * time.Microsecond; rtt < maxRTT {
		return rtt
	}
	return 0
}
