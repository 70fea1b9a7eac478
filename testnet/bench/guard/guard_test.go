package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"strings"
	"testing"
)

// What grows past the tolerance is worse, what falls past the slack better, and
// what is between neither; nothing escapes by being left out of the file.
func TestCompare(t *testing.T) {
	t.Parallel()
	before := map[string]float64{"same": 100, "within": 100, "past": 100, "shrunk": 100, "eased": 100, "none": 0, "some": 0, "gone": 1}
	now := map[string]float64{"same": 100, "within": 104.9, "past": 105.1, "shrunk": 79, "eased": 81, "none": 0, "some": 1, "new": 1}
	var out bytes.Buffer
	if worse, better := compare(&out, before, now); worse != 4 || better != 1 {
		t.Errorf("%d worse, %d better:\n%s", worse, better, &out)
	}
	for line := range strings.Lines(out.String()) {
		words := strings.Fields(line)
		want := map[string]string{"past": "WORSE by 5.1 %", "some": "WORSE by 1", "gone": "NOT MEASURED", "new": "NEW", "shrunk": "BETTER by 21.0 %"}[words[0]]
		if !strings.Contains(line, want) || want == "" && len(words) > 3 && words[0] != "figure" {
			t.Errorf("want %q in %q", want, line)
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	out := "goos: linux\nBenchmarkOne \t 100\t 12.5 ns/op\t 7 B/op\t 2 allocs/op\nBenchmarkTwo/n=1  3  9.000 calls\nPASS\n"
	want := map[string]float64{"One allocs/op": 2, "Two/n=1 calls": 9}
	if got := parse(out, []string{"allocs/op", "calls"}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestKept: the file is whole, and every suite has a figure in it.
func TestKept(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../guard.json")
	if err != nil {
		t.Fatal(err)
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil || k.Go == "" {
		t.Fatalf("%v, of Go %q", err, k.Go)
	}
	for _, s := range suites {
		found := false
		for name := range k.Figures {
			found = found || strings.HasPrefix(name, strings.TrimPrefix(s.pkg, "./")+" ")
		}
		if !found {
			t.Errorf("nothing is kept of %s", s.pkg)
		}
	}
}
