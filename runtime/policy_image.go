package runtime

import (
	"fmt"
	"strings"

	"github.com/distribution/reference"
)

// below is the end of a pattern that means all repositories below.
const below = "/*"

func (j *judgement) image() {
	image, key, err := j.policy.image(j.service.Image)
	j.spec.Image = image
	j.say("image", key, image, err)
}

// image returns the reference to run. Where images are restricted it is written
// out in full, so that the engine takes it for no other: a short name could be
// the beginning of an image's ID.
func (p *Policy) image(asked string) (image, key string, err error) {
	if p.Images == nil && !p.RequireDigest {
		return asked, "images", nil
	}
	ref, err := reference.ParseAnyReference(asked)
	if err != nil {
		return "", "images", deny("images", "", "cannot tell what image %s is", quoted(asked))
	}
	// An image's ID is the digest of its content, too.
	if _, pinned := ref.(reference.Digested); p.RequireDigest && !pinned {
		return "", "require_digest", deny("require_digest", line("require_digest", "false"), "runs an image by its digest only, as NAME@sha256:…, and not %s: what is behind a tag can change", quoted(asked))
	}
	key = "images"
	if p.Images == nil {
		key = "require_digest"
	} else if !matchesAny(p.Images, ref) {
		return "", key, deny(key, listing(key, p.Images, nil, patternOf(ref)), "does not run the image %s", quoted(asked))
	}
	return inFull(ref), key, nil
}

// patternOf is what Policy.Images names an image by: its repository, or its ID.
func patternOf(ref reference.Reference) string {
	if named, ok := ref.(reference.Named); ok {
		return named.Name()
	}
	return ref.String()
}

// inFull writes a reference without a tag where a digest says more, and with
// one everywhere else.
func inFull(ref reference.Reference) string {
	named, ok := ref.(reference.Named)
	if !ok {
		return ref.String()
	}
	if canonical, ok := ref.(reference.Canonical); ok {
		if pinned, err := reference.WithDigest(reference.TrimNamed(named), canonical.Digest()); err == nil {
			return pinned.String()
		}
	}
	return reference.TagNameOnly(named).String()
}

func matchesAny(patterns []string, ref reference.Reference) bool {
	for _, p := range patterns {
		if matches(p, ref) {
			return true
		}
	}
	return false
}

// matches reports whether a pattern of Policy.Images means an image.
func matches(pattern string, ref reference.Reference) bool {
	var pinned string
	if d, ok := ref.(reference.Digested); ok {
		pinned = d.Digest().String()
	}
	named, hasName := ref.(reference.Named)
	if prefix, ok := prefixOf(pattern); ok {
		return hasName && strings.HasPrefix(named.Name(), prefix)
	}
	want, err := reference.ParseAnyReference(pattern)
	if err != nil {
		return false
	}
	wantNamed, ok := want.(reference.Named)
	if !ok {
		return pinned != "" && pinned == want.String()
	}
	switch {
	case !hasName || named.Name() != wantNamed.Name():
		return false
	case reference.IsNameOnly(wantNamed):
		return true
	}
	if d, ok := want.(reference.Digested); ok {
		return pinned == d.Digest().String()
	}
	tagged, ok := reference.TagNameOnly(named).(reference.Tagged)
	return ok && pinned == "" && tagged.Tag() == want.(reference.Tagged).Tag()
}

// prefixOf returns the beginning of the names that a pattern with /* means.
func prefixOf(pattern string) (string, bool) {
	path, ok := strings.CutSuffix(pattern, below)
	if !ok {
		return "", false
	}
	// Two more parts keep docker.io from becoming docker.io/library.
	named, err := reference.ParseNormalizedNamed(path + "/x/y")
	if err != nil {
		return "", false
	}
	return strings.TrimSuffix(named.Name(), "x/y"), true
}

func checkImagePattern(pattern string) error {
	if strings.HasSuffix(pattern, below) {
		if _, ok := prefixOf(pattern); !ok {
			return fmt.Errorf("%q is not REGISTRY/* or PATH/*, as ghcr.io/* or docker.io/library/*", pattern)
		}
		return nil
	}
	if _, err := reference.ParseAnyReference(pattern); err != nil {
		return fmt.Errorf("%q names no image: %w", pattern, err)
	}
	if name, _, _ := strings.Cut(pattern, ":"); !strings.Contains(pattern, "/") && strings.Contains(name, ".") {
		return fmt.Errorf("%q would be an image on Docker Hub: for all of a registry write %q", pattern, pattern+below)
	}
	return nil
}
