package testnet_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// TestDemo: the README's first command shows what it is to show, and leaves
// nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(testnet.Root(t), "testnet", "demo.sh")).CombinedOutput()
	if err != nil {
		t.Fatalf("the demo broke off: %v\n%s", err, out)
	}
	for _, want := range []string{"node1", "node2", "node3", "chosen", "primes below", "Exit code 42", "visit 1,", "visit 2,", "answers again"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not show %q:\n%s", want, out)
		}
	}
	// What newcomers see is what was measured, and no default.
	if row := regexp.MustCompile(`(?m)^.*\bchosen$`).FindString(string(out)); row == "" || strings.Contains(row, "~") {
		t.Errorf("the estimate that the demo shows is a guess: %q", row)
	}
	for _, list := range [][]string{{"ps", "-a", "--format", "{{.Names}}"}, {"images", "--format", "{{.Repository}}"}, {"network", "ls", "--format", "{{.Name}}"}, {"volume", "ls", "-q"}} {
		if left := testnet.Docker(t, list...); strings.Contains(left, "hearth-demo-") {
			t.Errorf("docker %v: the demo left %s", list, left)
		}
	}
}
