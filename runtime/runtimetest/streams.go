package runtimetest

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

func testAttach(t *testing.T, s suite) {
	running := s.spec("running", s.script.Sleep(long))
	first := s.start(t, running)
	readUntil(t, first.Output, "ready\n")
	first.Output.Close()
	later, err := s.driver.Attach(s.context(t), running.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer later.Output.Close()
	if later.Stdin != nil {
		t.Error("an input")
	}
	readUntil(t, later.Output, "ready\n")
	if err := s.driver.Signal(s.context(t), running.ID, "KILL"); err != nil {
		t.Fatal(err)
	}
	readAll(t, later.Output)

	ended := s.spec("ended", s.script.Print("out\n", "err\n"))
	readAll(t, s.start(t, ended).Output)
	s.wait(t, ended.ID, 0)
	again, err := s.driver.Attach(s.context(t), ended.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Output.Close()
	if stdout, stderr := readAll(t, again.Output); stdout != "out\n" || stderr != "err\n" {
		t.Errorf("after the end: %q and %q", stdout, stderr)
	}
}

func testImageMissing(t *testing.T, s suite) {
	wantCode(t, "Pull", s.driver.Pull(s.context(t), s.options.Missing, nil), protocol.CodeImageNotFound)
	wantCode(t, "PullAlways", s.driver.PullAlways(s.context(t), s.options.Missing, nil), protocol.CodeImageNotFound)
	spec := s.spec("missing", nil)
	spec.Image = s.options.Missing
	_, _, err := s.driver.Create(s.context(t), spec)
	wantCode(t, "Create", err, protocol.CodeImageNotFound)
	if !strings.Contains(err.Error(), s.options.Missing) {
		t.Errorf("the error does not name the image: %v", err)
	}
}

func testUnstartable(t *testing.T, s suite) {
	for _, code := range []int{127, 126} {
		for _, tty := range []bool{false, true} {
			spec := s.spec(itoa(code)+strconv.FormatBool(tty), s.script.Unstartable(code))
			spec.TTY = tty
			stdio := s.start(t, spec)
			exit, err := s.driver.Wait(s.context(t), spec.ID)
			wantCode(t, "Wait", err, protocol.CodeStartFailed)
			if exit.Code != code {
				t.Errorf("exit code %d, want %d", exit.Code, code)
			}
			again, err := s.driver.Attach(s.context(t), spec.ID)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Output.Close()
			for _, out := range []runtime.OutputReader{stdio.Output, again.Output} {
				if stdout, stderr := readAll(t, out); stdout+stderr != "" {
					t.Errorf("output of what never ran: %q and %q", stdout, stderr)
				}
			}
		}
	}
}

// testStopSignal: the empty signal is the one by which the image is to be stopped.
func testStopSignal(t *testing.T, s suite) {
	for image, code := range map[string]int{s.options.Image: 143, s.options.Interrupted: 130} {
		spec := s.spec(itoa(code), s.script.Sleep(long))
		spec.Image = image
		readUntil(t, s.start(t, spec).Output, "ready\n")
		if err := s.driver.Signal(s.context(t), spec.ID, ""); err != nil {
			t.Fatal(err)
		}
		s.wait(t, spec.ID, code)
	}
}

func testOutOfMemory(t *testing.T, s suite) {
	spec := s.spec("memory", s.script.OutOfMemory())
	spec.Memory = 16 << 20
	s.start(t, spec)
	if exit := s.wait(t, spec.ID, 137); !exit.OOMKilled {
		t.Errorf("%+v", exit)
	}
}

// testBackpressure has two containers write the same. When the one whose
// output is read has ended, the other must not have.
func testBackpressure(t *testing.T, s suite) {
	const size = 10 << 20
	unread := s.spec("unread", s.script.Bytes(size))
	held := s.start(t, unread)
	read := s.spec("read", s.script.Bytes(size))
	readAll(t, s.start(t, read).Output)
	s.wait(t, read.ID, 0)

	if found, ok := s.find(t, unread.ID); !ok || !found.Running {
		t.Errorf("nobody read its output, and yet it wrote all of it: %+v", found)
	}
	if stdout, _ := readAll(t, held.Output); len(stdout) != size {
		t.Errorf("%d bytes came, not %d", len(stdout), size)
	}
	s.wait(t, unread.ID, 0)
}

func testCloseUnblocksNext(t *testing.T, s suite) {
	spec := s.spec("close", s.script.Sleep(long))
	stdio := s.start(t, spec)
	readUntil(t, stdio.Output, "ready\n")
	ended := make(chan error, 1)
	go func() {
		_, _, err := stdio.Output.Next()
		ended <- err
	}()
	if err := stdio.Output.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("Next returned output that nobody wrote")
	}
	if found, ok := s.find(t, spec.ID); !ok || !found.Running {
		t.Errorf("the container went with its output: %+v", found)
	}
}

func testMany(t *testing.T, s suite) {
	var all sync.WaitGroup
	defer all.Wait()
	for i := range 20 {
		all.Go(func() {
			spec := s.spec(itoa(i), s.script.Print(itoa(i), ""))
			_, stdio, err := s.driver.Create(s.context(t), spec)
			if err != nil {
				t.Errorf("Create: %v", err)
				return
			}
			s.removeLater(t, spec.ID)
			defer stdio.Output.Close()
			if err := s.driver.Start(s.context(t), spec.ID); err != nil {
				t.Errorf("Start: %v", err)
				return
			}
			if _, data, err := stdio.Output.Next(); err != nil || string(data) != itoa(i) {
				t.Errorf("output %q, %v", data, err)
			}
			if exit, err := s.driver.Wait(s.context(t), spec.ID); err != nil || exit.Code != 0 {
				t.Errorf("%+v, %v", exit, err)
			}
		})
	}
}

func testWatch(t *testing.T, s suite) {
	ctx, cancel := context.WithCancel(s.context(t))
	up := make(chan bool, 16)
	ended := make(chan error, 1)
	go func() { ended <- s.driver.Watch(ctx, func(is bool) { up <- is }, func() {}) }()
	select {
	case is := <-up:
		if !is {
			t.Error("the engine that answers is said to be down")
		}
	case <-time.After(patience):
		t.Error("no word of the engine")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch: %v", err)
	}
}
