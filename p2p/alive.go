package p2p

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	libp2pproto "github.com/libp2p/go-libp2p/core/protocol"

	"github.com/hearth-edge/hearth/protocol"
)

// aliveProtocol is spoken on each connection, over one stream that stays open. The
// device that dialled opens it; both send frames on it, whenever they want to:
//
//	uvarint length, kind, body
//
// The body of a ping is 4 bytes that mean something to its sender only, and the
// round trip time that the sender measured last, in microseconds (big endian, 0
// before the first). The other side sends it back as an echo. A goodbye, which says
// that the device leaves, is answered with a farewell; neither has a body. The body
// of a score is the device's own, encoded as for gossip: each side hands over its
// latest as soon as the stream is there, and further ones until gossip reaches the
// other. Frames of other kinds are passed over.
const aliveProtocol libp2pproto.ID = "/hearth/alive/1.0.0"

const (
	framePing byte = iota + 1
	frameEcho
	frameGoodbye
	frameFarewell
	frameScore
)

const (
	// pingSize is the length of a ping's body.
	pingSize = 8
	// maxAliveFrame is the longest frame: a score.
	maxAliveFrame = 1 + protocol.MaxScore
	// maxRTT bounds what is taken for a round trip time.
	maxRTT = time.Minute
	// aliveBuffer is how much of a connection's frames is read at once.
	aliveBuffer = 64
)

// readAlive reads one frame.
func readAlive(r frameReader) (kind byte, body []byte, err error) {
	data, err := readFrame(r, maxAliveFrame)
	if err != nil {
		return 0, nil, err
	}
	if len(data) == 0 {
		return 0, nil, errors.New("a frame without a kind")
	}
	kind, body = data[0], data[1:]
	if (kind == framePing || kind == frameEcho) && len(body) != pingSize {
		return 0, nil, errors.New("a ping that is none")
	}
	return kind, body, nil
}

// pingBody is the body of a ping at a time since the sender's start.
func pingBody(at, rtt time.Duration) []byte {
	body := binary.BigEndian.AppendUint32(nil, uint32(at.Microseconds()))
	return binary.BigEndian.AppendUint32(body, uint32(min(rtt.Microseconds(), math.MaxUint32)))
}

// echoed returns how long the ping with this body was under way; 0 if that makes
// no sense.
func echoed(body []byte, now time.Duration) time.Duration {
	return validRTT(uint32(now.Microseconds()) - binary.BigEndian.Uint32(body))
}

// told returns the round trip time that the ping's sender measured; 0 for none.
func told(body []byte) time.Duration { return validRTT(binary.BigEndian.Uint32(body[4:])) }

func validRTT(micros uint32) time.Duration {
	if rtt := time.Duration(micros) * time.Microsecond; rtt < maxRTT {
		return rtt
	}
	return 0
}
