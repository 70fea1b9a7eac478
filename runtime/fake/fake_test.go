package fake_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
	"github.com/hearth-edge/hearth/runtime/runtimetest"
)

func script() runtimetest.Script {
	step := func(steps ...string) []string { return steps }
	return runtimetest.Script{
		Print:       func(stdout, stderr string) []string { return step("out="+stdout, "err="+stderr) },
		Exit:        func(code int) []string { return step(fmt.Sprint("exit=", code)) },
		Bytes:       func(n int) []string { return step(fmt.Sprint("bytes=", n)) },
		Echo:        func() []string { return step("echo") },
		Sleep:       func(d time.Duration) []string { return step("out=ready\n", "sleep="+d.String()) },
		Stubborn:    func(d time.Duration) []string { return step("ignore-term", "out=ready\n", "sleep="+d.String()) },
		Tell:        func() []string { return step("tell") },
		Describe:    func(tmpfs string) []string { return step("describe=" + tmpfs) },
		Serve:       func(port uint16) []string { return step(fmt.Sprint("serve=", port), "out=ready\n", "sleep=1h") },
		OutOfMemory: func() []string { return step("oom") },
		Unstartable: func(code int) []string { return step(fmt.Sprint("unstartable=", code)) },
	}
}

func TestConformance(t *testing.T) {
	runtimetest.Conformance(t, func(t *testing.T) runtime.Driver {
		e := fake.NewEngine(fake.Config{Images: map[string]fake.Image{"work": {Size: 1000}, "interrupted": {StopSignal: "INT"}}})
		t.Cleanup(e.Close)
		return e.Driver("mesh", "node")
	}, runtimetest.Options{Image: "work", Missing: "nothing", Interrupted: "interrupted", Script: script()})
}
