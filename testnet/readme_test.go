package testnet_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hearth-edge/hearth/testnet"
)

// readmeLines bounds the README: long matters go to the help pages.
const readmeLines = 150

// pagesOf returns the README and the pages that `hearth help` shows, in the order
// in which TestReadmeRuns types what they say.
func pagesOf(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md"}
	for _, topic := range []string{"stacks", "compose", "faults", "policies", "apps", "http", "doors", "figures", "security"} {
		pages = append(pages, filepath.Join("cmd", "hearth", "help", topic+".md"))
	}
	found, err := filepath.Glob(filepath.Join(testnet.Root(t), "cmd", "hearth", "help", "*.md"))
	if err != nil || len(found) != len(pages)-1 {
		t.Fatalf("%d pages are known here, there are %v (%v)", len(pages)-1, found, err)
	}
	return pages
}

// TestReadmeFits: the README stays short, and its links to files lead somewhere.
func TestReadmeFits(t *testing.T) {
	t.Parallel()
	root := testnet.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "\n"); n > readmeLines {
		t.Errorf("the README has %d lines, the most is %d", n, readmeLines)
	}
	for _, m := range regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("the README links to what is not there: %v", err)
		}
	}
}

// TestReadme: what the README and the help pages tell people to type exists: each
// make target, each verb and flag of hearth, each verb of testnet.sh.
func TestReadme(t *testing.T) {
	t.Parallel()
	root := testnet.Root(t)
	targets := targetsOf(t, filepath.Join(root, "Makefile"))
	script, err := os.ReadFile(filepath.Join(root, "testnet", "testnet.sh"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, line := range commands(t) {
		words := strings.Fields(strings.TrimPrefix(line[strings.LastIndex(line, "|")+1:], "sudo "))
		switch filepath.Base(words[0]) {
		case "make":
			for _, target := range words[1:] {
				if !targets[target] && !strings.Contains(target, "=") {
					t.Errorf("README: %q: the Makefile has no target %q", line, target)
				}
			}
		case "testnet.sh":
			if len(words) < 2 || !strings.Contains(string(script), "\n"+words[1]+")") {
				t.Errorf("README: %q: testnet.sh has no such verb", line)
			}
		case "hearth":
			checkVerb(t, line, words[1:])
		default:
			t.Errorf("README: %q: neither make, hearth nor testnet.sh; this test cannot tell whether it works", line)
		}
		seen++
	}
	if seen < 5 {
		t.Errorf("only %d commands were found in the README", seen)
	}
}

// commands returns the commands in the ```sh blocks of all pages: what stands
// before a comment.
func commands(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, page := range pagesOf(t) {
		found = append(found, commandsOf(t, filepath.Join(testnet.Root(t), page))...)
	}
	return found
}

func commandsOf(t *testing.T, page string) []string {
	t.Helper()
	f, err := os.Open(page)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var found []string
	inside := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		if strings.HasPrefix(line, "```") {
			inside = line == "```sh"
			continue
		}
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); inside && line != "" {
			found = append(found, line)
		}
	}
	return found
}

func targetsOf(t *testing.T, makefile string) map[string]bool {
	t.Helper()
	data, err := os.ReadFile(makefile)
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(data), -1) {
		targets[m[1]] = true
	}
	return targets
}

// checkVerb asks hearth itself for the help on a command line's verb, and finds
// each of its flags there; what follows the image is the container's.
func checkVerb(t *testing.T, line string, words []string) {
	t.Helper()
	verb, flags := []string{}, []string{}
	for _, w := range words {
		switch {
		case strings.HasPrefix(w, "-"):
			name, _, _ := strings.Cut(w, "=")
			flags = append(flags, name)
		case len(verb) == 0 || len(verb) == 1 && slices.Contains([]string{"secret", "stack", "token"}, verb[0]):
			verb = append(verb, w)
		}
	}
	help, err := exec.Command(testnet.Binary(t), append(verb, "--help")...).Output()
	if err != nil {
		t.Errorf("README: %q: hearth has no such verb: %v", line, err)
	}
	for _, flag := range flags {
		if !regexp.MustCompile(`(^|\s)` + regexp.QuoteMeta(flag) + `[\s,]`).Match(help) {
			t.Errorf("README: %q: the verb has no flag %s", line, flag)
		}
	}
}
