package docker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// The engine sends a container's output in frames: a byte for the stream,
// three zeros, the length as 32 bits big-endian, and so many bytes.
const (
	frameHeader = 8
	frameStdout = 1
	frameStderr = 2
	frameError  = 3
	// readBuffer bounds both what is kept in memory and one piece of output.
	readBuffer = 64 << 10
)

// endTimeout is how long the end of the output may come before that of the
// container.
const endTimeout = 5 * time.Second

// attach connects to the streams of a container that has not started.
func (d *Driver) attach(ctx context.Context, id runtime.ExecutionID, target string, stdin bool) (runtime.Stdio, error) {
	query := url.Values{"stream": {"1"}, "stdout": {"1"}, "stderr": {"1"}}
	if stdin {
		query.Set("stdin", "1")
	}
	var conn net.Conn
	var in *bufio.Reader
	err := d.within(ctx, askTimeout, "attach to container", func(ctx context.Context) (err error) {
		conn, in, err = d.upgrade(ctx, "/containers/"+target+"/attach?"+query.Encode())
		return err
	})
	if err != nil {
		return runtime.Stdio{}, err
	}
	out := &reader{in: in, closer: conn, ended: d.endOf(id)}
	if !stdin {
		return runtime.Stdio{Output: out}, nil
	}
	return runtime.Stdio{Stdin: input{conn}, Output: out}, nil
}

// upgrade makes a request that turns its connection into a raw stream. Unlike
// the client's own way to do it, it ends when ctx does.
func (d *Driver) upgrade(ctx context.Context, path string) (net.Conn, *bufio.Reader, error) {
	c := d.client.Load()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/v"+c.ClientVersion()+path, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")

	conn, err := c.Dialer()(ctx)
	if err != nil {
		return nil, nil, err
	}
	unblock := context.AfterFunc(ctx, func() { conn.Close() })
	in := bufio.NewReaderSize(conn, readBuffer)
	err = exchange(req, conn, in)
	if !unblock() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, in, nil
}

// exchange sends the request and reads the head of the answer.
func exchange(req *http.Request, conn net.Conn, in *bufio.Reader) error {
	if err := req.Write(conn); err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	return fmt.Errorf("the engine answered %s: %s", resp.Status, text)
}

// input is a container's standard input. Closing it leaves the output open.
type input struct{ net.Conn }

func (i input) Close() error {
	half, ok := i.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection to the engine cannot end the input alone")
	}
	return half.CloseWrite()
}

// Attach implements runtime.Driver. The output comes from the engine's log:
// the container is not slowed down by a slow reader, the oldest of more than
// some 20 MB is gone, and a newline is added to a last line without one. The
// streams outlive ctx.
func (d *Driver) Attach(ctx context.Context, id runtime.ExecutionID) (runtime.Stdio, error) {
	logCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	log, err := d.client.Load().ContainerLogs(logCtx, d.name(id), container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	if !stop() && err == nil {
		log.Close()
		err = ctx.Err()
	}
	if err != nil {
		cancel()
		return runtime.Stdio{}, d.explain(ctx, "attach to container", err)
	}
	out := newReader(log, closeFunc(func() error {
		cancel()
		return log.Close()
	}))
	out.ended = d.endOf(id)
	return runtime.Stdio{Output: out}, nil
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

// endOf returns a function that tells the end of a container's output from
// the loss of the connection.
func (d *Driver) endOf(id runtime.ExecutionID) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if _, err := d.Wait(ctx, id); errors.Is(err, context.DeadlineExceeded) {
			return io.ErrUnexpectedEOF
		}
		return io.EOF
	}
}

// reader takes frames apart. It reads nothing ahead of its buffer, so that a
// container whose output nobody takes is held up.
type reader struct {
	in     *bufio.Reader
	closer io.Closer
	// ended is asked at the end of the stream what that meant; may be nil.
	ended   func() error
	channel protocol.Channel
	left    uint32 // of the current frame
	err     error
}

func newReader(in io.Reader, closer io.Closer) *reader {
	return &reader{in: bufio.NewReaderSize(in, readBuffer), closer: closer}
}

// Next implements runtime.OutputReader.
func (r *reader) Next() (protocol.Channel, []byte, error) {
	for r.err == nil && r.left == 0 {
		r.err = r.header()
	}
	if r.err != nil {
		return 0, nil, r.err
	}
	if _, err := r.in.Peek(1); err != nil {
		r.err = io.ErrUnexpectedEOF
		return 0, nil, r.err
	}
	piece, _ := r.in.Peek(min(int(r.left), r.in.Buffered()))
	_, _ = r.in.Discard(len(piece)) // cannot fail: all of it is buffered
	r.left -= uint32(len(piece))
	return r.channel, piece, nil
}

// header reads the next frame's header.
func (r *reader) header() error {
	head, err := r.in.Peek(frameHeader)
	switch {
	case errors.Is(err, io.EOF) && len(head) == 0 && r.ended != nil:
		return r.ended()
	case err != nil && len(head) == 0:
		return err
	case err != nil:
		return io.ErrUnexpectedEOF
	}
	r.left = binary.BigEndian.Uint32(head[4:])
	kind := head[0]
	_, _ = r.in.Discard(frameHeader) // cannot fail: it was peeked at
	switch kind {
	case frameStdout:
		r.channel = protocol.Stdout
	case frameStderr:
		r.channel = protocol.Stderr
	case frameError:
		text, _ := io.ReadAll(io.LimitReader(r.in, int64(min(r.left, maxMessage))))
		return fmt.Errorf("the engine lost the output: %s", text)
	default:
		return fmt.Errorf("the engine sent a frame of unknown kind %d", kind)
	}
	return nil
}

// Close implements runtime.OutputReader.
func (r *reader) Close() error { return r.closer.Close() }
