package docker

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// maxDescriptors is the most images of a list, or layers of an image, that
	// are looked at.
	maxDescriptors = 1000
	// maxMoved is more than any image has.
	maxMoved protocol.Bytes = 1 << 50
)

// manifestTypes are those of which parseManifest knows what matters.
var manifestTypes = []string{
	ocispec.MediaTypeImageIndex,
	ocispec.MediaTypeImageManifest,
	"application/vnd.docker.distribution.manifest.list.v2+json",
	"application/vnd.docker.distribution.manifest.v2+json",
}

// manifest is what matters of what a registry has by an image's name: a list of
// images for several platforms, or one image's layers. OCI's and docker's kinds
// only differ in the name of their type.
type manifest struct {
	Manifests descriptors `json:"manifests"`
	Layers    descriptors `json:"layers"`
}

// descriptors are read one by one, since a short text may hold very many.
type descriptors []descriptor

type descriptor struct {
	Digest   digest.Digest    `json:"digest"`
	Size     int64            `json:"size"`
	Platform ocispec.Platform `json:"platform"`
}

// UnmarshalJSON implements json.Unmarshaler.
func (l *descriptors) UnmarshalJSON(data []byte) error {
	*l = nil
	in := json.NewDecoder(bytes.NewReader(data))
	first, err := in.Token()
	if first == nil {
		return err
	}
	if first != json.Delim('[') {
		return errors.New("not a list")
	}
	for in.More() {
		if len(*l) == maxDescriptors {
			return fmt.Errorf("a list of more than %d", maxDescriptors)
		}
		var d descriptor
		if err := in.Decode(&d); err != nil {
			return err
		}
		*l = append(*l, d)
	}
	return nil
}

// parseManifest reads what a registry sent.
func parseManifest(data []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// imageFor returns which image of a list a machine fetches. Where none is made for
// it, another one is as good for a guess: those of several platforms are about
// as large. ok is false where there is none at all.
func (m *manifest) imageFor(machine ocispec.Platform) (image digest.Digest, ok bool) {
	images := slices.DeleteFunc(slices.Clone(m.Manifests), func(d descriptor) bool {
		// Attestations are listed beside images, as made for "unknown".
		return d.Digest.Validate() != nil || d.Platform.OS == "unknown" || d.Platform.Architecture == "unknown"
	})
	if len(images) == 0 {
		return "", false
	}
	fit := func(d descriptor) (fit int, variant string) {
		p := normal(d.Platform)
		switch {
		case !runs(machine, p):
			return 0, ""
		case p.Architecture != machine.Architecture:
			return 1, ""
		}
		return 2, p.Variant
	}
	best := slices.MaxFunc(images, func(a, b descriptor) int {
		fitA, variantA := fit(a)
		fitB, variantB := fit(b)
		return cmp.Or(cmp.Compare(fitA, fitB), cmp.Compare(variantA, variantB))
	})
	return best.Digest, true
}

// moved returns how much a fetch of the image moves: each layer once, as it is
// compressed.
func (m *manifest) moved() (protocol.Bytes, error) {
	var moved protocol.Bytes
	seen := make(map[digest.Digest]bool)
	for _, l := range m.Layers {
		if l.Size < 0 || protocol.Bytes(l.Size) > maxMoved-moved {
			return 0, fmt.Errorf("manifest: a layer of %d bytes", l.Size)
		}
		if !seen[l.Digest] {
			seen[l.Digest] = true
			moved += protocol.Bytes(l.Size)
		}
	}
	if moved == 0 {
		return 0, errors.New("manifest: it tells of no layers")
	}
	return moved, nil
}
