package door

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/hearth-edge/hearth/protocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const owner = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// A rig is a server that runs, and its clients.
type rig struct {
	*Server
	tokens *Tokens
	socket string
	client *http.Client // over the port
	local  *http.Client // over the socket
}

// start runs a server until the end of the test.
func start(t *testing.T, handler http.HandlerFunc, change ...func(*Server)) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{tokens: NewTokens(dir, owner), socket: filepath.Join(dir, SocketFile)}
	if len(r.socket) > maxSocketPath {
		t.Fatalf("the test's folder has too long a path for a socket: %s", r.socket)
	}
	r.Server = NewServer(Config{Addr: "127.0.0.1:0", Socket: r.socket, Tokens: r.tokens, Handler: handler, Log: slog.New(slog.DiscardHandler)})
	for _, c := range change {
		c(r.Server)
	}
	if err := r.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }() // ends with ctx
	r.client = &http.Client{Transport: &http.Transport{}}
	r.local = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", r.socket)
	}}}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.client.CloseIdleConnections()
		r.local.CloseIdleConnections()
	})
	return r
}

// tellRight answers with what the client may do, or with why it may not look.
func tellRight(w http.ResponseWriter, r *http.Request) {
	if Require(w, r, protocol.RightRead) {
		_, _ = io.WriteString(w, RightOf(r.Context()).String())
	}
}

// get asks with a token, and returns the status and the body.
func (r *rig) get(t *testing.T, client *http.Client, token string, change func(*http.Request)) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(req)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func writeTokens(t *testing.T, path string, kept tokensJSON) {
	t.Helper()
	text, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
