package docker

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestRuns(t *testing.T) {
	p := func(os, arch, variant string) ocispec.Platform {
		return ocispec.Platform{OS: os, Architecture: arch, Variant: variant}
	}
	for _, c := range []struct {
		machine, image ocispec.Platform
		want           bool
	}{
		{p("linux", "amd64", ""), p("linux", "amd64", ""), true},
		{p("linux", "amd64", ""), p("", "", ""), true},
		{p("linux", "amd64", ""), p("linux", "386", ""), true},
		{p("linux", "amd64", ""), p("linux", "arm64", "v8"), false},
		{p("linux", "amd64", ""), p("windows", "amd64", ""), false},
		{p("linux", "386", ""), p("linux", "amd64", ""), false},
		{p("linux", "arm64", ""), p("linux", "arm64", "v8"), true},
		{p("linux", "arm64", ""), p("linux", "arm", "v7"), true},
		{p("linux", "arm", "v7"), p("linux", "arm", "v6"), true},
		{p("linux", "arm", "v6"), p("linux", "arm", "v7"), false},
		{p("linux", "arm", ""), p("linux", "arm", "v7"), true},
		{p("linux", "arm", "v7"), p("linux", "arm64", ""), false},
		{p("linux", "riscv64", ""), p("linux", "amd64", ""), false},
	} {
		if got := runs(c.machine, c.image); got != c.want {
			t.Errorf("%s on %s: %t", platformName(c.image), platformName(c.machine), got)
		}
	}
}

func TestVariant(t *testing.T) {
	for machine, want := range map[string]string{"armv7l": "v7", "armv6l": "v6", "aarch64": "", "x86_64": "", "armv": ""} {
		if got := variant(machine); got != want {
			t.Errorf("%s: %q, want %q", machine, got, want)
		}
	}
}
