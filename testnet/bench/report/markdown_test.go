package report

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The README has a row for every promise and no other, with the limit that is
// kept to now; `make figures` writes them.
func TestReadmeHasTheLimits(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), begin)
	table, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatal("the README has no place for figures")
	}
	want := rowsOf(Markdown())
	got := rowsOf(table)
	if len(got) != len(want) {
		t.Fatalf("the README has %d rows and there are %d promises: run `make figures`", len(got), len(want))
	}
	for i := range want {
		for _, cell := range []int{0, 1, 3, 5} { // what does not depend on a measurement
			if len(got[i]) != 6 || got[i][cell] != want[i][cell] {
				t.Errorf("the README says %q instead of %q: run `make figures`", got[i], want[i])
				break
			}
		}
	}
}

// rowsOf returns the cells of a Markdown table, without its head.
func rowsOf(text string) (rows [][]string) {
	for line := range strings.Lines(text) {
		if inner, ok := strings.CutPrefix(strings.TrimSpace(line), "| "); ok && !strings.HasPrefix(inner, "what ") {
			rows = append(rows, strings.Split(strings.TrimSuffix(inner, " |"), " | "))
		}
	}
	return rows
}

// What was measured stands in its row, a limit that is not kept is marked, and what
// no report has is said to be unmeasured. A text is filled in as often as one likes.
func TestInsert(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Began = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	text := "before\n" + begin + "\nstale\n" + end + "\nafter\n"
	for range 2 {
		var err error
		if text, err = Insert(text, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"before\n" + begin, "\n\n" + end + "\nafter\n", "2 January 2026, on a \"fast\"",
		"| growth: started, against its reference | 200 | 3-fold, **not met** | ≤ 1.5-fold | 3 nodes: 1 ms |  |\n",
		"| growth: accepted | 100 | 1 ms | ≤ 4 ms |  |  |\n",
		"| idle: binary |  | not measured | ≤ 20 MB |  | 16.9 MB |\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("no %q, or several, in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "stale") {
		t.Error("the old table is still there")
	}
	if _, err := Insert("no place"); err == nil {
		t.Error("a text without a place for it took the table")
	}
}
