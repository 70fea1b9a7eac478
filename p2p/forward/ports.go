package forward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hearth-edge/hearth/p2p/netif"
	"github.com/hearth-edge/hearth/protocol"
)

// A Published port is one that a stack publishes.
type Published struct {
	Stack protocol.StackName
	// Holder is the node that holds the stack.
	Holder protocol.PeerID
	Port   uint16
	UDP    bool
	// HostIP is the address to listen on; empty or unspecified is loopback and the
	// private addresses.
	HostIP string
}

func (p *Published) String() string {
	if p.UDP {
		return fmt.Sprintf("%d/udp", p.Port)
	}
	return fmt.Sprint(p.Port)
}

// A Problem is a published port that this device does not listen on.
type Problem struct {
	Published
	Address netip.Addr
	// Reason says why, and what to do.
	Reason string
}

// Config says how Ports listens.
type Config struct {
	// Dial opens a stream to a published port at its holder.
	Dial func(ctx context.Context, p Published) (protocol.Stream, error)
	// Public lets ports be open on public addresses, too.
	Public bool
	// Interfaces are p2p.Config's.
	Interfaces []string
	Log        *slog.Logger
	// interfaces and listen are those of the system but for tests.
	interfaces func([]string) ([]netif.Interface, error)
}

// Ports listens for the stacks of other nodes. Its methods may be called
// concurrently.
type Ports struct {
	cfg    Config
	notify chan struct{} // holds a token when there is something to do

	mu       sync.Mutex // guards the rest
	wanted   []Published
	problems []Problem
}

// New returns Ports that do nothing until Run.
func New(cfg Config) *Ports {
	if cfg.interfaces == nil {
		cfg.interfaces = netif.List
	}
	return &Ports{cfg: cfg, notify: make(chan struct{}, 1)}
}

// Set replaces the ports that are to be listened on. Connections of those that stay
// go on. It does not block.
func (p *Ports) Set(wanted []Published) {
	wanted = slices.Clone(wanted)
	slices.SortStableFunc(wanted, func(a, b Published) int {
		return cmp.Or(cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.Port, b.Port))
	})
	p.mu.Lock()
	same := slices.Equal(p.wanted, wanted)
	p.wanted = wanted
	p.mu.Unlock()
	if !same {
		p.poke()
	}
}

func (p *Ports) poke() {
	select {
	case p.notify <- struct{}{}:
	default:
	}
}

// Problems returns the ports that are not listened on, and why.
func (p *Ports) Problems() []Problem {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.problems)
}

// spot is where is listened.
type spot struct {
	at  netip.AddrPort
	udp bool
}

// listener is one that is open.
type listener struct {
	target atomic.Pointer[Published]
	cancel context.CancelFunc
	done   chan struct{}
	gone   atomic.Bool // it ended by itself
}

// Run keeps the listeners until ctx ends, and returns when all have ended.
func (p *Ports) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { p.watch(ctx) })
	open := make(map[spot]*listener)
	told := make(map[string]bool) // problems that were logged
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		p.mu.Lock()
		wanted := p.wanted
		p.mu.Unlock()
		problems := p.reconcile(ctx, open, wanted, &all)
		p.tell(problems, told)
		if retry.Stop(); len(problems) > 0 {
			retry.Reset(retryInterval)
		}
		select {
		case <-p.notify:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watch has the addresses looked at when they change.
func (p *Ports) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if err := netif.Watch(ctx, p.poke); err == nil {
			return
		}
		p.poke()
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
}

