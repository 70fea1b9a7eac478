package docker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// numbered returns a digest to tell images apart by.
func numbered(i int) digest.Digest { return digest.Digest(fmt.Sprintf("sha256:%064d", i)) }

func TestImageForTheMachine(t *testing.T) {
	m := &manifest{}
	for i, p := range []ocispec.Platform{
		{OS: "unknown", Architecture: "unknown"},
		{OS: "windows", Architecture: "amd64"},
		{OS: "linux", Architecture: "386"},
		{OS: "linux", Architecture: "arm", Variant: "v7"},
		{OS: "linux", Architecture: "arm", Variant: "v5"},
		{OS: "linux", Architecture: "arm", Variant: "v6"},
		{OS: "linux", Architecture: "amd64"},
	} {
		m.Manifests = append(m.Manifests, descriptor{Digest: numbered(i), Platform: p})
	}
	for _, c := range []struct {
		machine ocispec.Platform
		want    int
	}{
		{ocispec.Platform{OS: "linux", Architecture: "amd64"}, 6},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, 3},
		{ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}, 5},
		{ocispec.Platform{OS: "linux", Architecture: "arm64"}, 3},
		{ocispec.Platform{OS: "linux", Architecture: "riscv64"}, 1}, // the first that is an image
	} {
		if got, ok := m.imageFor(c.machine); !ok || got != numbered(c.want) {
			t.Errorf("%v gets %s, want %d", c.machine, got, c.want)
		}
	}
}

func TestManifests(t *testing.T) {
	layer := func(i, size int) string { return fmt.Sprintf(`{"digest":%q,"size":%d}`, numbered(i), size) }
	for _, c := range []struct {
		text string
		want int // 0 is an error
	}{
		{`{"layers":[` + layer(1, 10) + "," + layer(2, 5) + "," + layer(1, 10) + `]}`, 15},
		{`{"layers":[` + layer(1, 1<<50) + `]}`, 1 << 50},
		{`{"layers":[` + layer(1, 1<<50) + "," + layer(2, 1) + `]}`, 0},
		{`{"layers":[` + layer(1, -1) + `]}`, 0},
		{`{"layers":[` + strings.Repeat("{},", maxDescriptors) + `{}]}`, 0},
		{`{"layers":null}`, 0},
		{`{"layers":{}}`, 0},
		{`{"layers":[1]}`, 0},
		{`{"schemaVersion":1,"fsLayers":[{"blobSum":"x"}]}`, 0},
		{`<html>no</html>`, 0},
		{``, 0},
	} {
		m, err := parseManifest([]byte(c.text))
		if err == nil {
			_, list := m.imageFor(ocispec.Platform{})
			got, err := m.moved()
			if list || int(got) != c.want || (err == nil) != (c.want > 0) {
				t.Errorf("%.60s: %d, %v", c.text, got, err)
			}
		} else if c.want > 0 {
			t.Errorf("%.60s: %v", c.text, err)
		}
	}
}

// FuzzManifest: what a registry sends is read without harm, and what is then
// asked for, or said of the image, is possible.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"layers":[{"digest":"` + string(numbered(1)) + `","size":3}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"` + string(numbered(1)) + `","size":3,"platform":{"os":"linux","architecture":"arm","variant":"v7"}}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"../../x"}],"layers":[{"size":-1},{"size":9223372036854775807}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data)
		if err != nil {
			return
		}
		if len(m.Manifests) > maxDescriptors || len(m.Layers) > maxDescriptors {
			t.Errorf("%d images, %d layers", len(m.Manifests), len(m.Layers))
		}
		if image, ok := m.imageFor(ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}); ok && strings.ContainsAny(image.String(), "/?# ") {
			t.Errorf("%q would be asked for", image)
		}
		if moved, err := m.moved(); err == nil && (moved == 0 || moved > maxMoved) {
			t.Errorf("it moves %d", moved)
		}
	})
}
