package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/runtime/policyfile"
)

// recorded decodes what a verb printed with --json when it was recorded.
func recorded(t *testing.T, file string) (out map[string]any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata/recorded", file))
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// prints runs a verb and decodes what it prints. Exit code 1 is an answer.
func prints(t *testing.T, args ...string) (out map[string]any) {
	t.Helper()
	stdout, err := os.Create(filepath.Join(t.TempDir(), "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	c := &cli{stdout: stdout, stderr: os.Stderr, drivers: drivers()}
	root := c.root()
	root.SetArgs(append(args, "--state", t.TempDir()))
	failed := root.ExecuteContext(t.Context())
	text, err := os.ReadFile(stdout.Name())
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatalf("%v, %v: %q", failed, err, text)
	}
	return out
}

// kinds returns the keys of v with what kind of value each has.
func kinds(v map[string]any) (out []string) {
	for k, e := range v {
		out = append(out, k+" "+reflect.ValueOf(e).Kind().String())
	}
	slices.Sort(out)
	return out
}

func TestRecordedVersionHasItsKeys(t *testing.T) {
	want, got := recorded(t, "version.json"), prints(t, "version", "--json")
	if !slices.Equal(kinds(want), kinds(got)) {
		t.Errorf("%v, want %v", kinds(got), kinds(want))
	}
}

func TestRecordedPolicyIsReadTheSame(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded/policy.toml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), policyfile.Name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	want, got := recorded(t, "policy-show.json"), prints(t, "policy", "show", "--json", "--policy", file)
	if !slices.Equal(kinds(want), kinds(got)) {
		t.Errorf("%v, want %v", kinds(got), kinds(want))
	}
	now := strings.Split(got["text"].(string), "\n") // with keys that came later
	for line := range strings.SplitSeq(want["text"].(string), "\n") {
		if !slices.Contains(now, line) {
			t.Errorf("the policy has %q no more", line)
		}
	}
	want = recorded(t, "policy-check.json")
	got = prints(t, "policy", "check", "--json", "--policy", file, "--device", "/dev/ttyS0", "busybox")
	if !slices.Equal(kinds(want), kinds(got)) {
		t.Errorf("%v, want %v", kinds(got), kinds(want))
	}
	keys := make(map[string]bool)
	for _, v := range want["verdicts"].([]any) {
		keys[strings.Join(kinds(v.(map[string]any)), ", ")] = true
	}
	for _, v := range got["verdicts"].([]any) {
		if is := strings.Join(kinds(v.(map[string]any)), ", "); !keys[is] {
			t.Errorf("a verdict with %s, want one of %v", is, keys)
		}
	}
}
