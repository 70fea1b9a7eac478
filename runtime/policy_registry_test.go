package runtime_test

import (
	"testing"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/fake"
)

// TestPolicyRegistries: what may be asked for images, and the line that would
// allow more.
func TestPolicyRegistries(t *testing.T) {
	with := func(registries, images []string) runtime.Policy {
		p := runtime.DefaultPolicy()
		p.Registries, p.Images = registries, images
		return p
	}
	usual := with(nil, nil)
	const add = `registries = ["default", `
	for _, c := range []struct {
		policy   runtime.Policy
		registry string
		named    bool
		refused  string // part of the reason; empty where it may be asked
	}{
		{usual, "docker.io", false, ""},
		{usual, "ghcr.io", false, ""},
		{usual, "GHCR.io", false, ""},
		{usual, "registry.example.org:5000", true, ""}, // by its login
		{usual, "ghcr.io:22", false, add + `"ghcr.io:22"]`},
		{usual, "127.0.0.1:8384", false, add + `"127.0.0.1:8384"]`},
		{usual, "[::1]:80", false, add + `"[::1]:80"]`},
		{usual, "169.254.169.254", false, add},
		{usual, "2130706433:80", false, add},
		{usual, "localhost:5000", false, add},
		{usual, "nas:5000", false, add},
		{usual, "nas.local:5000", false, add},
		{usual, "example.org", false, add},
		{with([]string{"default", "nas.local:5000"}, nil), "nas.local:5000", true, ""},
		{with([]string{"default", "nas.local:5000"}, nil), "quay.io", false, ""},
		{with([]string{"default", "nas.local:5000"}, nil), "nas.local:5001", false, `adding "nas.local:5001" to registries`},
		{with([]string{"ghcr.io"}, nil), "ghcr.io", true, ""},
		{with([]string{"ghcr.io"}, nil), "docker.io", false, `adding "docker.io" to registries`},
		{with([]string{"ghcr.io"}, nil), "registry.example.org:5000", false, "adding"},
		{with([]string{}, nil), "docker.io", false, `the line registries = ["docker.io"]`},
		{with(nil, []string{"127.0.0.1:5000/me/*"}), "127.0.0.1:5000", true, ""},
		{with([]string{}, []string{"nas:5000/app:1"}), "nas:5000", true, ""},
		{with([]string{}, []string{"busybox"}), "docker.io", true, ""},
	} {
		named, err := c.policy.MayAsk(c.registry, []string{"registry.example.org:5000"})
		switch {
		case c.refused == "" && err == nil && named == c.named:
		case c.refused != "" && protocol.CodeOf(err) == protocol.CodePolicy:
			contains(t, err.Error(), c.refused)
		default:
			t.Errorf("%v asks %s: named %v, %v", c.policy.Registries, c.registry, named, err)
		}
	}
	for name, good := range map[string]bool{
		"default": true, "ghcr.io": true, "nas.local:5000": true, "localhost:5000": true, "[::1]:5000": true, "nas:5000": true,
		"": false, "nas": false, "https://ghcr.io": false, "ghcr.io/me": false, "GHCR.io": false, "index.docker.io": false, "a b": false, "*": false,
	} {
		if p := with([]string{name}, nil); (p.Validate() == nil) != good {
			t.Errorf("an entry %q: %v", name, p.Validate())
		}
	}
}

// TestOfferOfARegistryNotAllowed: the node refuses by its policy, before it has
// anybody asked; what is here runs wherever it came from.
func TestOfferOfARegistryNotAllowed(t *testing.T) {
	inBubble(t, func(b *bed) {
		const localImage = "nas:5000/app:1"
		b.engine.AddImage(localImage, fake.Image{})
		b.run()
		o := offer("a")
		o.Service.Image = "127.0.0.1:8384/rest/config:1"
		r := b.refused(o, protocol.CodePolicy)
		contains(t, r.Reason, `registries = ["default", "127.0.0.1:8384"]`)
		here := offer("b", "exit=0")
		here.Service.Image = localImage
		if end := listen(b.offer(here)).end(); end.State != protocol.StateSucceeded {
			t.Errorf("what is here: %+v", end)
		}
	})
}
