package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// After the handshake a connection carries frames. Each side sends at any time:
//
//	kind (1 byte), length of the body (3 bytes, big endian), body
//
//	start           number of the device's start (8 bytes); the first frame of
//	                each side, the dialler's first (startexchange.go)
//	copy            1 if this connection is refused, else 0; address of the device
//	                that runs with a copy of the receiver's state folder
//	name            ID of the device that holds the receiver's name; empty again
//	                when the receiver holds it
//	forgotten       names that the sender's owner has forgotten (names.go)
//	ping            4 bytes of the sender's choice; its last round trip time in
//	                microseconds (big endian), 0 before the first
//	echo            body of the ping that it answers
//	goodbye         the sender leaves
//	goodbye ack     answer to goodbye
//	status          the sender's status, encoded as for gossip; the latest is sent
//	                first of all
//	status request  asks for the receiver's own status
//	pick            1 if the sender picks the receiver for gossip, else 0
//	gossip          one message of pubsub; follows the pick
//	streams         one whole message of yamux; the dialler is its client
//
// Frames of other kinds are ignored.
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
