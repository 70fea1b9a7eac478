package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	doorweb "github.com/hearth-edge/hearth/cmd/hearth/door/web"
	"github.com/hearth-edge/hearth/testnet"
	"github.com/hearth-edge/hearth/testnet/web"
)

// patience bounds what a browser does.
const patience = 4 * time.Minute

func TestMain(m *testing.M) {
	code := m.Run()
	if err := testnet.Cleanup(); err != nil {
		fmt.Fprintln(os.Stderr, "clean up after the tests:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// browse runs a script of the folder browser, which is told what it is given. do is
// called with what the script asks to be done.
func browse(t *testing.T, script string, given map[string]any, do func(string)) {
	t.Helper()
	dir := testnet.Installed(t, "web/browser")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			given["chromium"] = path
			break
		}
	}
	if given["chromium"] == nil {
		t.Fatal("no Chromium is installed (testnet/setup.sh browser does)")
	}
	given["out"] = filepath.Join(testnet.Root(t), "testnet", "out")
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", script, string(text))
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	answers, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := lines.Text()
		if what, asked := strings.CutPrefix(line, "ASK "); asked {
			do(what)
			fmt.Fprintln(answers, "done")
			continue
		}
		t.Log(line)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%s: %v", script, err)
	}
}

// linkOf returns the address and the token of `hearth web`.
func linkOf(t *testing.T, n *testnet.Node) (url, token string) {
	t.Helper()
	r := n.Hearth("web", "--print")
	url, token, ok := strings.Cut(strings.TrimSpace(r.Stdout), "/#token=")
	if r.Code != 0 || !ok {
		t.Fatalf("hearth web: exit code %d: %s%s", r.Code, r.Stdout, r.Stderr)
	}
	return url, token
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// TestPageOfMesh: a person sees a real mesh of three, runs, watches, explains and
// stops, and sees devices go and come back, this one included.
func TestPageOfMesh(t *testing.T) {
	secret, image := testnet.NewSecret(t), testnet.Image(t)
	first, page := "/ip4/127.0.0.1/tcp/"+freePort(t), "127.0.0.1:"+freePort(t)
	nodes := map[string]*testnet.Node{}
	for _, name := range []string{"one", "two", "three"} {
		args := []string{"--no-discovery", "--cpus", "1", "--memory", "512m", "--listen", "/ip4/127.0.0.1/tcp/0", "--peer", first, "--http", "none"}
		if name == "one" {
			args = []string{"--no-discovery", "--cpus", "1", "--memory", "512m", "--listen", first, "--http", page}
		}
		nodes[name] = testnet.Start(t, testnet.Options{Name: name, Secret: secret, Args: args})
	}
	nodes["one"].WaitAble(3)
	url, token := linkOf(t, nodes["one"])
	browse(t, "mesh.mjs", map[string]any{"url": url, "token": token, "image": image}, func(what string) {
		switch verb, name, _ := strings.Cut(what, " "); verb {
		case "kill":
			nodes[name].Kill()
		case "start":
			nodes[name] = nodes[name].Restart()
		}
	})
}

// serve has a home on a port until the end of the test, and returns its address.
func serve(t *testing.T, home *web.Home) string {
	t.Helper()
	tokens := door.NewTokens(t.TempDir(), "owner")
	server := door.NewServer(door.Config{
		Addr: "127.0.0.1:0", Tokens: tokens, Log: slog.New(slog.DiscardHandler), Handler: doorweb.New(doorweb.Config{App: home, Tokens: tokens}),
	})
	if err := server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }() // ends with ctx
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + server.Addr()
}

// TestPageOfHome: every view looks as it should and is there for everybody, and a home
// of 200 devices and 1,000 requests does not slow it down.
func TestPageOfHome(t *testing.T) {
	large := web.NewHome(200, 1000)
	done := make(chan struct{})
	defer close(done)
	go func() { // ends with the test
		for turn := 0; ; turn++ {
			select {
			case <-time.After(time.Second):
				large.Beat(turn)
			case <-done:
				return
			}
		}
	}()
	browse(t, "home.mjs", map[string]any{"url": serve(t, web.NewHome(5, 24)), "large": serve(t, large), "token": "owner"}, nil)
}

// TestHostilePages: pages of other origins, among them one on another port and one
// whose name was made to lead here, have nothing done and see nothing.
func TestHostilePages(t *testing.T) {
	n := testnet.Start(t, testnet.Options{
		Name: "victim", Secret: testnet.NewSecret(t), Args: []string{"--no-discovery", "--driver", "none", "--listen", "/ip4/127.0.0.1/tcp/0", "--http", "127.0.0.1:0"},
	})
	url, token := linkOf(t, n)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	evil := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>evil</title><body>")
	})}
	go func() { _ = evil.Serve(l) }() // ends with Close
	t.Cleanup(func() { _ = evil.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	browse(t, "attack.mjs", map[string]any{
		"url": url, "token": token, "image": "work:1", "evil": []string{"http://127.0.0.1:" + port, "http://evil.example:" + port},
	}, nil)
}
