package main

import (
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// waitForText returns when the file holds the text, and fails after 20 s.
func waitForText(ts *testscript.TestScript, file, text string) {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		data, _ := os.ReadFile(file) // it may not exist yet
		if strings.Contains(string(data), text) {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s does not say %q:\n%s", file, text, data)
		}
	}
}
