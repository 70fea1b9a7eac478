package report

import (
	"os"
	"strings"
	"testing"
	"time"
)

// Each page has a row for every promise that it is to have and no other, with
// the limit of now, and the README says what the whole page says; `make figures`
// writes both.
func TestPagesHaveTheLimits(t *testing.T) {
	t.Parallel()
	whole := tableOf(t, "../../../cmd/hearth/help/figures.md", false)
	measured := make(map[string]string)
	for _, row := range whole {
		measured[row[0]+row[1]] = row[2]
	}
	for _, row := range tableOf(t, "../../../README.md", true) {
		if measured[row[0]+row[1]] != row[2] {
			t.Errorf("the README says %q of %q, the page %q: run `make figures`", row[2], row[0], measured[row[0]+row[1]])
		}
	}
}

// tableOf returns a page's rows, which are those of the promises.
func tableOf(t *testing.T, path string, brief bool) [][]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), begin)
	table, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for figures", path)
	}
	want, got := rowsOf(Markdown(brief)), rowsOf(table)
	if len(got) != len(want) {
		t.Fatalf("%s has %d rows, there are %d promises: run `make figures`", path, len(got), len(want))
	}
	for i := range want {
		for _, cell := range []int{0, 1, 3, 5} { // what does not depend on a measurement
			if len(got[i]) != 6 || got[i][cell] != want[i][cell] {
				t.Fatalf("%s says %q instead of %q: run `make figures`", path, got[i], want[i])
			}
		}
	}
	return got
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
		if text, err = Insert(text, false, r); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"before\n" + begin, "\n\n" + end + "\nafter\n", "2 January 2026, on a \"fast\"",
		"| growth: started, against its reference | 200 | 3-fold, **not met** | ≤ 1.5-fold | 3 nodes: 1 ms |  |\n",
		"| growth: accepted | 100 | 1 ms | ≤ 4 ms |  |  |\n",
		"| idle: binary |  | not measured | ≤ 28 MB |  | 16.9 MB |\n",
	} {
		if strings.Count(text, want) != 1 {
			t.Errorf("no %q, or several, in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "stale") {
		t.Error("the old table is still there")
	}
	if _, err := Insert("no place", false); err == nil {
		t.Error("a text without a place for it took the table")
	}
}