// tell logs each problem once, as long as it lasts.
func (p *Ports) tell(problems []Problem, told map[string]bool) {
	now := make(map[string]bool, len(problems))
	for _, b := range problems {
		key := fmt.Sprint(b.Stack, b.String(), b.Reason)
		if now[key] = true; !told[key] {
			p.cfg.Log.Warn("a port of a stack is not open on this device", "stack", b.Stack, "port", b.String(), "address", b.Address, "err", b.Reason)
		}
	}
	clear(told)
	for key := range now {
		told[key] = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = problems
}

// reconcile opens what is wanted and not open, and closes what is open and not
// wanted. It returns what could not be opened.
func (p *Ports) reconcile(ctx context.Context, open map[spot]*listener, wanted []Published, all *sync.WaitGroup) (problems []Problem) {
	addresses := p.addresses()
	want := make(map[spot]*Published)
	for i := range wanted {
		w := &wanted[i]
		if len(want) >= maxPorts {
			problems = append(problems, Problem{Published: *w, Reason: fmt.Sprintf("this device listens on %d ports for stacks and no more", maxPorts)})
			continue
		}
		for _, a := range w.at(addresses) {
			s := spot{netip.AddrPortFrom(a, w.Port), w.UDP}
			winner, loser := want[s], w
			if l := open[s]; winner == nil || l != nil && l.target.Load().Stack == w.Stack { // who has it keeps it
				winner, loser = w, want[s]
			}
			want[s] = winner
			if loser != nil {
				problems = append(problems, Problem{Published: *loser, Address: a, Reason: fmt.Sprintf("the stack %s publishes it, too: give one of them another port", winner.Stack)})
			}
		}
	}
	for s, l := range open {
		if w := want[s]; w != nil && !l.gone.Load() && l.target.Load().Stack == w.Stack {
			l.target.Store(w)
			continue
		}
		l.cancel()
		<-l.done
		delete(open, s)
	}
	for s, w := range want {
		if open[s] != nil {
			continue
		}
		l, err := p.listen(ctx, s, w, all)
		if err != nil {
			if !errors.Is(err, syscall.EADDRNOTAVAIL) { // the address went, which is told by its own change
				problems = append(problems, Problem{Published: *w, Address: s.at.Addr(), Reason: explain(s, err)})
			}
			continue
		}
		open[s] = l
	}
	slices.SortFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Stack, b.Stack), cmp.Compare(a.Port, b.Port), a.Address.Compare(b.Address))
	})
	return problems
}

// at returns which addresses of this device the port belongs on.
func (w *Published) at(addresses []netip.Addr) []netip.Addr {
	host, err := netip.ParseAddr(w.HostIP)
	if err != nil || host.IsUnspecified() {
		return addresses
	}
	if slices.Contains(addresses, host) {
		return []netip.Addr{host}
	}
	return nil
}

// addresses returns those of this device that ports are opened on.
func (p *Ports) addresses() []netip.Addr {
	list := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	interfaces, err := p.cfg.interfaces(p.cfg.Interfaces)
	if err != nil {
		p.cfg.Log.Warn("the network interfaces are not known: ports of stacks are open on loopback only", "err", err)
	}
	for _, i := range interfaces {
		for _, a := range i.Addrs {
			if a.IsLinkLocalUnicast() && a.Is6() || slices.Contains(list, a) {
				continue
			}
			if p.cfg.Public || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() {
				list = append(list, a)
			}
		}
	}
	return list
}

// listen opens one listener.
func (p *Ports) listen(ctx context.Context, s spot, w *Published, all *sync.WaitGroup) (*listener, error) {
	l := &listener{done: make(chan struct{})}
	l.target.Store(w)
	dial := func(ctx context.Context) (protocol.Stream, error) { return p.cfg.Dial(ctx, *l.target.Load()) }
	failed := logFirst(p.cfg.Log, "stack", w.Stack, "port", w.String())
	var serve func(context.Context) error
	if s.udp {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(s.at))
		if err != nil {
			return nil, err
		}
		serve = func(ctx context.Context) error { return UDP(ctx, conn, dial, failed) }
	} else {
		conn, err := new(net.ListenConfig).Listen(ctx, "tcp", s.at.String())
		if err != nil {
			return nil, err
		}
		serve = func(ctx context.Context) error { return TCP(ctx, conn, dial, failed) }
	}
	serving, cancel := context.WithCancel(ctx)
	l.cancel = cancel
	all.Go(func() {
		defer close(l.done)
		defer cancel()
		if err := serve(serving); err != nil {
			failed(err)
			l.gone.Store(true)
			p.poke()
		}
	})
	return l, nil
}

// explain says why a port could not be opened, and what to do.
func explain(s spot, err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		who := owner(s.at.Port(), s.udp)
		if who == "" {
			who = "another program"
		}
		return fmt.Sprintf("%s has port %d on this device: end it there, or publish another port", who, s.at.Port())
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("hearth may not open port %d, which is below 1024: run it as root, or lower net.ipv4.ip_unprivileged_port_start", s.at.Port())
	}
	return err.Error()
}
