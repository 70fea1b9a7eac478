package mdns

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/time/rate"
)

const (
	// sourceRate and sourceBurst bound the packets a second that are decoded of
	// one address, maxSources the addresses remembered. Neighbours that say more
	// are passed over for the rest of it.
	sourceRate, sourceBurst = 20, 100
	maxSources              = 512
	// totalRate and totalBurst bound all packets, for addresses can be forged.
	totalRate, totalBurst = 500, 1000
	// panicLogInterval bounds the log lines about packets that this device panicked
	// over, since anybody can send another.
	panicLogInterval = time.Minute
)

// group4 and group6 are where everything is said.
func group4() *net.UDPAddr { return &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353} }
func group6() *net.UDPAddr { return &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: 5353} }

// An conn is the sockets that speak and listen on some interfaces, one for each IP
// family.
type conn struct {
	v4  *ipv4.PacketConn // nil where the family is not to be had
	v6  *ipv6.PacketConn
	in4 map[int]bool // the interfaces, by index
	in6 map[int]bool
	// loopback has the address to send from where the kernel would choose none.
	loopback map[int]net.IP
	reading  sync.WaitGroup
}

// open listens on ifs and hands what it hears to out, until close; what out has no
// room for is lost. It is an error if neither IP family is to be had.
func open(ifs []net.Interface, gate *packetLimiter, out chan<- received) (*conn, error) {
	c := &conn{in4: make(map[int]bool), in6: make(map[int]bool), loopback: make(map[int]net.IP)}
	err4, err6 := c.open4(ifs), c.open6(ifs)
	if c.v4 == nil && c.v6 == nil {
		return nil, fmt.Errorf("listen for multicast: %w", errors.Join(err4, err6))
	}
	if c.v4 != nil {
		c.reading.Go(func() { c.read(c.read4, c.in4, gate, out) })
	}
	if c.v6 != nil {
		c.reading.Go(func() { c.read(c.read6, c.in6, gate, out) })
	}
	return c, nil
}

// bind opens a socket on the port of mDNS, which programs share. Naming a group
// address is what makes net set the options for that.
func bind(network, base string) (*net.UDPConn, error) {
	return net.ListenUDP(network, &net.UDPAddr{IP: net.ParseIP(base), Port: 5353})
}

func (c *conn) open4(ifs []net.Interface) error {
	udp, err := bind("udp4", "224.0.0.0")
	if err != nil {
		return err
	}
	group := ipv4.NewPacketConn(udp)
	err = errors.Join(group.SetControlMessage(ipv4.FlagInterface, true), group.SetMulticastLoopback(true), group.SetMulticastTTL(255))
	for _, i := range ifs {
		if group.JoinGroup(&i, group4()) == nil {
			c.in4[i.Index] = true
			if i.Flags&net.FlagLoopback != 0 {
				c.loopback[i.Index] = net.IPv4(127, 0, 0, 1)
			}
		}
	}
	if err != nil || len(c.in4) == 0 {
		return errors.Join(err, errNoInterface, udp.Close())
	}
	c.v4 = group
	return nil
}

func (c *conn) open6(ifs []net.Interface) error {
	udp, err := bind("udp6", "ff02::")
	if err != nil {
		return err
	}
	group := ipv6.NewPacketConn(udp)
	err = errors.Join(group.SetControlMessage(ipv6.FlagInterface, true), group.SetMulticastLoopback(true), group.SetMulticastHopLimit(255))
	for _, i := range ifs {
		if group.JoinGroup(&i, group6()) == nil {
			c.in6[i.Index] = true
		}
	}
	if err != nil || len(c.in6) == 0 {
		return errors.Join(err, errNoInterface, udp.Close())
	}
	c.v6 = group
	return nil
}

func (c *conn) close() {
	if c.v4 != nil {
		_ = c.v4.Close()
	}
	if c.v6 != nil {
		_ = c.v6.Close()
	}
	c.reading.Wait()
}

// send sends a packet on one interface, or with index 0 on all; it is an error
// where it went out nowhere.
func (c *conn) send(packet []byte, index int) error {
	var errs []error
	sent := false
	note := func(_ int, err error) { errs, sent = append(errs, err), sent || err == nil }
	for i := range c.in4 {
		if index == 0 || i == index {
			note(c.v4.WriteTo(packet, &ipv4.ControlMessage{IfIndex: i, Src: c.loopback[i]}, group4()))
		}
	}
	for i := range c.in6 {
		if index == 0 || i == index {
			note(c.v6.WriteTo(packet, &ipv6.ControlMessage{IfIndex: i}, group6()))
		}
	}
	if sent {
		return nil
	}
	return fmt.Errorf("send by multicast: %w", errors.Join(errs...))
}

func (c *conn) read4(buf []byte) (int, int, net.Addr, error) {
	n, cm, from, err := c.v4.ReadFrom(buf)
	if cm == nil {
		return n, 0, from, err
	}
	return n, cm.IfIndex, from, err
}

func (c *conn) read6(buf []byte) (int, int, net.Addr, error) {
	n, cm, from, err := c.v6.ReadFrom(buf)
	if cm == nil {
		return n, 0, from, err
	}
	return n, cm.IfIndex, from, err
}

// read hands on the packets of a socket until it is closed.
func (c *conn) read(from func([]byte) (int, int, net.Addr, error), on map[int]bool, gate *packetLimiter, out chan<- received) {
	buf := make([]byte, maxPacket+1)
	for {
		n, index, addr, err := from(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// The socket gets what any program has joined on any interface.
		if udp, ok := addr.(*net.UDPAddr); err == nil && ok && on[index] && relevant(buf[:n]) {
			source := udp.AddrPort().Addr().Unmap().WithZone("")
			if !gate.allow(source) {
				continue
			}
			gate.contain(source, func() {
				if h, ok := parsePacket(buf[:n]); ok {
					h.from, h.index = source, index
					select {
					case out <- h:
					default:
					}
				}
			})
		}
	}
}

// A packetLimiter says whether a packet of a source is decoded, and what may come of it.
// It is safe for concurrent use.
type packetLimiter struct {
	log     *slog.Logger
	panics  rate.Sometimes // are logged
	mu      sync.Mutex     // owns what follows
	total   *rate.Limiter
	sources *lru.Cache[netip.Addr, *rate.Limiter]
}

func newPacketLimiter(log *slog.Logger) *packetLimiter {
	sources, err := lru.New[netip.Addr, *rate.Limiter](maxSources)
	if err != nil {
		panic(err) // only where maxSources is not positive
	}
	return &packetLimiter{log: log, panics: rate.Sometimes{First: 1, Interval: panicLogInterval}, total: rate.NewLimiter(totalRate, totalBurst), sources: sources}
}

func (l *packetLimiter) allow(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit, ok := l.sources.Get(source)
	if !ok {
		limit = rate.NewLimiter(sourceRate, sourceBurst)
		l.sources.Add(source, limit)
	}
	return limit.Allow() && l.total.Allow()
}

// contain runs f, which handles a packet of a source: if it panics, the packet is
// as good as lost, and no more.
func (l *packetLimiter) contain(source netip.Addr, f func()) {
	defer func() {
		if r := recover(); r != nil {
			stack := string(debug.Stack())
			l.panics.Do(func() { l.log.Error("panic over an mDNS packet", "address", source, "err", r, "stack", stack) })
		}
	}()
	f()
}
