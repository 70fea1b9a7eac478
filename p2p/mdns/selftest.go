package mdns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"golang.org/x/net/ipv4"
)

// selftestTimeout is how long Selftest waits for an answer that takes a millisecond.
const selftestTimeout = 500 * time.Millisecond

var errNotAnnounced = errors.New("nothing is announced yet")

// An SelftestResult is whether a question asked by multicast on one interface came back
// to this device's own announcement, and the answer to it. A local firewall
// that blocks multicast is found thus; one in between, such as a wireless
// network that keeps its guests apart, is not.
type SelftestResult struct {
	Interface string
	// Err is nil where the answer was heard. It is a timeout where it was not.
	Err error
}

// Selftest tries each interface that is spoken on, with IPv4, and takes half a
// second for each that is silent. It may be called at any time, by any
// goroutine; it is meant for when a person asks.
func (s *Service) Selftest(ctx context.Context) []SelftestResult {
	s.mu.Lock()
	names, own := s.status.Interfaces, s.own
	s.mu.Unlock()
	var out []SelftestResult
	for _, name := range names {
		out = append(out, SelftestResult{Interface: name, Err: selftest(ctx, name, own)})
	}
	return out
}

// selftest asks for the service on one interface and waits for the instance's answer.
func selftest(ctx context.Context, name, instance string) error {
	if instance == "" {
		return errNotAnnounced
	}
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	group := group4()
	udp, err := net.ListenMulticastUDP("udp4", ifi, group)
	if err != nil {
		return fmt.Errorf("join the multicast group: %w", err)
	}
	defer udp.Close()
	defer context.AfterFunc(ctx, func() { udp.Close() })()
	conn := ipv4.NewPacketConn(udp)
	// Which interface a packet came in by is what this is about: a socket gets
	// those of every interface that any program has joined the group on.
	if err := errors.Join(
		conn.SetControlMessage(ipv4.FlagInterface, true),
		conn.SetMulticastLoopback(true),
		conn.SetReadDeadline(time.Now().Add(selftestTimeout)),
	); err != nil {
		return err
	}
	packet, err := question()
	if err != nil {
		return err
	}
	if _, err := conn.WriteTo(packet, &ipv4.ControlMessage{IfIndex: ifi.Index}, group); err != nil {
		return fmt.Errorf("send by multicast: %w", err)
	}
	buf := make([]byte, 9000)
	for {
		n, cm, _, err := conn.ReadFrom(buf)
		if err != nil {
			return err
		}
		if cm != nil && cm.IfIndex == ifi.Index && answers(buf[:n], instance) {
			return nil
		}
	}
}

// answers reports whether a packet announces the instance.
func answers(packet []byte, instance string) bool {
	h, ok := parsePacket(packet)
	return ok && slices.ContainsFunc(h.announced, func(a announcement) bool { return a.instance == instance })
}
