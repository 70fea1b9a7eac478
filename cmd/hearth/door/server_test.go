package door

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// TestServerRights: a token may what it says; no token may nothing over the port and
// all over the socket, where a wrong one still lets nobody in.
func TestServerRights(t *testing.T) {
	r := start(t, tellRight)
	_, read, err := r.tokens.New("tv", protocol.RightRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client *http.Client
		token  string
		status int
		body   string
	}{
		"the owner":               {r.client, owner, 200, "all"},
		"one who may look":        {r.client, read, 200, "read"},
		"nobody":                  {r.client, "", 401, "unauthorized"},
		"a guess":                 {r.client, strings.Repeat("0", 64), 401, "unauthorized"},
		"a short one":             {r.client, owner[:63], 401, "unauthorized"},
		"the socket":              {r.local, "", 200, "all"},
		"the socket, less":        {r.local, read, 200, "read"},
		"the socket, wrong token": {r.local, "x", 401, "unauthorized"},
	} {
		status, body := r.get(t, c.client, c.token, nil)
		if status != c.status || !strings.Contains(body, c.body) {
			t.Errorf("%s: %d, %s", name, status, body)
		}
	}
	for header, want := range map[string]int{"Bearer " + owner: 200, "bearer  " + owner: 200, owner: 200, "Basic " + owner: 401, "Bearer": 401} {
		status, _ := r.get(t, r.client, "", func(q *http.Request) { q.Header.Set("Authorization", header) })
		if status != want {
			t.Errorf("Authorization %q: %d, want %d", header, status, want)
		}
	}
	if info, err := os.Stat(r.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v, %v", info.Mode(), err)
	}
}

// TestServerTooFewRights: one who may less than is needed is told so with 403.
func TestServerTooFewRights(t *testing.T) {
	r := start(t, func(w http.ResponseWriter, q *http.Request) { Require(w, q, protocol.RightRun) })
	_, read, err := r.tokens.New("tv", protocol.RightRead, 0)
	if err != nil {
		t.Fatal(err)
	}
	status, body := r.get(t, r.client, read, nil)
	if status != http.StatusForbidden || !strings.Contains(body, "may only read") || !strings.Contains(body, "hearth token new --may run") {
		t.Errorf("%d, %s", status, body)
	}
}

// TestServerHost: a name that somebody made lead here (DNS rebinding) is no name of
// this device, whatever token comes with it.
func TestServerHost(t *testing.T) {
	r := start(t, tellRight)
	for host, want := range map[string]int{
		"localhost": 200, "localhost:7118": 200, "LOCALHOST": 200, "127.0.0.1": 200, "127.1.2.3:80": 200, "[::1]:7118": 200, "[::1]": 200,
		"evil.example": 421, "evil.example:7118": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example": 421,
		"192.168.1.20": 421, "0.0.0.0": 421, "0": 421, "[::]": 421, "localhost.": 421,
	} {
		if status, body := r.get(t, r.client, owner, func(q *http.Request) { q.Host = host }); status != want {
			t.Errorf("Host %q: %d, want %d: %s", host, status, want, body)
		}
	}
	if status, _ := r.get(t, r.local, "", func(q *http.Request) { q.Host = "hearth" }); status != 200 {
		t.Errorf("over the socket a name matters: %d", status)
	}
}

// TestServerOrigin: a page of another origin has nothing done, whatever token it has.
func TestServerOrigin(t *testing.T) {
	asked := 0
	r := start(t, func(http.ResponseWriter, *http.Request) { asked++ })
	for name, c := range map[string]struct {
		header, value string
		want          int
	}{
		"cross-site":     {"Sec-Fetch-Site", "cross-site", 403},
		"same-site":      {"Sec-Fetch-Site", "same-site", 403},
		"another origin": {"Origin", "http://127.0.0.1:3000", 403},
		"no origin":      {"Origin", "null", 403},
		"this page":      {"Sec-Fetch-Site", "same-origin", 200},
		"this origin":    {"Origin", "http://" + r.Addr(), 200},
		"a program":      {"User-Agent", "curl", 200},
	} {
		asked = 0
		status, _ := r.get(t, r.client, owner, func(q *http.Request) { q.Method = http.MethodPost; q.Header.Set(c.header, c.value) })
		if status != c.want || (asked == 1) != (c.want == 200) {
			t.Errorf("%s: %d, asked %d times", name, status, asked)
		}
	}
}

// TestServerPortTaken: where the port is taken it listens on one of the next.
func TestServerPortTaken(t *testing.T) {
	first := start(t, tellRight)
	second := NewServer(first.cfg)
	second.cfg.Addr, second.cfg.Socket = first.Addr(), ""
	if err := second.Listen(); err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if second.Addr() == first.Addr() || !strings.HasPrefix(second.Addr(), "127.0.0.1:") {
		t.Errorf("it listens on %s, as the first on %s", second.Addr(), first.Addr())
	}
}

