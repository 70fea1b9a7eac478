package compose

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// corpus holds compose files that home users run, beside the project where it
// is; the generated set stands for it everywhere else.
const corpus = "../../../../shared/compose-corpus"

// TestCorpusIsPlanned: of the files whose services all have an image or a build,
// 95 % are planned or refused for their build alone; all others are refused by
// name.
func TestCorpusIsPlanned(t *testing.T) {
	t.Parallel()
	dir := corpus
	if env := os.Getenv("HEARTH_CORPUS"); env != "" {
		dir = env
	}
	whole, planned, built, others := 0, 0, 0, 0
	reasons := make(map[string]int)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		_, _, err = Load(t.Context(), Options{Files: []string{path}, Plan: true, Env: []string{"HOME=/root"}})
		complete := isComplete(t, path)
		if complete {
			whole++
		} else {
			others++
		}
		var refused Refusals
		switch {
		case err == nil && complete:
			planned++
		case err == nil:
			t.Logf("%s is planned though a service has neither image nor build", path)
		case !errors.As(err, &refused):
			t.Errorf("%s: %v is no refusal by name", path, err)
		case complete && onlyBuilds(refused):
			built++
		case complete:
			t.Logf("%s:\n%v", strings.TrimPrefix(path, dir), err)
			for _, r := range refused {
				reasons[r.Reason]++
			}
		}
		for _, r := range refused {
			if r.File == "" || r.Line == 0 || r.Reason == "" || r.Key == "" {
				t.Errorf("%s: %+v lacks where, what or why", path, r)
			}
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		t.Log("the corpus is not here; TestGenerated covers its keys in proportion")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	share := float64(planned+built) / float64(whole)
	t.Logf("%d files are whole: %d planned, %d refused for a build, share %.1f %%; %d others refused; reasons: %v", whole, planned, built, 100*share, others, reasons)
	if share < 0.95 {
		t.Errorf("%.1f %% are planned or refused for their build, want 95 %%", 100*share)
	}
}

func onlyBuilds(rs Refusals) bool {
	for _, r := range rs {
		if !strings.HasSuffix(r.Key, ".build") {
			return false
		}
	}
	return true
}

// isComplete reports whether all services of a file have an image or a build.
func isComplete(t *testing.T, path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]map[string]any `yaml:"services"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return false
	}
	for _, s := range file.Services {
		if s["image"] == nil && s["build"] == nil {
			return false
		}
	}
	return len(file.Services) > 0
}
