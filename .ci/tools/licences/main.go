// Command licences prints the licence of each module that is linked into the
// packages named: lines of a module's path and an SPDX expression. It fails
// where it does not recognise one.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// texts are the files that hold a licence, and not one of a document.
var texts = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([-.](md|txt|mit|bsd|apache)[-.a-z0-9]*)?$`)

func main() {
	log.SetFlags(0)
	log.SetPrefix("licences: ")
	const format = `{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}`
	// Those of all systems that hearth is built for.
	modules := make(map[string]string)
	for _, arch := range []string{"amd64", "arm64", "arm", "riscv64"} {
		cmd := exec.Command("go", append([]string{"list", "-deps", "-f", format}, os.Args[1:]...)...)
		cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			log.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
			if path, dir, ok := strings.Cut(lines.Text(), " "); ok {
				modules[path] = dir
			}
		}
	}
	var lines []string
	for path, dir := range modules {
		expression, err := licenceOf(dir)
		if err != nil {
			log.Fatalf("%s: %v", path, err)
		}
		lines = append(lines, path+" "+expression)
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
}

// identifier is how a text names its licence itself.
var identifier = regexp.MustCompile(`SPDX-License-Identifier: ([-A-Za-z0-9. ]+[A-Za-z0-9])`)

// licenceOf returns the SPDX expression of what a module's folder says. Licences
// hold together; of several texts named for their licences, such as LICENSE-MIT and
// LICENSE-APACHE, the user has the choice.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var all, choice []string
	for _, e := range entries {
		if e.IsDir() || !texts.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		if m := identifier.FindSubmatch(text); m != nil {
			return string(m[1]), nil
		}
		for _, m := range licensecheck.Scan(text).Match {
			switch named := strings.Contains(e.Name(), "-"); {
			case m.IsURL:
			case named && !slices.Contains(choice, m.ID):
				choice = append(choice, m.ID)
			case !named && !slices.Contains(all, m.ID):
				all = append(all, m.ID)
			}
		}
	}
	slices.Sort(all)
	slices.Sort(choice)
	if len(choice) > 1 && (len(all) == 0 || slices.Equal(all, choice)) {
		return strings.Join(choice, " OR "), nil
	}
	all = append(all, choice...)
	if len(all) == 0 {
		return "", fmt.Errorf("no licence recognised in %s", dir)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " AND "), nil
}
