package door

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
)

// SocketFile is the name of the unix socket for HTTP in the state folder, and
// DefaultAddr where a device listens that was told nothing else.
const (
	SocketFile  = "http.sock"
	DefaultAddr = "127.0.0.1:7118"
)

// Config says where a Server listens, and what it serves.
type Config struct {
	// Addr is host:port, where host is a loopback address; "" listens on no port.
	Addr string
	// Socket is the path of a unix socket that only this user can open; "" is
	// none. Who opens it may do all without a token.
	Socket string
	// Handler is what is served. RightOf tells it what the client may do.
	Handler http.Handler
	Tokens  *Tokens
	// Anonymous is what a client without a token may do; RightNone asks each for one.
	Anonymous protocol.Right
	// FixedPort listens on Addr's port or on none: clients know no other.
	FixedPort bool
	Log       *slog.Logger
}

// ParseAddr reads an address that a Server is to listen on: one of this machine
// alone, or "none", which is "".
func ParseAddr(addr string) (string, error) {
	if addr == "none" {
		return "", nil
	}
	host, port, err := net.SplitHostPort(addr)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return "", fmt.Errorf("%q is no address: write it like %s, or none", addr, DefaultAddr)
	}
	if !isLoopback(host) {
		return "", fmt.Errorf("%q can be reached from other machines: use 127.0.0.1:%s, and reach it from elsewhere with 'ssh -L %s:127.0.0.1:%s'", addr, port, port, port)
	}
	return addr, nil
}

// isLoopback reports whether host names this machine and no other.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// A Server listens for HTTP and hands what is asked to a door's handler: once the
// client's Host, origin and token were looked at.
type Server struct {
	cfg       Config
	origin    *http.CrossOriginProtection
	listeners []net.Listener
	addr      string // that of the port
	// headerTimeout is headerTimeout, but in tests.
	headerTimeout time.Duration
}

// NewServer makes a server that listens nowhere yet.
func NewServer(cfg Config) *Server {
	return &Server{cfg: cfg, origin: http.NewCrossOriginProtection(), headerTimeout: headerTimeout}
}

// Listen opens the socket and the port. Where the port is taken it takes one of the
// next, or any. Run closes them; a server that is not run needs Close.
func (s *Server) Listen() error {
	if s.cfg.Socket != "" {
		l, err := listenUnix(s.cfg.Socket)
		if err != nil {
			s.cfg.Log.Warn("no unix socket for HTTP", "err", err)
		} else {
			s.listeners = append(s.listeners, &boundedListener{Listener: l, max: maxConns})
		}
	}
	if s.cfg.Addr == "" {
		return nil
	}
	listen := listenNear
	if s.cfg.FixedPort {
		listen = func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }
	}
	l, err := listen(s.cfg.Addr)
	if err != nil {
		s.Close()
		return fmt.Errorf("listen for HTTP on %s: %w", s.cfg.Addr, err)
	}
	s.addr = l.Addr().String()
	if s.addr != s.cfg.Addr && !strings.HasSuffix(s.cfg.Addr, ":0") {
		s.cfg.Log.Info("the port for HTTP is taken, so it is another one", "wanted", s.cfg.Addr, "address", s.addr)
	}
	s.listeners = append(s.listeners, &boundedListener{Listener: l, max: maxConns})
	return nil
}

// Addr returns the address that Listen took; "" where there is none.
func (s *Server) Addr() string { return s.addr }

// Close closes what Listen opened.
func (s *Server) Close() {
	for _, l := range s.listeners {
		_ = l.Close()
	}
}

// Run serves until ctx ends, lets answers end by themselves for a moment, ends them
// all, and returns nil. Listen comes first.
func (s *Server) Run(ctx context.Context) error {
	base, end := context.WithCancel(context.WithValue(ctx, leavingKey{}, ctx))
	defer end()
	server := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: s.headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:    slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug), // what clients break off is not ours to tell
	}
	var g errgroup.Group
	for _, l := range s.listeners {
		g.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				end()
				return err
			}
			return nil
		})
	}
	<-base.Done()
	last, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		_ = server.Close()
	}
	return g.Wait()
}

type (
	connKey    struct{}
	leavingKey struct{}
	rightKey   struct{}
)

// Leaving reports whether the device ends, rather than the client went.
func Leaving(ctx context.Context) bool {
	device, ok := ctx.Value(leavingKey{}).(context.Context)
	return ok && device.Err() != nil
}

