package forward

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/p2p/netif"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/protocoltest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a failing test waits.
const patience = 10 * time.Second

// echo is a container that sends back what comes, after its name.
func echo(name string) Dial {
	return func(context.Context) (protocol.Stream, error) {
		near, far := protocoltest.Pipe()
		go func() {
			_, _ = io.WriteString(far, name)
			_, _ = io.Copy(far, far)
			_ = far.Close()
		}()
		return near, nil
	}
}

// serveTCP runs TCP until the test ends.
func serveTCP(t *testing.T, dial Dial, failed func(error)) (address string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- TCP(ctx, l, dial, failed) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("TCP: %v", err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func TestTCPKeepsHalfCloses(t *testing.T) {
	address, _ := serveTCP(t, echo("a"), func(err error) { t.Error(err) })
	c := dialTCP(t, address)
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	go func() {
		_, _ = c.Write(sent)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, append([]byte("a"), sent...)) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent)+1, err)
	}
}

func TestTCPResetsWhatCannotBeCarried(t *testing.T) {
	why := make(chan error, 1)
	address, _ := serveTCP(t, func(context.Context) (protocol.Stream, error) { return nil, errors.New("no way") }, func(err error) { why <- err })
	if c, err := net.DialTimeout("tcp", address, patience); err == nil { // else the reset came first
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if err := <-why; err.Error() != "no way" {
		t.Errorf("told %v", err)
	}
	address, stop := serveTCP(t, echo("a"), func(err error) { t.Error(err) })
	c := dialTCP(t, address)
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the listener ended, and the connection in order")
	}
}

func TestTCPBoundsConnections(t *testing.T) {
	told := make(chan error, 1)
	address, _ := serveTCP(t, echo("a"), func(err error) {
		select {
		case told <- err:
		default:
		}
	})
	for range maxConns {
		if _, err := io.ReadFull(dialTCP(t, address), make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := net.DialTimeout("tcp", address, patience); err == nil { // else the reset came first
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); err == nil {
			t.Errorf("%d bytes on one too many", n)
		}
	}
	if err := <-told; protocol.CodeOf(err) != protocol.CodeOverloaded {
		t.Errorf("told %v", err)
	}
}

// datagrams is a container whose datagrams a test sees as a connection.
func datagrams(ends chan<- net.Conn) Dial {
	return func(context.Context) (protocol.Stream, error) {
		near, far := protocoltest.Pipe()
		inside, outside := net.Pipe()
		go func() {
			_ = protocol.Join(context.Background(), far, protocol.FrameDatagrams(protocol.NetStream(inside)))
		}()
		ends <- outside
		return near, nil
	}
}

func TestUDPCarriesEachSender(t *testing.T) {
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan net.Conn, 4)
	done := make(chan error, 1)
	go func() { done <- UDP(ctx, conn, datagrams(ends), func(err error) { t.Error(err) }) }()
	buf := make([]byte, maxDatagram)
	for _, text := range []string{"one", "two"} {
		c, err := net.Dial("udp", conn.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		end := <-ends
		defer end.Close()
		_ = end.SetDeadline(time.Now().Add(patience))
		if n, err := end.Read(buf); err != nil || string(buf[:n]) != text {
			t.Errorf("%q, %v", buf[:n], err)
		}
		if _, err := end.Write([]byte("back to " + text)); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "back to "+text {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("UDP: %v", err)
	}
}

// bench is Ports under test.
type bench struct {
	t       *testing.T
	ports   *Ports
	dialled chan Published
	addrs   atomic.Pointer[[]string]
}

func newBench(t *testing.T, public bool) *bench {
	b := &bench{t: t, dialled: make(chan Published, 64)}
	b.addrs.Store(&[]string{"127.0.0.1"})
	b.ports = New(Config{
		Dial: func(ctx context.Context, p Published) (protocol.Stream, error) {
			b.dialled <- p
			return echo(string(p.Stack) + "@" + string(p.Holder))(ctx)
		},
		Public: public, Log: slog.New(slog.DiscardHandler),
		interfaces: func([]string) ([]netif.Interface, error) {
			i := netif.Interface{Name: "lan"}
			for _, a := range *b.addrs.Load() {
				i.Addrs = append(i.Addrs, netip.MustParseAddr(a))
			}
			return []netif.Interface{i}, nil
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.ports.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

// freePort returns one that nobody has.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// says waits until a connection to the address is answered so; empty is refused.
func (b *bench) says(address string, port uint16, want string) {
	b.t.Helper()
	last := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), port).String(), patience)
		if err != nil {
			if last = err.Error(); want == "" {
				return
			}
			continue
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_ = c.(*net.TCPConn).CloseWrite()
		got, _ := io.ReadAll(c)
		c.Close()
		if last = string(got); last == want && want != "" {
			return
		}
	}
	b.t.Fatalf("port %d at %s says %q, want %q", port, address, last, want)
}

func (b *bench) problems(want int) []Problem {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got := b.ports.Problems(); len(got) == want {
			return got
		}
	}
	b.t.Fatalf("problems: %+v, want %d", b.ports.Problems(), want)
	return nil
}

func TestPortsFollowTheStacks(t *testing.T) {
	b := newBench(t, false)
	one, two := freePort(t), freePort(t)
	b.ports.Set([]Published{{Stack: "web", Holder: "nas", Port: one}, {Stack: "db", Holder: "nas", Port: two}})
	b.says("127.0.0.1", one, "web@nas")
	b.says("127.0.0.1", two, "db@nas")
	// A connection that is open outlives a change of another stack, and one of its holder.
	c := dialTCP(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), one).String())
	hello := make([]byte, len("web@nas"))
	if _, err := io.ReadFull(c, hello); err != nil {
		t.Fatal(err)
	}
	b.ports.Set([]Published{{Stack: "web", Holder: "attic", Port: one}})
	b.says("127.0.0.1", one, "web@attic")
	b.says("127.0.0.1", two, "")
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, hello[:1]); err != nil {
		t.Errorf("an open connection went: %v", err)
	}
	b.ports.Set(nil)
	b.says("127.0.0.1", one, "")
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the stack went, and its connection ended in order")
	}
}

