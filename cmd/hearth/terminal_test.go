package main

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/testnet"
)

// TestTerminal: run -it hands its terminal to the container, with its size and
// each change of that, and gives it back as it was.
func TestTerminal(t *testing.T) {
	hearth := fakeDevice(t)
	master, slave := openTerminal(t)
	setSize(t, master, 24, 80)
	before := terminalState(t, slave)
	run := hearth("run", "-it", "--id", "screen", "work:1", "describe=/x", "tell")
	run.Stdin, run.Stdout, run.Stderr = slave, slave, slave
	run.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 100)
	go func() { // ends with the terminal
		defer close(lines)
		for scan := bufio.NewScanner(master); scan.Scan(); {
			lines <- strings.TrimSpace(scan.Text())
		}
	}()
	expect := func(want string) {
		t.Helper()
		deadline := time.After(patience)
		for {
			select {
			case line := <-lines:
				if line == want {
					return
				}
			case <-deadline:
				t.Fatalf("the terminal does not show %q", want)
			}
		}
	}
	expect("size 24 80") // the container finds it when it starts
	expect("ready")
	await(t, func() bool { return terminalState(t, slave).Lflag&unix.ICANON == 0 })
	// A Ctrl-C that was taken for a signal would stop the request.
	if _, err := master.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	setSize(t, master, 30, 100)
	expect("30 100")
	if out, err := hearth("stop", "screen").CombinedOutput(); err != nil {
		t.Fatalf("stop: %v\n%s", err, out)
	}
	err := run.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 143 {
		t.Errorf("a run that was stopped ended with %v", err)
	}
	if after := terminalState(t, slave); !reflect.DeepEqual(after, before) {
		t.Errorf("the terminal is not as it was:\n%+v\n%+v", before, after)
	}
}

// fakeDevice starts a device with the engine of the tests, and returns what makes
// commands for it.
func fakeDevice(t *testing.T) (hearth func(args ...string) *exec.Cmd) {
	t.Helper()
	dir := testnet.ShortTempDir(t)
	env := append(os.Environ(), "HEARTH_STATE="+dir, "HEARTH_SECRET="+testSecret, "HEARTH_NAME=attic",
		"HEARTH_LISTEN=/ip4/127.0.0.1/tcp/0", "HEARTH_NO_DISCOVERY=true")
	hearth = func(args ...string) *exec.Cmd {
		cmd := exec.Command("hearth", args...)
		cmd.Env = env
		return cmd
	}
	device := hearth("up", "--driver", "fake")
	if err := device.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = device.Process.Signal(os.Interrupt)
		if err := device.Wait(); err != nil {
			t.Errorf("the device: %v", err)
		}
	})
	await(t, func() bool {
		out, _ := hearth("nodes", "--json").Output() // it may not be up yet
		return strings.Contains(string(out), `"role":"node"`)
	})
	return hearth
}

// TestAttackOutput: what a container writes, of another member's request perhaps,
// sets no title and has no answer typed where 'hearth logs' shows it on a terminal.
// A file gets all, and so does a terminal with --raw.
func TestAttackOutput(t *testing.T) {
	hearth := fakeDevice(t)
	const attack = "red \x1b[31mred\x1b[0m\x1b]0;PWNED\a \x1b[6nend"
	if out, err := hearth("run", "-d", "--id", "evil", "work:1", "out="+attack, "err="+attack).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := hearth("wait", "evil").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	show := func(args ...string) string {
		master, slave := openTerminal(t)
		cmd := hearth(args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		// All of it is in the terminal by now, so one read gets it.
		buf := make([]byte, 64<<10)
		n, err := master.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	const kept = "red \x1b[31mred\x1b[0m end"
	for _, verb := range []string{"logs", "attach"} {
		if got := show(verb, "evil"); strings.Count(got, kept) != 2 || strings.Contains(got, "PWNED") || strings.Contains(got, "\x1b[6n") {
			t.Errorf("%s shows %q", verb, got)
		}
		if got := show(verb, "--raw", "evil"); strings.Count(got, attack) != 2 {
			t.Errorf("%s --raw shows %q", verb, got)
		}
		if got, err := hearth(verb, "evil").Output(); err != nil || !strings.Contains(string(got), attack) {
			t.Errorf("%s gives %q, %v", verb, got, err)
		}
	}
}

// TestWatchRedrawsInPlace: on a terminal lists replace each other, nothing that was
// there before is cleared, and Ctrl-C leaves the last list and an empty line.
func TestWatchRedrawsInPlace(t *testing.T) {
	hearth := fakeDevice(t)
	for _, verb := range []string{"nodes", "ps"} {
		master, slave := openTerminal(t)
		setSize(t, master, 24, 100)
		watch := hearth(verb, "--watch")
		watch.Stdin, watch.Stdout, watch.Stderr = slave, slave, slave
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		var seen strings.Builder
		read := func(until string) {
			t.Helper()
			for buf := make([]byte, 4096); !strings.Contains(seen.String(), until); {
				n, err := master.Read(buf)
				if err != nil {
					t.Fatalf("%s shows %q: %v", verb, seen.String(), err)
				}
				seen.Write(buf[:n])
			}
		}
		if verb == "ps" {
			read("AGE")
			if out, err := hearth("run", "-d", "--id", "shown", "work:1", "sleep=1h").CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			read("shown ")
			seen.Reset() // ages go on, without any event
			read("\x1b[2A")
		}
		read("\x1b[2A")
		if strings.Contains(seen.String(), "\x1b[2J") {
			t.Errorf("%s clears the terminal: %q", verb, seen.String())
		}
		if err := watch.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		read("\x1b[J\r\x1b[K")
		if err := watch.Wait(); err != nil {
			t.Errorf("%s was left by Ctrl-C with %v", verb, err)
		}
	}
}

// await asks again and again until done.
func await(t *testing.T, done func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so after %v", patience)
		}
	}
}

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

func setSize(t *testing.T, f *os.File, rows, columns uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(f.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		t.Fatal(err)
	}
}

func terminalState(t *testing.T, f *os.File) *unix.Termios {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state
}
