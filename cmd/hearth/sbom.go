package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	goruntime "runtime"
	"runtime/debug"
	"strings"
)

// licences has a line for each module: its path and an SPDX expression. It is
// made by `make generate`.
//
//go:embed licences.txt
var licences string

// A bom is a CycloneDX 1.5 bill of materials, as far as it is needed here.
type bom struct {
	Format   string         `json:"bomFormat"`
	Spec     string         `json:"specVersion"`
	Version  int            `json:"version"`
	Metadata bomMetadata    `json:"metadata"`
	Parts    []bomComponent `json:"components"`
}

type bomMetadata struct {
	Component bomComponent `json:"component"`
}

type bomComponent struct {
	Type     string       `json:"type"`
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	URL      string       `json:"purl,omitempty"`
	Licences []bomLicence `json:"licenses,omitempty"`
}

type bomLicence struct {
	Expression string `json:"expression"`
}

// writeBOM writes what this program is made of: the linker knows it.
func writeBOM(w io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("this program was built without the list of its modules: build it with 'make build'")
	}
	known := make(map[string]string)
	for line := range strings.Lines(licences) {
		module, expression, _ := strings.Cut(strings.TrimSpace(line), " ")
		known[module] = expression
	}
	library := func(path, version string) bomComponent {
		c := bomComponent{Type: "library", Name: path, Version: version, URL: "pkg:golang/" + path + "@" + version}
		if known[path] != "" {
			c.Licences = []bomLicence{{known[path]}}
		}
		return c
	}
	b := bom{Format: "CycloneDX", Spec: "1.5", Version: 1, Metadata: bomMetadata{bomComponent{
		Type: "application", Name: "hearth", Version: version, Licences: []bomLicence{{"Apache-2.0"}},
	}}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		b.Parts = append(b.Parts, library(m.Path, m.Version))
	}
	std := library("std", strings.TrimPrefix(goruntime.Version(), "go"))
	std.Licences = []bomLicence{{"BSD-3-Clause"}}
	b.Parts = append(b.Parts, std)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(b)
}