// RightOf returns what the client of a request may do.
func RightOf(ctx context.Context) protocol.Right {
	right, _ := ctx.Value(rightKey{}).(protocol.Right)
	return right
}

// Require reports whether the client of a request may do what needs a right; if not,
// it has been told: with 401 where it showed no token that is known, else with 403.
func Require(w http.ResponseWriter, r *http.Request, need protocol.Right) bool {
	right := RightOf(r.Context())
	err := right.Check(need)
	if err == nil {
		return true
	}
	status := http.StatusUnauthorized
	if right > protocol.RightNone {
		status = http.StatusForbidden
	} else {
		w.Header().Set("Connection", "close") // what follows of its body is not read
	}
	refuse(w, status, protocol.CodeOf(err), "%s", err.Error())
	return false
}

// serve looks at who asks, and hands it on.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	c, _ := r.Context().Value(connKey{}).(*conn)
	local := c != nil && c.local
	if !local && !fromHere(r) {
		w.Header().Set("Connection", "close") // nothing of its body is read
		refuse(w, http.StatusNotAcceptable, protocol.CodeUnauthorized, "only programs on this device may ask here")
		return
	}
	if !local && !hostAllowed(r) {
		refuse(w, http.StatusMisdirectedRequest, protocol.CodeInvalid, "this device has no name %q: open http://%s", r.Host, s.addr)
		return
	}
	if err := s.origin.Check(r); err != nil {
		refuse(w, http.StatusForbidden, protocol.CodeUnauthorized, "a page of another origin may not ask this device for anything")
		return
	}
	right := s.right(r, local)
	if right > protocol.RightNone && c != nil {
		c.proved()
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	s.cfg.Handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), rightKey{}, right)))
}

// right returns what the client may do: as its token says or, where it shows none on
// the socket, as the socket's owner.
func (s *Server) right(r *http.Request, local bool) protocol.Right {
	shown := r.Header.Get("Authorization")
	if shown == "" && local {
		return protocol.RightAll
	}
	if shown == "" {
		return s.cfg.Anonymous
	}
	scheme, token, _ := strings.Cut(shown, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = shown
	}
	return max(s.cfg.Anonymous, s.cfg.Tokens.Right(strings.TrimSpace(token)))
}

// hostAllowed reports whether a client meant this machine: a page that got a name of
// its own to lead here (DNS rebinding) does not. An address is no name.
func hostAllowed(r *http.Request) bool {
	name, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		name = strings.Trim(r.Host, "[]")
	}
	ip := net.ParseIP(name)
	return isLoopback(strings.ToLower(name)) || ip != nil && ip.Equal(ipOf(localAddr(r)))
}

// fromHere reports whether the client runs on this machine. A port on loopback can be
// forwarded, and then its clients' addresses may be those of others.
func fromHere(r *http.Request) bool {
	from := ipOf(r.RemoteAddr)
	if from == nil {
		return false
	}
	if from.IsLoopback() || from.Equal(ipOf(localAddr(r))) {
		return true
	}
	own, _ := net.InterfaceAddrs() // without them nobody else is from here
	return slices.ContainsFunc(own, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(from)
	})
}

// localAddr is the address that a client connected to.
func localAddr(r *http.Request) string {
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return a.String()
	}
	return ""
}

// ipOf returns the IP of IP:PORT; nil where it is none.
func ipOf(addr string) net.IP {
	host, _, _ := net.SplitHostPort(addr)
	host, _, _ = strings.Cut(host, "%")
	return net.ParseIP(host)
}

func refuse(w http.ResponseWriter, status int, code protocol.Code, format string, args ...any) {
	ProblemOf(&StatusError{status, protocol.Errorf(code, format, args...)}).Write(w)
}

// listenNear listens on addr or, where its port is taken, on one of the next, or any.
func listenNear(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	host, text, _ := net.SplitHostPort(addr)
	port, _ := strconv.Atoi(text)
	for next := port + 1; next <= port+portTries+1 && errors.Is(err, syscall.EADDRINUSE); next++ {
		if next > port+portTries || next > 65535 {
			next = 0
		}
		if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(next))); next == 0 {
			break
		}
	}
	return l, err
}

// listenUnix opens a socket that only its owner can connect to. One that an earlier
// process left behind is replaced: the state folder's lock says that no process uses
// it.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is %d bytes long and may have %d; a state folder with a shorter path has a socket",
			path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}
