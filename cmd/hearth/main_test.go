package main

import (
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

func TestMain(m *testing.M) {
	// Under nohup the tests' own commands would be deaf, too, to what they are sent:
	// what a process listens for is not ignored by those that it starts.
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	testscript.Main(m, map[string]func(){"hearth": hearth})
}

// hearth is the command with one more driver: "fake", which runs scripts of
// steps (see package fake) in the image work:1. The images far:1 and foreign:1 are
// only in its registry, the latter made for other machines.
func hearth() {
	known := drivers()
	known["fake"] = func(*slog.Logger, runtime.Policy) func(keys.Fingerprint, protocol.PeerID) (runtime.Driver, error) {
		return func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
			engine := fake.NewEngine(fake.Config{Images: map[string]fake.Image{
				"work:1": {}, "interrupted:1": {StopSignal: "INT"}, "far:1": {Absent: true, Size: 40 << 20},
				"foreign:1": {Absent: true, OS: "linux", Arch: "s390x"},
			}})
			return engine.Driver(string(mesh), self), nil
		}
	}
	c := &cli{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, drivers: known}
	os.Exit(c.main(os.Args[1:]))
}

// testSecret saves the scripts from making one each.
const testSecret = "hearth1qypqxpq9qcrsszg2pvxq6rs0zqg3yyc5z5tpwxqergd3c8g7rusqdflxxp"

// goRace keeps the race detector from waiting a second at each program's end.
const goRace = "GORACE=atexit_sleep_ms=0"

// TestScripts runs every verb as a user would, failures included: see
// testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HEARTH_STATE", e.WorkDir+"/state")
			e.Setenv("HEARTH_LISTEN", "/ip4/127.0.0.1/tcp/0")
			e.Setenv("HEARTH_NO_DISCOVERY", "true") // stay off the network
			e.Setenv("SECRET", testSecret)
			e.Setenv("GORACE", strings.TrimPrefix(goRace, "GORACE="))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitlog":    waitLog,
			"waitnode":   waitNode,
			"waitoutput": waitOutput,
			"mode":       checkMode,
			"echoed":     echoed,
			"waitgone":   waitGone,
		},
	})
}

// waitLog FILE TEXT waits until the file, which a background program writes,
// holds the text; that a device is ready is only told there.
func waitLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitlog FILE TEXT")
	}
	waitForText(ts, ts.MkAbs(args[0]), args[1])
}

// waitNode NAME waits until the device knows itself as a node, which takes its
// speed to be measured first.
func waitNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitnode NAME")
	}
	waitForCommand(ts, `"name":"`+args[0]+`"[^}]*"role":"node"`, "nodes", "--json")
}

// waitOutput VERB [ARG...] TEXT waits until the verb prints the text.
func waitOutput(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: waitoutput VERB [ARG...] TEXT")
	}
	text := args[len(args)-1]
	waitForCommand(ts, text, args[:len(args)-1]...)
}

// waitGone ID waits until no request has the ID.
func waitGone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitgone ID")
	}
	waitForCommand(ts, "no request "+args[0]+" is known", "inspect", args[0])
}

// checkMode FILE MODE checks a file's permissions.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE MODE")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := info.Mode().Perm().String(); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// echoed FILE connects to the address that the file's first line is, and wants back
// what it sends, also after its half of the connection has ended.
func echoed(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: echoed FILE")
	}
	address, _, _ := strings.Cut(ts.ReadFile(args[0]), "\n")
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil && neg {
		return
	}
	ts.Check(err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	sent := strings.Repeat("all that is sent comes back\n", 10_000)
	go func() {
		_, _ = io.WriteString(conn, sent)
		_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // it was dialled as one
	}()
	got, err := io.ReadAll(conn)
	if whole := err == nil && string(got) == sent; whole == neg {
		ts.Fatalf("%d of %d bytes came back, %v", len(got), len(sent), err)
	}
}
