package docker

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strings"

	"github.com/distribution/reference"

	"github.com/hearth-edge/hearth/protocol"
)

// A passingError may be gone in a moment: what failed is worth another try.
type passingError struct{ public *protocol.Error }

func (e *passingError) Error() string { return e.public.Error() }
func (e *passingError) Unwrap() error { return e.public }

// passing returns an error that is a *passingError.
func passing(code protocol.Code, format string, args ...any) error {
	return &passingError{protocol.Errorf(code, format, args...)}
}

// verdict is what is the matter with an image or its registry. The engine tells
// it in words only, those of its own or of the registry.
type verdict uint8

const (
	unclear verdict = iota
	noPlatform
	loginWanted
	tooMany
	unknown     // the registry has no such image
	unresolved  // its name leads nowhere
	unreachable // the registry was not reached at all
	failing     // it answers that it has failed
	broken      // the connection to it broke, or what came was damaged
)

// verdicts are tried in this order: what a broken registry says, as on a page
// for people, may contain any words.
var verdicts = []struct {
	verdict verdict
	words   []string
}{
	{failing, []string{"internal server error", "bad gateway", "service unavailable", "gateway timeout", "gateway time-out", "parsing http 5"}},
	{noPlatform, []string{"no matching manifest"}},
	{loginWanted, []string{"unauthorized", "no basic auth credentials", "authentication required", "incorrect username or password"}},
	{tooMany, []string{"toomanyrequests", "too many requests"}},
	{unknown, []string{"pull access denied", "manifest unknown", "name unknown", "not found", "does not exist", "denied: "}},
	{broken, []string{"connection reset", "broken pipe", "unexpected eof", "server closed", "verification failed"}},
	{unresolved, []string{"no such host", "dial tcp: lookup ", "name resolution"}},
	{unreachable, []string{"dial tcp", "i/o timeout", "connection refused", "network is unreachable", "tls handshake", "client.timeout", "deadline exceeded", "request canceled while waiting"}},
}

// ends are how a registry's connection ends too early: the whole of a reason.
var ends = regexp.MustCompile(`(^|: )eof$`)

func judge(err error) verdict {
	text := strings.ToLower(err.Error())
	for _, v := range verdicts {
		for _, w := range v.words {
			if strings.Contains(text, w) {
				return v.verdict
			}
		}
	}
	if ends.MatchString(text) {
		return broken
	}
	return unclear
}

// explainPull says why an image could not be had.
func (d *Driver) explainPull(ctx context.Context, named reference.Named, err error) error {
	name, registry := reference.FamiliarString(named), reference.Domain(named)
	switch {
	case errors.Is(context.Cause(ctx), errStalled):
		return protocol.Errorf(protocol.CodePullFailed, "fetching the image %q from %s came to a halt: no progress for %v. Check the node's network and try again", name, registry, d.stall)
	case errors.Is(context.Cause(ctx), errHung):
		return d.explain(context.WithoutCancel(ctx), "pull image", context.DeadlineExceeded)
	case ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || disconnected(err) || strings.Contains(err.Error(), "no space left on device"):
		return d.explain(ctx, "pull image", err)
	}
	switch judge(err) {
	case noPlatform:
		return d.noPlatform(ctx, name)
	case loginWanted:
		return protocol.Errorf(protocol.CodePullFailed, "the registry %s wants a login before it hands out the image %q: run \"docker login %s\" on this node, as the user that runs hearth", registry, name, registry)
	case tooMany:
		return protocol.Errorf(protocol.CodePullFailed, "the registry %s has had too many requests from this node: try the image %q later, or log in with \"docker login %s\"", registry, name, registry)
	case unknown:
		return protocol.Errorf(protocol.CodeImageNotFound, "the image %q is neither on this node nor in the registry %s: check its name and tag; if it is private, run \"docker login %s\" on this node", name, registry, registry)
	case unresolved:
		// Not tried again here: it is mistyped, or this node has no network, and
		// another one may have.
		return protocol.Errorf(protocol.CodePullFailed, "the image %q cannot be fetched: the registry %s is not found by its name; check that, and the node's network", name, registry)
	case unreachable:
		// Whether there is such an image is not known: another node may reach it.
		return passing(protocol.CodePullFailed, "the image %q cannot be fetched: the registry %s cannot be reached from this node; check its network, or load the image there with \"docker load\"", name, registry)
	case failing, broken:
		return passing(protocol.CodePullFailed, "the image %q could not be fetched from %s: %s", name, registry, d.withheld(err))
	default:
		return protocol.Errorf(protocol.CodePullFailed, "the image %q could not be fetched from %s: %s", name, registry, d.withheld(err))
	}
}

// maxLogged is how much of a registry's answer goes into this node's log.
const maxLogged = 200

// withheld puts the engine's own words into the log and returns what others are
// told instead: they hold what the registry answered, and what listens where
// the name leads to need not be one.
func (d *Driver) withheld(err error) string {
	text := message(err)
	if len(text) > maxLogged {
		text = strings.ToValidUTF8(text[:maxLogged], "") + "…"
	}
	d.cfg.Log.Warn("a registry did not give an image", "err", text)
	switch judge(err) {
	case failing:
		return "it answers that it has failed; the node's log has more"
	case broken:
		return "the connection broke, or what came was damaged; the node's log has more"
	case tooMany:
		return "it has had too many requests from this node"
	case unresolved, unreachable:
		return "it cannot be reached from this node"
	case noPlatform:
		return "it has none for this node's platform"
	}
	return "its answer makes no sense; the node's log has more"
}

// noPlatform is the error for an image that has no version for this machine.
func (d *Driver) noPlatform(ctx context.Context, name string) error {
	e, err := d.describe(ctx)
	if err != nil {
		return err
	}
	return protocol.Errorf(protocol.CodeImagePlatform, "the image %q has no version for %s, which this node is: use another image, or another node", name, platformName(e.platform))
}
