package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A suite is some benchmarks of one package, run so many times each, and the
// units of theirs that are kept.
type suite struct {
	pkg, pattern string
	times        int
	units        []string
}

var allocations = []string{"B/op", "allocs/op"}

// suites are what is guarded of benchmarks: the way of one request, and what goes
// on while there is none.
var suites = []suite{
	{"./keys", "^BenchmarkVerify$", 200, allocations},
	{"./protocol", "^Benchmark(StatusEncode|StatusDecode|Frame|Offer|Feed)$", 2000, allocations},
	{"./sched", "^Benchmark(Place1000|Snapshot1000)$", 200, allocations},
	{"./sched", "^BenchmarkRequests$/^callers=1$", 1000, allocations},
	{"./sched", "^BenchmarkMesh$", 300, allocations},
	{"./sched/journal", "^BenchmarkAccept$/^callers=1$", 500, allocations},
	{"./sched/journal", "^Benchmark(EncodeRequest|ServiceHash)$", 500, allocations},
	{"./runtime/fake", "^BenchmarkExecution$", 1000, allocations},
	{"./runtime/docker", "^BenchmarkReader$", 1000, allocations},
	{"./p2p", "^BenchmarkHandshake$", 500, allocations},
	{"./p2p", "^BenchmarkOpenAndEcho$", 1000, allocations},
	{"./p2p", "^BenchmarkMemberMemory$", 3, []string{"heap-B/member", "goroutines/member"}},
	{"./p2p/app", "^BenchmarkAsk$", 1000, allocations},
	{"./testnet/bench", "^BenchmarkNode$", 3, []string{"goroutines-of-a-node-goroutines", "heap-of-a-node-kB"}},
	{"./testnet/bench", "^BenchmarkCalls$", 3, []string{"calls-of-the-engine-for-an-execution-calls"}},
}

// measure fills in all figures.
func measure(figures map[string]float64) error {
	for _, s := range suites {
		if err := s.measure(figures); err != nil {
			return err
		}
	}
	if err := linked(figures); err != nil {
		return err
	}
	return binary(figures)
}

// measure runs the benchmarks with one processor and without collecting garbage,
// so that neither the order of goroutines nor the emptying of pools is left to
// chance.
func (s *suite) measure(figures map[string]float64) error {
	times := strconv.Itoa(s.times) + "x"
	cmd := exec.Command("go", "test", "-run", "^$", "-bench", s.pattern, "-benchtime", times, "-benchmem", s.pkg)
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	found := parse(string(out), s.units)
	if len(found) == 0 {
		return fmt.Errorf("%s ran no benchmark", strings.Join(cmd.Args, " "))
	}
	for name, v := range found {
		figures[strings.TrimPrefix(s.pkg, "./")+" "+name] = v
	}
	return nil
}

// result is a line of a benchmark: its name, how often it was run, values and
// their units.
var result = regexp.MustCompile(`^Benchmark(\S+)\s+\d+\s+(.*)$`)

// parse returns the values of the units, by benchmark and unit.
func parse(out string, units []string) map[string]float64 {
	figures := make(map[string]float64)
	for line := range strings.Lines(out) {
		m := result.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		words := strings.Fields(m[2])
		for i := 0; i+1 < len(words); i += 2 {
			v, err := strconv.ParseFloat(words[i], 64)
			if err == nil && slices.Contains(units, words[i+1]) {
				figures[m[1]+" "+words[i+1]] = v
			}
		}
	}
	return figures
}

// tags are those that `make build` builds with.
const tags = "nethttpomithttp2"

// linked counts the modules and the packages that the binary is made of.
func linked(figures map[string]float64) error {
	cmd := exec.Command("go", "list", "-deps", "-tags="+tags, "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/hearth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("list what is linked: %w", err)
	}
	modules, packages := make(map[string]bool), 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		packages++
		if lines.Text() != "" {
			modules[lines.Text()] = true
		}
	}
	figures["binary modules"], figures["binary packages"] = float64(len(modules)), float64(packages)
	return nil
}

// binary builds as `make build` does, for amd64.
func binary(figures map[string]float64) error {
	dir, err := os.MkdirTemp("", "hearth-guard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hearth")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags="+tags, "-ldflags=-s -w", "-o", path, "./cmd/hearth")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	figures["binary amd64 bytes"] = float64(info.Size())
	return nil
}
