package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// patience bounds each wait.
const patience = 20 * time.Second

// waitForText returns when the file holds the text.
func waitForText(ts *testscript.TestScript, file, text string) {
	waitFor(ts, file+" says "+text, func() (string, bool) {
		data, _ := os.ReadFile(file) // it may not exist yet
		return string(data), strings.Contains(string(data), text)
	})
}

// waitForCommand returns when hearth, with these arguments, prints what matches.
func waitForCommand(ts *testscript.TestScript, pattern string, args ...string) {
	match := regexp.MustCompile(pattern)
	waitFor(ts, "hearth "+strings.Join(args, " ")+" prints "+pattern, func() (string, bool) {
		cmd := exec.Command("hearth", args...)
		cmd.Env = append(os.Environ(), goRace, "HEARTH_STATE="+ts.Getenv("HEARTH_STATE"))
		out, _ := cmd.CombinedOutput() // what is asked for may not be there yet
		return string(out), match.Match(out)
	})
}

// waitFor asks again and again, and fails with the last answer.
func waitFor(ts *testscript.TestScript, what string, ask func() (answer string, done bool)) {
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		answer, done := ask()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("not so after %v: %s; but:\n%s", patience, what, answer)
		}
	}
}
