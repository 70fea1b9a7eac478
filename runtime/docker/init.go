package docker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

const (
	// initLine is how the line begins by which the engine's init process, tini,
	// says that it cannot run the command:
	// "[FATAL tini (7)] exec sh failed: No such file or directory".
	initLine = "[FATAL tini ("
	// maxInitLine bounds that line: it holds the command's name.
	maxInitLine = 64 << 10
	// maxInitTime is how long a container runs at most whose command cannot be
	// run.
	maxInitTime = 3 * time.Second
)

// Exit codes of a command that is not there, and of one that cannot be executed,
// as shells and docker have them.
const (
	exitNotFound      = 127
	exitNotExecutable = 126
)

// errNeverRan is the end of the output of a container whose command could not be
// run: what is in it is the init process's.
var errNeverRan = fmt.Errorf("the command could not be run: %w", io.EOF)

// initFailure returns why the init process could not run the command, where output,
// which is all that the container wrote, says so, and the exit code is the one that
// tini then ends with. A program may write such a line, too: that names another
// command, comes with other output, or ends with another code.
func initFailure(output, command string, code int) (reason string, ok bool) {
	rest, ok := strings.CutPrefix(output, initLine)
	if !ok {
		return "", false
	}
	pid, rest, _ := strings.Cut(rest, ")")
	if n, err := strconv.ParseUint(pid, 10, 22); err != nil || n < 2 {
		return "", false
	}
	reason, ok = strings.CutPrefix(rest, "] exec "+command+" failed: ")
	reason = strings.TrimSuffix(strings.TrimSuffix(reason, "\n"), "\r")
	if !ok || reason == "" || strings.ContainsAny(reason, "\r\n") {
		return "", false
	}
	switch reason {
	case "No such file or directory":
		return reason, code == exitNotFound
	case "Permission denied":
		return reason, code == exitNotExecutable
	}
	return reason, code == 1
}

// neverRan returns exit as that of a command that could not be run, and the
// reason, where it could not. The engine starts its init process in any case, and
// that looks for the command: what would have been an error of Start is in the log.
func (d *Driver) neverRan(ctx context.Context, name string, exit runtime.Exit, c *container.InspectResponse) (runtime.Exit, error) {
	if exit.Code != 1 && exit.Code != exitNotExecutable && exit.Code != exitNotFound || exit.Ran > maxInitTime {
		return exit, nil
	}
	written, err := d.firstOutput(ctx, name, c.Config.Tty)
	if err != nil {
		d.cfg.Log.Debug("no log to explain an exit code", "container", name, "err", err)
		return exit, nil
	}
	reason, ok := initFailure(written, c.Path, exit.Code)
	if !ok {
		return exit, nil
	}
	if exit.Code == exitNotFound {
		return exit, protocol.Errorf(protocol.CodeStartFailed,
			"the command %q could not be run: %s. Check that the image has it, and what it needs to run", c.Path, reason)
	}
	exit.Code = exitNotExecutable
	return exit, protocol.Errorf(protocol.CodeStartFailed, "the command %q could not be run: %s. Check that it may be executed", c.Path, reason)
}

// firstOutput returns what a container that has ended wrote, up to a little more
// than the init process's line can have.
func (d *Driver) firstOutput(ctx context.Context, name string, tty bool) (string, error) {
	var text []byte
	err := d.within(ctx, askTimeout, "read log", func(ctx context.Context) error {
		log, err := d.client.Load().ContainerLogs(ctx, name, container.LogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			return err
		}
		defer log.Close()
		out := newReader(log, log, &d.buffers)
		out.raw = tty
		for len(text) <= maxInitLine && (len(text) == 0 || mayBeInit(text)) {
			_, piece, err := out.Next()
			text = append(text, piece...)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return string(text), err
}

// mayBeInit reports whether a container's first output can be the init process's.
func mayBeInit(output []byte) bool { return mayBegin(output, initLine) }

// initless is a container's output without what the init process writes when it
// cannot run the command, which the end tells instead. Such a line is held back
// until something follows it, or the end.
type initless struct {
	*reader
	held    []byte
	channel protocol.Channel // of held
	passing bool             // nothing is held back any more
	next    piece            // follows what was held back
}

// piece is what Next returns.
type piece struct {
	channel protocol.Channel
	data    []byte
	err     error
}

// Next implements runtime.OutputReader.
func (o *initless) Next() (protocol.Channel, []byte, error) {
	for !o.passing {
		var p piece
		p.channel, p.data, p.err = o.reader.Next()
		whole := bytes.HasSuffix(o.held, []byte("\n"))
		if p.err == nil && !whole && (len(o.held) == 0 || p.channel == o.channel) && len(o.held)+len(p.data) <= maxInitLine {
			o.held, o.channel = append(o.held, p.data...), p.channel
			if mayBeInit(o.held) {
				continue
			}
			p = piece{}
		}
		o.passing, o.next = true, p
		if errors.Is(p.err, errNeverRan) || p.err != nil && !errors.Is(p.err, io.EOF) {
			o.held = nil // the line is told otherwise, or comes again
		}
	}
	if held := o.held; len(held) > 0 {
		o.held = nil
		return o.channel, held, nil
	}
	if p := o.next; p.err != nil || len(p.data) > 0 {
		o.next.data = nil // an error stays
		if errors.Is(p.err, io.EOF) {
			p.err = io.EOF
		}
		return p.channel, p.data, p.err
	}
	c, data, err := o.reader.Next()
	if errors.Is(err, errNeverRan) {
		err = io.EOF
	}
	return c, data, err
}
