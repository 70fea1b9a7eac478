package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/p2p/forward"
	"github.com/hearth-edge/hearth/protocol"
)

const forwardHelp = `Open a port of this machine that leads to a port of a container, wherever in the
mesh that runs: of a request, named as for 'hearth attach', or of a stack's service,
named STACK/SERVICE. Nothing has to be published for that. The container's own
loopback is reached too where hearth may enter its network, as root.

A port is written PORT, for the same one here; or LOCAL:PORT, where LOCAL is a
port, or an address and a port; 0 takes a free one. With /udp at its end it is of
UDP. This command prints, a line each, the addresses that it listens on, by default
on this machine alone, and goes on until Ctrl-C, or until the container has ended.

The node's owner may keep others from it, by the key forward of the policy.

Exit codes: 130 if ended by Ctrl-C; 125 otherwise.

  hearth forward media/db 5432
  hearth forward k3v 18080:80 9000
  hearth forward k3v 0:80
  hearth forward dns 192.168.1.2:5353:53/udp`

func (c *cli) forwardCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forward [flags] REQUEST|STACK/SERVICE [LOCAL:]PORT...",
		Short: "Reach a port of a container from this machine",
		Long:  forwardHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			usage := "usage: " + cmd.UseLine()
			switch len(args) {
			case 0:
				return &failure{err: errors.New("no container was named"), hint: usage + "; 'hearth ps' shows IDs"}
			case 1:
				return &failure{err: errors.New("no port was named"), hint: usage}
			}
			return nil
		},
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := protocol.ParseTarget(args[0])
			if err != nil {
				return err
			}
			var ports []forwardedPort
			for _, text := range args[1:] {
				p, err := parseForward(text)
				if err != nil {
					return err
				}
				ports = append(ports, p)
			}
			return c.forward(cmd.Context(), target, ports)
		},
	}
}

// A forwardedPort is one that leads from here to a container.
type forwardedPort struct {
	local string // address and port
	port  uint16
	udp   bool
}

// parseForward reads [[ADDRESS:]LOCAL:]PORT[/udp].
func parseForward(text string) (p forwardedPort, err error) {
	rest, kind, typed := strings.Cut(text, "/")
	p.udp = kind == "udp"
	wrong := fmt.Errorf("%q is no port: write PORT, LOCAL:PORT or ADDRESS:LOCAL:PORT, each 1 to 65535, and /udp behind it for UDP", text)
	if typed && kind != "udp" && kind != "tcp" {
		return p, wrong
	}
	local, far := rest, rest
	if i := strings.LastIndexByte(rest, ':'); i >= 0 {
		local, far = rest[:i], rest[i+1:]
	}
	n, err := strconv.ParseUint(far, 10, 16)
	if err != nil || n == 0 {
		return p, wrong
	}
	p.port = uint16(n)
	host := "127.0.0.1"
	if i := strings.LastIndexByte(local, ':'); i >= 0 {
		host, local = strings.Trim(local[:i], "[]"), local[i+1:]
		if host == "*" {
			host = ""
		} else if net.ParseIP(host) == nil {
			return p, wrong
		}
	}
	if _, err := strconv.ParseUint(local, 10, 16); err != nil {
		return p, wrong
	}
	p.local = net.JoinHostPort(host, local)
	return p, nil
}

// forward listens until it is interrupted or the container has ended.
func (c *cli) forward(ctx context.Context, target protocol.Target, ports []forwardedPort) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	f := &forwarding{cli: c, device: device, target: target}
	for _, p := range ports { // whoever mistypes learns of it now
		s, err := f.dial(p)(ctx)
		if err != nil {
			return containerFailure(err)
		}
		_ = s.Reset()
	}
	ctx, f.end = context.WithCancelCause(ctx)
	defer f.end(nil)
	var serving sync.WaitGroup
	defer serving.Wait()
	defer f.end(nil)
	for _, p := range ports {
		serve, address, err := f.listen(ctx, p)
		if err != nil {
			return &failure{err: err, hint: "name another port of this machine: LOCAL:" + strconv.Itoa(int(p.port))}
		}
		serving.Go(func() { f.end(serve()) })
		if _, err := fmt.Fprintln(c.stdout, address); err != nil {
			return err
		}
	}
	<-ctx.Done()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return containerFailure(err)
	}
	return exited(exitInterrupted)
}

// forwarding is one run of the command.
type forwarding struct {
	cli    *cli
	device *protocol.AppClient
	target protocol.Target
	end    context.CancelCauseFunc
}

func (f *forwarding) dial(p forwardedPort) forward.Dial {
	return func(ctx context.Context) (protocol.Stream, error) {
		return f.device.Dial(ctx, protocol.Dial{Target: f.target, Port: p.port, UDP: p.udp})
	}
}

// listen opens a port of this machine.
func (f *forwarding) listen(ctx context.Context, p forwardedPort) (serve func() error, address string, err error) {
	if p.udp {
		at, err := net.ResolveUDPAddr("udp", p.local)
		if err != nil {
			return nil, "", err
		}
		conn, err := net.ListenUDP("udp", at)
		if err != nil {
			return nil, "", err
		}
		return func() error { return forward.UDP(ctx, conn, f.dial(p), f.failed) }, conn.LocalAddr().String(), nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.local)
	if err != nil {
		return nil, "", err
	}
	return func() error { return forward.TCP(ctx, l, f.dial(p), f.failed) }, l.Addr().String(), nil
}

// failed says why a connection was not carried, and ends the command where none
// will be any more.
func (f *forwarding) failed(err error) {
	switch code := protocol.CodeOf(err); {
	case errors.Is(err, context.Canceled):
	case code == protocol.CodeNotFound, code == protocol.CodePolicy, code == protocol.CodeConflict:
		f.end(err)
	default:
		fmt.Fprintf(f.cli.stderr, "hearth: %s\n", printable(err.Error()))
	}
}
