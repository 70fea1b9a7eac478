package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asleep is for how long no thread of a process has run when its next one wakes it
// up: what comes closer together is one wake-up, since a processor is not laid to
// sleep in between.
const asleep = time.Millisecond

// A wakeTrace has the kernel tell when threads begin and cease to run.
type wakeTrace struct{ instance string }

// traceWakes starts to trace the threads called comm; it ends with the benchmark.
func traceWakes(b *testing.B, comm string) (*wakeTrace, error) {
	b.Helper()
	w := &wakeTrace{instance: fmt.Sprintf("/sys/kernel/tracing/instances/hearth-bench-%d", os.Getpid())}
	if err := os.Mkdir(w.instance, 0o700); err != nil {
		return nil, fmt.Errorf("wake-ups need the kernel's tracing: %w", err)
	}
	b.Cleanup(func() {
		if err := errors.Join(w.write("events/sched/sched_switch/enable", "0"), os.Remove(w.instance)); err != nil {
			b.Error(err)
		}
	})
	return w, errors.Join(
		w.write("trace_clock", "mono"),
		w.write("events/sched/sched_switch/filter", fmt.Sprintf("prev_comm == %q || next_comm == %q", comm, comm)),
		w.write("events/sched/sched_switch/enable", "1"),
	)
}

func (w *wakeTrace) write(file, text string) error {
	return os.WriteFile(filepath.Join(w.instance, file), []byte(text), 0)
}

// take returns how often the process woke up since the last take.
func (w *wakeTrace) take(pid int) (int, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	threads := make(map[int]bool)
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return 0, err
		}
		threads[id] = true
	}
	trace, err := os.Open(filepath.Join(w.instance, "trace"))
	if err != nil {
		return 0, err
	}
	defer trace.Close()
	n, err := countWakes(trace, threads)
	return n, errors.Join(err, w.write("trace", ""))
}

var switched = regexp.MustCompile(` (\d+\.\d+): sched_switch: .*prev_pid=(\d+) .*next_pid=(\d+) `)

// countWakes counts in the kernel's text how often one of the threads began to run
// when none of them had for some time.
func countWakes(trace io.Reader, threads map[int]bool) (wakes int, err error) {
	running := make(map[int]bool)
	last := -asleep.Seconds() // when one ran last
	lines := bufio.NewScanner(trace)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "LOST") {
			return 0, errors.New("the kernel's trace has lost events")
		}
		words := switched.FindStringSubmatch(lines.Text())
		if words == nil {
			continue
		}
		at, err := strconv.ParseFloat(words[1], 64)
		if err != nil {
			return 0, err
		}
		from, _ := strconv.Atoi(words[2])
		to, _ := strconv.Atoi(words[3])
		if threads[from] {
			delete(running, from)
			last = at
		}
		if threads[to] {
			if len(running) == 0 && at-last >= asleep.Seconds() {
				wakes++
			}
			running[to] = true
		}
	}
	return wakes, lines.Err()
}

// A wake-up is the first thread that runs after all have slept.
func TestCountWakes(t *testing.T) {
	line := func(ms float64, from, to int) string {
		return fmt.Sprintf("  <idle>-0  [001] d..2. %12.6f: sched_switch: prev_comm=a b prev_pid=%d prev_prio=120 prev_state=S ==> next_comm=x next_pid=%d next_prio=120\n", 5+ms/1e3, from, to)
	}
	trace := "# tracer: nop\n" +
		line(0, 0, 7) + line(0.1, 0, 8) + line(0.3, 7, 0) + line(9, 0, 7) + // 8 still runs
		line(9.1, 7, 0) + line(9.2, 8, 0) +
		line(10, 0, 7) + line(10.1, 7, 0) + // too soon
		line(11.2, 0, 9) + line(11.3, 9, 8) + line(11.4, 8, 0) // after a stranger
	n, err := countWakes(strings.NewReader(trace), map[int]bool{7: true, 8: true})
	if n != 2 || err != nil {
		t.Errorf("%d wake-ups, %v; want 2", n, err)
	}
	if _, err := countWakes(strings.NewReader("CPU:0 [LOST 12 EVENTS]\n"+trace), nil); err == nil {
		t.Error("counted what is not whole")
	}
}
