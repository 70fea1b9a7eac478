package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"unicode"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// maxMessage is how much of the engine's own words go into an error's text.
const maxMessage = 300

// explain translates an error of the client, other than those that only one
// call can have. ctx is the caller's: where that has ended, its error counts.
func (d *Driver) explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*protocol.Error](err); ok {
		return err
	}
	host := d.client.Load().DaemonHost()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.Is(err, fs.ErrPermission):
		return protocol.Errorf(protocol.CodeEngineDown,
			"no permission to use the Docker engine at %s: add the user that runs hearth to the group \"docker\" (usermod -aG docker USER, then log in again), or run hearth as root", host)
	case disconnected(err):
		return protocol.Errorf(protocol.CodeEngineDown,
			"the Docker engine at %s does not answer: start it, for example with \"systemctl start docker\"", host)
	case strings.Contains(err.Error(), "no space left on device"):
		return protocol.Errorf(protocol.CodeDiskFull,
			"the disk that the Docker engine keeps images and containers on is full: free some room there, for example with \"docker system prune\"")
	case cerrdefs.IsNotFound(err):
		return fmt.Errorf("%s: %w", what, runtime.ErrNotFound)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

// disconnected reports whether err says that the engine did not answer, or
// stopped in the middle of it.
func disconnected(err error) bool {
	for _, e := range []error{context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNREFUSED, fs.ErrNotExist} {
		if errors.Is(err, e) {
			return true
		}
	}
	return client.IsErrConnectionFailed(err)
}

// message returns the engine's own words, fit to be shown: one line, bounded.
func message(err error) string {
	text := strings.TrimPrefix(err.Error(), "Error response from daemon: ")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}), " ")
	if runes := []rune(text); len(runes) > maxMessage {
		text = string(runes[:maxMessage]) + "…"
	}
	return text
}
