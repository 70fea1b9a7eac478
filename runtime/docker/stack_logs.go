package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/stack"
)

// maxLine bounds a line of the engine's log: it cuts longer ones at 16 KiB itself.
const maxLine = 64 << 10

// Logs implements stack.Engine.
func (s *Stacks) Logs(ctx context.Context, id string, o stack.LogOptions, yield func(protocol.LogLine) error) error {
	d := s.driver
	c, err := d.look(ctx, id)
	if err != nil {
		return err
	}
	options := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: o.Follow}
	if !o.Since.IsZero() {
		options.Since = fmt.Sprintf("%d.%09d", o.Since.Unix(), o.Since.Nanosecond())
	}
	if o.Tail > 0 {
		options.Tail = strconv.Itoa(o.Tail)
	}
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	var body io.ReadCloser
	if err := d.begin(ctx, "read the log", cancel, func() (err error) {
		body, err = d.client.Load().ContainerLogs(reading, id, options)
		return err
	}); err != nil {
		return err
	}
	defer body.Close()
	l := logReader{in: bufio.NewReaderSize(body, smallBuffer), raw: c.Config.Tty, service: c.Config.Labels[labelService]}
	for {
		line, err := l.next()
		if errors.Is(err, io.EOF) {
			return ctx.Err()
		}
		if err != nil {
			return d.explain(ctx, "read the log", err)
		}
		if err := yield(line); err != nil {
			return err
		}
	}
}

// logReader reads lines with their times as the engine sends them: one in each
// frame, or, of a terminal, one after another.
type logReader struct {
	in      *bufio.Reader
	raw     bool
	service string
}

func (l *logReader) next() (protocol.LogLine, error) {
	line := protocol.LogLine{Service: l.service, Channel: protocol.Stdout}
	var text string
	var err error
	if l.raw {
		text, err = l.rawLine()
	} else {
		text, err = l.frame(&line)
	}
	if err != nil {
		return line, err
	}
	text, whole := strings.CutSuffix(text, "\n")
	line.Cut = !whole
	at, rest, found := strings.Cut(text, " ")
	if t, err := time.Parse(time.RFC3339Nano, at); found && err == nil {
		line.At, text = t, rest
	}
	line.Text = strings.TrimSuffix(text, "\r")
	return line, nil
}

// rawLine reads up to the line's end; a longer line than maxLine is cut there.
func (l *logReader) rawLine() (string, error) {
	var text strings.Builder
	for text.Len() < maxLine {
		part, err := l.in.ReadSlice('\n')
		text.Write(part)
		switch {
		case err == nil || errors.Is(err, io.EOF) && text.Len() > 0:
			return text.String(), nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return "", err
		}
	}
	return text.String(), nil
}

// frame reads one, and what channel it is of.
func (l *logReader) frame(line *protocol.LogLine) (string, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return "", err
	}
	size := binary.BigEndian.Uint32(head[4:])
	text := make([]byte, min(size, maxLine))
	if _, err := io.ReadFull(l.in, text); err != nil {
		return "", io.ErrUnexpectedEOF
	}
	if _, err := io.CopyN(io.Discard, l.in, int64(size)-int64(len(text))); err != nil {
		return "", io.ErrUnexpectedEOF
	}
	switch head[0] {
	case frameStdout:
	case frameStderr:
		line.Channel = protocol.Stderr
	case frameError:
		return "", fmt.Errorf("the engine lost the log: %s", text[:min(len(text), maxMessage)])
	default:
		return "", fmt.Errorf("the engine sent a frame of unknown kind %d", head[0])
	}
	return string(text), nil
}