// TestServerStrangers: connections without a token come and go; one that has shown
// its token stays and is answered.
func TestServerStrangers(t *testing.T) {
	r := start(t, tellRight)
	friend, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer friend.Close()
	answers := bufio.NewReader(friend)
	ask := func() string {
		fmt.Fprintf(friend, "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n", owner)
		resp, err := http.ReadResponse(answers, nil)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	if got := ask(); got != "all" {
		t.Fatalf("answered %q", got)
	}
	var strangers []net.Conn
	defer func() {
		for _, c := range strangers {
			c.Close()
		}
	}()
	for range maxConns + 10 {
		c, err := net.Dial("tcp", r.Addr())
		if err != nil {
			t.Fatal(err)
		}
		strangers = append(strangers, c)
	}
	if got := ask(); got != "all" {
		t.Errorf("with %d strangers: %q", len(strangers), got)
	}
	if status, body := r.get(t, r.client, owner, nil); status != 200 {
		t.Errorf("a new client with a token: %d, %s", status, body)
	}
	_ = strangers[0].SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := strangers[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the oldest stranger was not closed: %v", err)
	}
}

// TestServerSlowHeader: who sends no header in time is cut off.
func TestServerSlowHeader(t *testing.T) {
	r := start(t, tellRight, func(s *Server) { s.headerTimeout = 50 * time.Millisecond })
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); os.IsTimeout(err) {
		t.Error("it still waits for the header")
	}
}

// TestServerLargeHeader: a header beyond the bound is not taken.
func TestServerLargeHeader(t *testing.T) {
	r := start(t, func(http.ResponseWriter, *http.Request) { t.Error("it was asked") })
	c, err := net.Dial("tcp", r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX: %s\r\n\r\n", strings.Repeat("x", 2*maxHeader))
	// What was sent and not read may cut the answer off.
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestParseAddr: only addresses of this machine alone do.
func TestParseAddr(t *testing.T) {
	for addr, want := range map[string]string{
		"none": "", DefaultAddr: DefaultAddr, "localhost:1": "localhost:1", "[::1]:0": "[::1]:0", "127.0.0.9:80": "127.0.0.9:80",
	} {
		if got, err := ParseAddr(addr); got != want || err != nil {
			t.Errorf("%q is read as %q, %v", addr, got, err)
		}
	}
	for _, addr := range []string{"", "7118", ":7118", "0.0.0.0:7118", "192.168.1.2:7118", "[::]:7118", "nas:7118", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000"} {
		if got, err := ParseAddr(addr); err == nil {
			t.Errorf("%q is read as %q", addr, got)
		}
	}
}

// TestProblem: an error is told as RFC 9457 says, with its code's status, and what is
// inside stays inside.
func TestProblem(t *testing.T) {
	for c, status := range map[protocol.Code]int{
		protocol.CodeInvalid: 400, protocol.CodeNotFound: 404, protocol.CodeConflict: 409, protocol.CodePolicy: 422, protocol.CodeNoNode: 422,
		protocol.CodeOverloaded: 503, protocol.CodeTimeout: 504, protocol.CodeInternal: 500,
	} {
		if got := StatusOf(c); got != status {
			t.Errorf("%s: %d, want %d", c, got, status)
		}
	}
	r := start(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/" {
			ProblemOf(protocol.Errorf(protocol.CodeOverloaded, "too much")).Write(w)
			return
		}
		ProblemOf(fmt.Errorf("open /secret/path")).Write(w)
	})
	_, body := r.get(t, r.client, owner, nil)
	var p Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || p.Code != "overloaded" || p.Detail != "too much" || p.Status != 503 || p.Title != "Service Unavailable" {
		t.Errorf("%v: %s", err, body)
	}
	if _, body := r.get(t, r.client, owner, func(q *http.Request) { q.URL.Path = "/x" }); strings.Contains(body, "secret") || !strings.Contains(body, "internal") {
		t.Errorf("told: %s", body)
	}
}

// A client elsewhere is told so at once: nothing of its body is waited for.
func TestOtherHostsAreTold406(t *testing.T) {
	server := NewServer(Config{Anonymous: protocol.RightRun, Handler: http.HandlerFunc(tellRight), Tokens: NewTokens(t.TempDir(), owner), Log: slog.New(slog.DiscardHandler)})
	client, end := net.Pipe()
	done := make(chan struct{})
	go func() { // ends with the connection
		defer close(done)
		_ = (&http.Server{Handler: http.HandlerFunc(server.serve)}).Serve(&oneConn{conn: &farConn{end}})
	}()
	fmt.Fprintf(client, "POST / HTTP/1.1\r\nHost: 192.168.1.7:56001\r\nContent-Length: 1000000\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil {
		t.Fatal(err)
	}
	var p Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || resp.StatusCode != http.StatusNotAcceptable {
		t.Errorf("%d %+v, %v", resp.StatusCode, p, err)
	}
	_ = client.Close()
	<-done
}

// farConn comes from another host.
type farConn struct{ net.Conn }

func (c *farConn) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP("203.0.113.9"), Port: 4711}
}

// oneConn is a listener with one connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (net.Conn, error) {
	c := l.conn
	if l.conn = nil; c == nil {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

// With a right for anonymous clients, a token that is not known takes nothing away.
func TestAnonymousClientsHaveTheirRight(t *testing.T) {
	r := start(t, tellRight, func(s *Server) { s.cfg.Anonymous = protocol.RightRun })
	for token, want := range map[string]string{"": "run", "wrong": "run", owner: "all"} {
		if status, body := r.get(t, r.client, token, nil); status != http.StatusOK || body != want {
			t.Errorf("%q: %d %s, want %s", token, status, body, want)
		}
	}
}

// Whose clients know one port gets that or none.
func TestFixedPortIsTakenOrRefused(t *testing.T) {
	r := start(t, tellRight)
	s := NewServer(Config{Addr: r.Addr(), FixedPort: true, Log: slog.New(slog.DiscardHandler)})
	if err := s.Listen(); err == nil {
		s.Close()
		t.Errorf("it listens on %s", s.Addr())
	}
}
