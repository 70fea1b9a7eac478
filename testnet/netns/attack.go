package netns

import (
	"bufio"
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/testnet"
)

// attackPatience bounds how long an attack takes to begin.
const attackPatience = time.Minute

// Attack runs the program that attacks devices (testnet/attack) on the host, and
// returns once the attack has begun. stop ends it, and fails the test if it had
// ended before, as where the device let it in.
func (h *Host) Attack(t testing.TB, args ...string) (stop func()) {
	t.Helper()
	binary := testnet.Attacker(t)
	// It has a machine of its own in life: here it must not take the victim's
	// processor time itself, so it runs only while nobody else wants to.
	cmd := h.Command(context.Background(), "chrt", append([]string{"--idle", "0", binary}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			close(begun) // it says one line
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
	})
	select {
	case <-begun:
	case <-ended:
		t.Fatalf("the attack ended: %s", said.String())
	case <-time.After(attackPatience):
		t.Fatal("the attack never began")
	}
	return func() {
		select {
		case <-ended:
			t.Errorf("the attack ended: %s", said.String())
		default:
		}
		_ = cmd.Process.Kill()
		<-ended
	}
}
