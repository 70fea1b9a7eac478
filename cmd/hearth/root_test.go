package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who finds no device of his own is told of the one that runs as root.
func TestNotRunningHintNamesTheDeviceOfRoot(t *testing.T) {
	system, me := t.TempDir(), os.Geteuid()
	another := me + 1
	for _, c := range []struct {
		name    string
		unnamed bool
		system  string
		user    int
		want    string
	}{
		{"another user", true, system, another, "with its state in " + system + ": use sudo"},
		{"a folder was named", false, system, another, "start it with 'hearth up'"},
		{"no such device", true, filepath.Join(system, "none"), another, "start it with 'hearth up'"},
		{"its owner", true, system, me, "start it with 'hearth up'"},
		{"root", true, system, 0, "start it with 'hearth up'"},
	} {
		if hint := notRunningHint(c.unnamed, c.system, c.user); !strings.Contains(hint, c.want) {
			t.Errorf("%s: %s", c.name, hint)
		}
	}
}

// No verb of another program hides one of hearth's own, and none is told twice.
func TestForeignVerbsAreForeign(t *testing.T) {
	seen := map[string]bool{}
	c := &cli{drivers: drivers()}
	for _, cmd := range c.root().Commands() {
		seen[cmd.Name()] = true
		for _, a := range cmd.Aliases {
			seen[a] = true
		}
	}
	for _, f := range foreignVerbs {
		for _, name := range f.names {
			if seen[name] {
				t.Errorf("%s is there already", name)
			}
			seen[name] = true
			if err := foreign(name); err == nil {
				t.Errorf("%s is not answered", name)
			}
		}
	}
	if err := foreign("walk"); err != nil {
		t.Error(err)
	}
}
