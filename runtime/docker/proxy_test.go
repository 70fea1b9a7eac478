package docker

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// proxy stands between a driver and the engine, and can be what an engine is
// at its worst: gone, or silent.
type proxy struct {
	t    *testing.T
	path string
	real string

	mu       sync.Mutex // guards the rest
	listener net.Listener
	conns    []net.Conn
	// request, where it is set, is called before what a driver sends goes on.
	request func(data []byte)
	// frozen is held by freeze; copying needs to read-lock it.
	frozen  sync.RWMutex
	running sync.WaitGroup
}

func newProxy(t *testing.T, request ...func(data []byte)) *proxy {
	c, err := client.NewClientWithOpts(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	socket, ok := strings.CutPrefix(c.DaemonHost(), "unix://")
	if !ok {
		t.Fatalf("this test needs an engine on a unix socket, not at %s: unset DOCKER_HOST", c.DaemonHost())
	}
	p := &proxy{t: t, path: filepath.Join(t.TempDir(), "engine.sock"), real: socket}
	for _, r := range request {
		p.request = r
	}
	p.resume()
	t.Cleanup(func() {
		p.cut()
		p.running.Wait()
	})
	return p
}

// host makes a driver go through the proxy.
func (p *proxy) host(c *Config) { c.Host = "unix://" + p.path }

// resume makes the engine reachable again.
func (p *proxy) resume() {
	listener, err := net.Listen("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	p.listener = listener
	p.mu.Unlock()
	p.running.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", p.real)
			if err != nil {
				near.Close() // the engine is down, and may come back
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, near, far)
			p.mu.Unlock()
			p.running.Go(func() { p.copy(near, far, nil) })
			p.running.Go(func() { p.copy(far, near, p.request) })
		}
	})
}

func (p *proxy) copy(to, from net.Conn, see func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if see != nil {
			see(buf[:n])
		}
		p.frozen.RLock()
		_, werr := to.Write(buf[:n])
		p.frozen.RUnlock()
		if errors.Is(err, io.EOF) && werr == nil {
			to.(*net.UnixConn).CloseWrite()
			return
		}
		if err != nil || werr != nil {
			to.Close()
			from.Close()
			return
		}
	}
}

// cut breaks all connections and takes no more.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listener.Close()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// receive waits for a value, and not for ever.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s never came", what)
		panic("unreachable")
	}
}
