package p2p

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

const (
	// startSize is the length of a start's body.
	startSize = 8
	// maxCopyAddress bounds the address in a frame that tells of a copy.
	maxCopyAddress = 128
)

// errCopy ends a connection, because another device with the same ID is connected.
var errCopy = errors.New("another device runs with a copy of this device's state folder")

// A startExchange begins each connection after its handshake: both sides send
// the number of their start. A second number under one ID is a restarted
// device, or a device with a copy of the state folder.
type startExchange struct {
	start uint64 // of this device
	// admit reports whether a connection to a device of that start may be, else where
	// another device of the same ID is connected. It may take minAnswerTimeout.
	admit func(c *memberConn) (other string, ok bool)
	// onRefused is told where another device of this device's own ID is, that came first.
	onRefused func(addr string)
}

// run runs it. The dialler speaks first. The connection's owner closes it where
// exchange fails.
func (e *startExchange) run(c *memberConn, server bool) error {
	if err := c.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return err
	}
	own := binary.BigEndian.AppendUint64(nil, e.start)
	if !server {
		if err := writeStartFrame(c, frameStart, own); err != nil {
			return err
		}
	}
	if err := e.receive(c); err != nil {
		return err
	}
	if other, ok := e.admit(c); !ok {
		return errors.Join(fmt.Errorf("two devices with the ID %s: one is connected at %s", c.RemotePeer(), other), writeStartFrame(c, frameCopy, copyBody(true, other)))
	}
	if server {
		if err := writeStartFrame(c, frameStart, own); err != nil {
			return err
		}
	}
	return c.SetDeadline(time.Time{})
}

// receive takes the first frame of the other side.
func (e *startExchange) receive(c *memberConn) error {
	var head [headSize]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	kind, length, err := readHead(head[:])
	if err != nil {
		return err
	}
	if kind != frameStart && kind != frameCopy {
		return fmt.Errorf("a frame of kind %d before that of the start", kind)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(c, body); err != nil {
		return err
	}
	if kind == frameCopy {
		_, addr := readCopy(body)
		e.onRefused(addr)
		return errCopy
	}
	c.start = binary.BigEndian.Uint64(body)
	return nil
}

func writeStartFrame(w io.Writer, kind byte, body []byte) error {
	frame := make([]byte, headSize, headSize+len(body))
	putHead(frame, kind, len(body))
	_, err := w.Write(append(frame, body...))
	return err
}

func copyBody(refused bool, addr string) []byte {
	body := []byte{0}
	if refused {
		body[0] = 1
	}
	return append(body, addr[:min(len(addr), maxCopyAddress)]...)
}

// readCopy reads what copyBody wrote. The address is empty where it is none.
func readCopy(body []byte) (refused bool, addr string) {
	if len(body) == 0 {
		return false, ""
	}
	if at, err := netip.ParseAddrPort(string(body[1:])); err == nil {
		addr = netip.AddrPortFrom(at.Addr().WithZone(""), at.Port()).String()
	}
	return body[0] != 0, addr
}
