package docker

import (
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// variant returns the ARM generation in a machine's name as the kernel tells
// it ("armv7l"), and "" for machines that have none.
func variant(machine string) string {
	if v, ok := strings.CutPrefix(machine, "armv"); ok && v != "" {
		return "v" + v[:1]
	}
	return ""
}

// runs reports whether a machine runs an image's programs itself. Emulators
// that its owner may have registered are not visible to the engine's clients,
// so they do not count. What an image leaves open is no obstacle.
func runs(machine, image ocispec.Platform) bool {
	if image.OS != "" && image.OS != machine.OS {
		return false
	}
	switch image.Architecture {
	case "", machine.Architecture:
		// Generations count where both are known: "v6" runs on "v7".
		return machine.Architecture != "arm" || image.Variant == "" || machine.Variant == "" || image.Variant <= machine.Variant
	case "arm":
		return machine.Architecture == "arm64"
	case "386":
		return machine.Architecture == "amd64"
	default:
		return false
	}
}

// normal returns a platform in Go's words, with a variant only where it decides
// whether a machine runs it: on arm.
func normal(p ocispec.Platform) ocispec.Platform {
	switch p.Architecture {
	case "x86_64":
		p.Architecture = "amd64"
	case "i386", "i686":
		p.Architecture = "386"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	}
	if p.Architecture != "arm" {
		p.Variant = ""
	}
	return p
}

// platformName writes a platform as docker does.
func platformName(p ocispec.Platform) string {
	name := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		name += "/" + p.Variant
	}
	return name
}