func TestPortsTellWhoHasThem(t *testing.T) {
	b := newBench(t, false)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := taken.Addr().(*net.TCPAddr).AddrPort().Port()
	b.ports.Set([]Published{{Stack: "web", Holder: "nas", Port: port, HostIP: "127.0.0.1"}})
	p := b.problems(1)
	if p[0].Stack != "web" || !strings.Contains(p[0].Reason, "forward.test (process ") {
		t.Errorf("%+v", p)
	}
	taken.Close()
	b.ports.Set(nil)
	b.ports.Set([]Published{{Stack: "web", Holder: "nas", Port: port, HostIP: "127.0.0.1"}})
	b.says("127.0.0.1", port, "web@nas")
	b.problems(0)
	// Of two stacks the one that has it keeps it.
	b.ports.Set([]Published{{Stack: "web", Holder: "nas", Port: port}, {Stack: "app", Holder: "nas", Port: port}})
	got := b.problems(2) // on both loopbacks
	if got[0].Stack != "app" && got[0].Stack != "web" || !strings.Contains(got[0].Reason, "publishes it, too") {
		t.Errorf("%+v", got)
	}
	b.says("127.0.0.1", port, "web@nas")
}

// Addresses that strangers reach are left alone unless the owner says otherwise.
func TestPortsStayOnPrivateAddresses(t *testing.T) {
	interfaces := func([]string) ([]netif.Interface, error) {
		var addrs []netip.Addr
		for _, a := range []string{"192.168.1.2", "203.0.113.5", "fd00::1", "2001:db8::1", "fe80::1", "169.254.3.4", "100.64.0.1"} {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		return []netif.Interface{{Addrs: addrs}}, nil
	}
	for public, want := range map[bool][]string{
		false: {"127.0.0.1", "::1", "192.168.1.2", "fd00::1", "169.254.3.4"},
		true:  {"127.0.0.1", "::1", "192.168.1.2", "203.0.113.5", "fd00::1", "2001:db8::1", "169.254.3.4", "100.64.0.1"},
	} {
		p := New(Config{Public: public, interfaces: interfaces, Log: slog.New(slog.DiscardHandler)})
		var got []string
		for _, a := range p.addresses() {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) {
			t.Errorf("public %t: %q, want %q", public, got, want)
		}
	}
	all := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.168.1.2")}
	for host, want := range map[string]int{"": 2, "0.0.0.0": 2, "::": 2, "127.0.0.1": 1, "10.0.0.1": 0} {
		if got := (&Published{HostIP: host}).at(all); len(got) != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestPortsFollowTheAddresses(t *testing.T) {
	b := newBench(t, false)
	port := freePort(t)
	b.ports.Set([]Published{{Stack: "web", Holder: "nas", Port: port}})
	b.says("127.0.0.1", port, "web@nas")
	b.says("127.0.0.2", port, "")
	b.addrs.Store(&[]string{"127.0.0.1", "127.0.0.2"})
	b.ports.poke() // as netif does
	b.says("127.0.0.2", port, "web@nas")
	b.addrs.Store(&[]string{"127.0.0.1"})
	b.ports.poke()
	b.says("127.0.0.2", port, "")
	b.says("127.0.0.1", port, "web@nas")
}
