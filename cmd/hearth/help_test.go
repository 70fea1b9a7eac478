package main

import (
	"strings"
	"testing"
)

// TestHelpTopics: a topic is no verb, so that `hearth help NAME` means one
// thing; each page begins with its title, and its lines fit
// a page; those of figures are written by a program.
func TestHelpTopics(t *testing.T) {
	t.Parallel()
	root := (&cli{}).root()
	for _, topic := range topics() {
		for _, verb := range root.Commands() {
			if verb.Name() == topic || verb.HasAlias(topic) {
				t.Errorf("%q is a topic and a verb", topic)
			}
		}
		text, err := pages.ReadFile("help/" + topic + ".md")
		if err != nil {
			t.Fatal(err)
		}
		if title := topicTitle(topic); !strings.HasPrefix(string(text), "# ") || len(title) < 10 || len(title) > 66 {
			t.Errorf("%s: the title %q does not fit the list of topics", topic, title)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if len([]rune(line)) > 120 && !strings.HasPrefix(line, "|") && topic != "figures" && !strings.Contains(line, "://") {
				t.Errorf("%s.md:%d: %d characters, the most is 120", topic, n+1, len([]rune(line)))
			}
		}
	}
	if len(topics()) < 5 {
		t.Errorf("only %v are topics", topics())
	}
}

// TestEachVerbHasAGroup: none is left for last in the help.
func TestEachVerbHasAGroup(t *testing.T) {
	t.Parallel()
	for _, verb := range (&cli{}).root().Commands() {
		if verb.GroupID == "" && !verb.Hidden {
			t.Errorf("%s is in no group of groups.go", verb.Name())
		}
	}
}
