package docker

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// inspectTimeout is how long the engine and the registry have to tell of an
// image.
const inspectTimeout = 30 * time.Second

// Inspect implements runtime.Driver. Of an image that is not here the engine
// tells the platforms. Its size is only known to the registry; that is asked at
// the same time, and is not waited for long.
func (d *Driver) Inspect(ctx context.Context, ref string) (runtime.ImageFacts, error) {
	found, present, err := d.local(ctx, ref)
	if err != nil {
		return runtime.ImageFacts{}, err
	}
	if present {
		made := ocispec.Platform{OS: found.Os, Architecture: found.Architecture, Variant: found.Variant}
		return runtime.ImageFacts{
			Present:   true,
			Size:      protocol.Bytes(max(found.Size, 0)),
			Platforms: platformNames(made),
		}, nil
	}
	named, err := pullable(ref)
	if err != nil {
		return runtime.ImageFacts{}, err
	}
	if err := d.mayAsk(ctx, named); err != nil {
		return runtime.ImageFacts{}, err
	}
	auth := d.authorization(ctx, named)
	measuring, stop := context.WithTimeout(ctx, inspectTimeout)
	defer stop()
	size := make(chan protocol.Bytes, 1)
	d.background.Go(func() {
		moved, err := d.fetchSize(measuring, named, auth)
		if err != nil {
			d.cfg.Log.Debug("the size of an image is not known", "image", named.String(), "err", err)
		}
		size <- moved
	})
	var facts runtime.ImageFacts
	err = d.within(ctx, inspectTimeout, "inspect image", func(asking context.Context) error {
		told, err := d.client.Load().DistributionInspect(asking, named.String(), auth)
		if err != nil {
			return d.explainInspect(ctx, asking, named, err)
		}
		facts.Platforms = platformNames(told.Platforms...)
		return nil
	})
	if err != nil {
		return runtime.ImageFacts{}, err
	}
	select {
	case facts.Size = <-size:
		facts.Compressed = facts.Size > 0
	case <-time.After(d.patience):
	case <-ctx.Done():
	}
	return facts, nil
}

// explainInspect says why a registry did not tell of an image; asking is the
// context that it had for that, within ctx. What the engine or the caller is
// the reason of is left for within to say.
func (d *Driver) explainInspect(ctx, asking context.Context, named reference.Named, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(context.Cause(asking), context.DeadlineExceeded):
		return protocol.Errorf(protocol.CodePullFailed, "the registry %s does not tell of the image %q: no answer within %v", reference.Domain(named), reference.FamiliarString(named), inspectTimeout)
	case asking.Err() != nil || disconnected(err):
		return err
	case judge(err) == unknown || judge(err) == loginWanted:
		return d.explainPull(ctx, named, err)
	}
	return protocol.Errorf(protocol.CodePullFailed, "the registry %s does not tell of the image %q: %s", reference.Domain(named), reference.FamiliarString(named), d.withheld(err))
}

// platformNames writes platforms for ImageFacts, each once.
func platformNames(platforms ...ocispec.Platform) []string {
	var names []string
	for _, p := range platforms {
		p = normal(p)
		// Attestations are listed beside images, as made for "unknown".
		if p.OS == "" || p.Architecture == "" || p.OS == "unknown" || p.Architecture == "unknown" {
			continue
		}
		if name := platformName(p); len(names) < runtime.MaxPlatforms && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
