package runtime

import (
	"context"
	"errors"
	"time"

	"github.com/distribution/reference"

	"github.com/hearth-edge/hearth/protocol"
)

// imageTimeout bounds a question to the engine about an image that placement, or
// an orchestrator, waits for.
const imageTimeout = time.Second

// ErrImageMismatch is the error of a node that has another image by that name
// than the asker.
func ErrImageMismatch(image string, here, asked protocol.ImageID) error {
	return protocol.Errorf(protocol.CodeImageMismatch,
		"has another image by the name %q (ID %s) than the asking device, which built or loaded its own (ID %s): push it to a registry, or bring it there with \"docker save\" and \"docker load\"",
		image, here.Short(), asked.Short())
}

// ImageID returns the ID that other nodes must have by that name: that of this
// device's own image where no registry is known to have it. Empty where any
// will do, or where the engine does not tell. It asks the engine only of
// images that no registry is known to have.
func (n *Node) ImageID(ctx context.Context, image string) protocol.ImageID {
	ref, err := reference.ParseAnyReference(image)
	if _, pinned := ref.(reference.Digested); err != nil || pinned {
		return ""
	}
	n.mu.Lock()
	ready, tells := n.engine.ready, n.engine.info.TellsImageIDs
	published := n.engine.published[protocol.HashImage(image)]
	n.mu.Unlock()
	if !ready || !tells || published {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	found, err := n.cfg.Driver.Image(ctx, image)
	if err != nil || found.Published {
		return ""
	}
	return found.ID
}

// checkImageID refuses where this node has another image by the name than the
// asker. Where it has none, or the engine does not answer in time, that is found
// out when the container is made.
func (n *Node) checkImageID(ctx context.Context, image string, want protocol.ImageID) error {
	if want == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, imageTimeout)
	defer cancel()
	found, err := n.cfg.Driver.Image(ctx, image)
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		n.cfg.Log.Debug("the ID of an image is not known", "image", image, "err", err)
		return nil
	case err != nil, found.ID == "", found.ID == want:
		return nil
	}
	return ErrImageMismatch(image, found.ID, want)
}

// notCompared says why the image that runs may be another one than the asker's;
// empty where it cannot.
func (n *Node) notCompared(want protocol.ImageID) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if want == "" || n.engine.info.TellsImageIDs {
		return ""
	}
	return "whether its image is that of the asking device (ID " + want.Short() + ") is not known: the container engine here does not tell"
}

// publishedIn returns the hashes of the references that registries are known to
// have.
func publishedIn(info *Info) map[uint32]bool {
	published := make(map[uint32]bool)
	for i, ref := range info.Images {
		if i < len(info.Published) && info.Published[i] {
			published[protocol.HashImage(ref)] = true
		}
	}
	return published
}
