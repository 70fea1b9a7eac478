package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"hearth": main})
}

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
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitlog": waitLog,
			"mode":    checkMode,
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
