package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/hearth-edge/hearth/protocol"
)

// child prepares this test binary to be run as a child that works in dir.
func child(t *testing.T, name, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, dir)
	cmd.Env = append(os.Environ(), childEnv+"="+name)
	cmd.Stderr = os.Stderr
	return cmd
}

// crashChild takes requests through their lives for ever, many at a time, and
// says each step on stdout once the journal has acknowledged it. Of each two
// requests one is left unended.
func crashChild(dir string) error {
	o := testOptions()
	o.MaxEnded = 1 << 20
	j, err := Open(filepath.Join(dir, "journal.db"), o)
	if err != nil {
		return err
	}
	if j.Report() != (Report{}) {
		return fmt.Errorf("a crash counts as damage: %+v", j.Report())
	}
	ctx := context.Background()
	var wg sync.WaitGroup
	failed := make(chan error, 8)
	for worker := range 8 {
		wg.Go(func() {
			failed <- func() error {
				for i := 0; ; i++ {
					id := fmt.Sprintf("p%d-%d-%d", os.Getpid(), worker, i)
					if _, err := j.Accepted(ctx, request(id)); err != nil {
						return err
					}
					fmt.Println(id, "accepted")
					if err := j.Offered(ctx, protocol.RequestID(id), Offer{Attempt: uint32(i + 1), Node: "nodeA"}); err != nil {
						return err
					}
					fmt.Println(id, "offered", i+1)
					if i%2 == 0 {
						if err := j.Ended(ctx, protocol.RequestID(id), ending(protocol.StateFailed, i, id)); err != nil {
							return err
						}
						fmt.Println(id, "ended", i)
					}
				}
			}()
		})
	}
	return <-failed
}

// TestKilledAtAnyPoint: what was acknowledged is there, 50 times.
func TestKilledAtAnyPoint(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acknowledged := map[protocol.RequestID]map[string]int{}
	for range 50 {
		cmd := child(t, "crash", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, kill := bufio.NewScanner(out), rng.IntN(150)
		for n := 0; lines.Scan(); n++ {
			if n == kill {
				cmd.Process.Kill()
			}
			words := append(strings.Fields(lines.Text()), "0")
			id, n := protocol.RequestID(words[0]), 0
			if n, err = strconv.Atoi(words[2]); err != nil {
				t.Fatalf("%q", lines.Text())
			}
			if acknowledged[id] == nil {
				acknowledged[id] = map[string]int{}
			}
			acknowledged[id][words[1]] = n
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child: %v", err)
		}
	}
	o := testOptions()
	o.MaxEnded = 1 << 20
	j := open(t, filepath.Join(dir, "journal.db"), o)
	if j.Report() != (Report{}) {
		t.Fatalf("report %+v", j.Report())
	}
	for id, steps := range acknowledged {
		r, err := j.Find(id)
		if err != nil {
			t.Fatalf("%s was acknowledged: %v", id, err)
		}
		if attempt, ok := steps["offered"]; ok && int(r.Offer.Attempt) != attempt {
			t.Errorf("%s: offer %+v, acknowledged %d", id, r.Offer, attempt)
		}
		if code, ok := steps["ended"]; ok && (r.End == nil || r.End.Event.ExitCode != code) {
			t.Errorf("%s: end %+v, acknowledged %d", id, r.End, code)
		}
	}
	t.Logf("%d requests acknowledged, %d in the journal", len(acknowledged), len(loadAll(t, j)))
	if len(acknowledged) < 50 {
		t.Fatal("the children did too little")
	}
}
