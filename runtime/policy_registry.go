package runtime

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/hearth-edge/hearth/protocol"
)

// defaultRegistries is the entry of Policy.Registries that stands for those of
// publicRegistries and for those that the owner is logged in to.
const defaultRegistries = "default"

// publicRegistries are where most published images are. An image's name must
// not make a node ask anything else: it would be asked from inside the owner's
// network, and from the node itself.
var publicRegistries = [...]string{
	"docker.io", "quay.io", "ghcr.io", "registry.k8s.io", "mcr.microsoft.com", "gcr.io", "lscr.io",
}

// MayAsk reports whether a registry ("ghcr.io", "nas.local:5000") may be asked
// for images. The error is an *Error with CodePolicy, with the line that would
// allow it. named says that the owner named this one, as by a login (logins are
// the names of all): then it may be anywhere. One that is not named must not
// lead to this machine or to a link-local address.
func (p *Policy) MayAsk(registry string, logins []string) (named bool, err error) {
	registry = strings.ToLower(registry)
	usual := p.Registries == nil || slices.Contains(p.Registries, defaultRegistries)
	switch {
	case slices.Contains(p.Registries, registry), slices.ContainsFunc(p.Images, func(pattern string) bool { return registryOf(pattern) == registry }),
		usual && slices.Contains(logins, registry):
		return true, nil
	case usual && slices.Contains(publicRegistries[:], registry):
		return false, nil
	}
	return false, deny("registries", listing("registries", p.Registries, []string{defaultRegistries}, registry), "does not ask the registry %s for images", quoted(registry))
}

// registryOf returns the registry that a pattern of Policy.Images names; empty
// where it names an image by its ID alone.
func registryOf(pattern string) string {
	if prefix, ok := prefixOf(pattern); ok {
		registry, _, _ := strings.Cut(prefix, "/")
		return strings.ToLower(registry)
	}
	ref, err := reference.ParseAnyReference(pattern)
	if named, ok := ref.(reference.Named); ok && err == nil {
		return strings.ToLower(reference.Domain(named))
	}
	return ""
}

// registry judges where the image would be fetched from. One that is here needs
// no registry.
func (j *judgement) registry() {
	ref, err := reference.ParseAnyReference(j.spec.Image)
	named, ok := ref.(reference.Named)
	switch {
	case err != nil || !ok: // refused as an image, or an ID, which no registry is asked for
		return
	case j.spec.Pull == protocol.PullNever:
		j.say("registry", "registries", "none is asked", nil)
		return
	case j.spec.Pull != protocol.PullAlways && j.here.Has != nil && j.here.Has(j.spec.Image):
		j.say("registry", "registries", "none is asked: the image is here", nil)
		return
	}
	var logins []string
	if j.here.Logins != nil {
		logins = j.here.Logins()
	}
	registry := reference.Domain(named)
	_, err = j.policy.MayAsk(registry, logins)
	j.say("registry "+registry, "registries", registry, err)
}

func checkRegistry(name string) error {
	if name == defaultRegistries {
		return nil
	}
	named, err := reference.ParseNormalizedNamed(name + "/x/y")
	if err != nil || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not a registry: write HOST or HOST:PORT, as ghcr.io or nas.local:5000, or %q", name, defaultRegistries)
	}
	if domain := strings.ToLower(reference.Domain(named)); domain != name {
		if domain == "docker.io" && name != "index.docker.io" {
			return fmt.Errorf("%q is not a registry: write HOST or HOST:PORT, as ghcr.io or nas.local:5000, or %q", name, defaultRegistries)
		}
		return fmt.Errorf("%q: write it %q", name, domain)
	}
	return nil
}
