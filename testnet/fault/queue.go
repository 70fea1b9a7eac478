package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// The numbers of linux/netfilter/nfnetlink_queue.h that are used here.
const (
	subsystem = 3 << 8 // NFNL_SUBSYS_QUEUE

	msgPacket  = subsystem
	msgVerdict = subsystem | 1
	msgConfig  = subsystem | 2

	attrCommand   = 1 // NFQA_CFG_CMD
	attrParams    = 2
	attrMaxLength = 3

	attrPacketHeader  = 1 // NFQA_PACKET_HDR
	attrVerdictHeader = 2
	attrPayload       = 10
	attrWholeLength   = 13 // NFQA_CAP_LEN

	commandBind = 1
	copyPacket  = 2 // NFQNL_COPY_PACKET
)

// queueLength is how many packets may wait at once, in all; more are lost, as in
// a device whose buffer is full.
const queueLength = 4096

// A queue holds the packets that iptables sends to one NFQUEUE of this network
// namespace, until a verdict on each.
type queue struct {
	fd     int
	number uint16
	buf    []byte
}

// A packet waits in a queue.
type packet struct {
	id   uint32
	size int64 // bytes, on the network layer
}

func openQueue(number uint16) (*queue, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	q := &queue{fd: fd, number: number, buf: make([]byte, 1<<16)}
	if err := q.configure(); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("bind packet queue %d (does the kernel have nfnetlink_queue?): %w", number, err)
	}
	return q, nil
}

func (q *queue) configure() error {
	if err := unix.Bind(q.fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	// What does not fit is lost rather than an error.
	if err := unix.SetsockoptInt(q.fd, unix.SOL_NETLINK, unix.NETLINK_NO_ENOBUFS, 1); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(q.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		return err
	}
	params := append(binary.BigEndian.AppendUint32(nil, 1), copyPacket) // one byte of each
	for _, a := range [][]byte{
		attribute(attrCommand, []byte{commandBind, 0, 0, 0}),
		attribute(attrParams, params),
		attribute(attrMaxLength, binary.BigEndian.AppendUint32(nil, queueLength)),
	} {
		if err := q.send(msgConfig, unix.NLM_F_ACK, a); err != nil {
			return err
		}
		if _, err := q.receive(); err != nil {
			return err
		}
	}
	return nil
}

// next waits for packets.
func (q *queue) next() ([]packet, error) {
	for {
		packets, err := q.receive()
		if err != nil || len(packets) > 0 {
			return packets, err
		}
	}
}

// verdict lets a packet go on, or drops it.
func (q *queue) verdict(id uint32, accept bool) error {
	value := binary.BigEndian.AppendUint32(nil, 0)
	if accept {
		value[3] = 1
	}
	return q.send(msgVerdict, 0, attribute(attrVerdictHeader, binary.BigEndian.AppendUint32(value, id)))
}

func (q *queue) send(kind, flags uint16, attributes []byte) error {
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+4+len(attributes)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|flags)
	m = append(m, make([]byte, 8)...)              // sequence, port
	m = append(m, unix.AF_UNSPEC, 0)               // family, version
	m = binary.BigEndian.AppendUint16(m, q.number) // and so nfgenmsg is whole
	return unix.Sendto(q.fd, append(m, attributes...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// receive reads one datagram: packets, or the acknowledgement of a command.
func (q *queue) receive() ([]packet, error) {
	n, _, err := unix.Recvfrom(q.fd, q.buf, 0)
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// The kernel does not fill up the last message; the parser insists on it.
	messages, err := syscall.ParseNetlinkMessage(q.buf[:aligned(n)])
	if err != nil {
		return nil, err
	}
	var packets []packet
	for _, m := range messages {
		switch m.Header.Type {
		case unix.NLMSG_ERROR:
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code != 0 {
				return nil, unix.Errno(-code)
			}
		case msgPacket:
			packets = append(packets, parsePacket(m.Data[4:]))
		}
	}
	return packets, nil
}

func parsePacket(attributes []byte) packet {
	var p packet
	for len(attributes) >= 4 {
		size := int(binary.NativeEndian.Uint16(attributes))
		if size < 4 || size > len(attributes) {
			break
		}
		value := attributes[4:size]
		switch binary.NativeEndian.Uint16(attributes[2:]) &^ unix.NLA_F_NESTED {
		case attrPacketHeader:
			p.id = binary.BigEndian.Uint32(value)
		case attrPayload:
			p.size = max(p.size, int64(len(value)))
		case attrWholeLength:
			p.size = int64(binary.BigEndian.Uint32(value))
		}
		attributes = attributes[min(aligned(size), len(attributes)):]
	}
	return p
}

func attribute(kind uint16, value []byte) []byte {
	a := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	a = append(binary.NativeEndian.AppendUint16(a, kind), value...)
	return append(a, make([]byte, aligned(len(a))-len(a))...)
}

func aligned(n int) int { return (n + 3) &^ 3 }
