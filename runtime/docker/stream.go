package docker

import (
	"bufio"
	"bytes"
	"context"
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

const (
	// headBuffer is for the head of the engine's answer.
	headBuffer = 1 << 10
	// detachKeys are bytes at which the engine lets go of a terminal. It cannot
	// be told that there are none, so they are such as no text holds.
	detachKeys = "\xff,\xff,\xff,\xff,\xff,\xff,\xff,\xff"
	// endOfTransmission is what ends a terminal's input, where a line begins.
	endOfTransmission = 0x04
)

// endTimeout is how long the end of the output may come before that of the
// container.
const endTimeout = 5 * time.Second

// attach connects to the streams of a container that has not started; stdin is nil
// where it has none. What the end of the output means is for the caller to say.
func (d *Driver) attach(ctx context.Context, spec runtime.Spec, target string) (out *reader, stdin io.WriteCloser, err error) {
	query := url.Values{"stream": {"1"}, "stdout": {"1"}, "stderr": {"1"}, "detachKeys": {detachKeys}}
	if spec.Stdin {
		query.Set("stdin", "1")
	}
	var conn net.Conn
	var in io.Reader
	err = d.within(ctx, askTimeout, "attach to container", func(ctx context.Context) (err error) {
		conn, in, err = d.upgrade(ctx, "/containers/"+target+"/attach?"+query.Encode(), nil)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	out = newReader(in, conn, &d.buffers)
	out.raw = spec.TTY
	switch {
	case spec.Stdin && spec.TTY:
		stdin = &terminalInput{conn: conn}
	case spec.Stdin:
		stdin = input{conn}
	}
	return out, stdin, nil
}

// upgrade makes a request that turns its connection into a raw stream, and
// returns where to write and where to read. Unlike the client's own way to do
// it, it ends when ctx does. body is JSON, or nothing.
func (d *Driver) upgrade(ctx context.Context, path string, body []byte) (net.Conn, io.Reader, error) {
	c := d.client.Load()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/v"+c.ClientVersion()+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")

	conn, err := c.Dialer()(ctx)
	if err != nil {
		return nil, nil, err
	}
	unblock := context.AfterFunc(ctx, func() { conn.Close() })
	head := bufio.NewReaderSize(conn, headBuffer)
	err = exchange(req, conn, head)
	if !unblock() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	early, _ := head.Peek(head.Buffered()) // cannot fail
	return conn, io.MultiReader(bytes.NewReader(early), conn), nil
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
	return &statusError{resp.StatusCode, fmt.Sprintf("the engine answered %s: %s", resp.Status, text), text}
}

// statusError is an answer of the engine that is a no.
type statusError struct {
	status int
	text   string
	body   []byte
}

func (e *statusError) Error() string { return e.text }

// input is a container's standard input. Closing it leaves the output open.
type input struct{ net.Conn }

func (i input) Close() error {
	half, ok := i.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.New("the connection to the engine cannot end the input alone")
	}
	return half.CloseWrite()
}

// terminalInput is the input of a container with a terminal. The engine would
// end the output with it, so its end is typed, as a person would do.
type terminalInput struct {
	conn    net.Conn
	midLine bool // something was typed since the last line began
}

func (i *terminalInput) Write(p []byte) (int, error) {
	if len(p) > 0 {
		last := p[len(p)-1]
		i.midLine = last != '\n' && last != '\r'
	}
	return i.conn.Write(p)
}

func (i *terminalInput) Close() error {
	end := []byte{endOfTransmission}
	if i.midLine { // the first one only hands over what was typed
		end = append(end, endOfTransmission)
	}
	_, err := i.conn.Write(end)
	return err
}

// Attach implements runtime.Driver. The output comes from the engine's log:
// the container is not slowed down by a slow reader, the oldest of more than
// some 20 MB is gone, and a newline is added to a last line without one. The
// streams outlive ctx.
func (d *Driver) Attach(ctx context.Context, id runtime.ExecutionID) (runtime.Stdio, error) {
	c, err := d.look(ctx, d.target(id))
	if err != nil {
		return runtime.Stdio{}, err
	}
	logCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var log io.ReadCloser
	err = d.begin(ctx, "attach to container", cancel, func() (err error) {
		log, err = d.client.Load().ContainerLogs(logCtx, d.target(id), container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
		return err
	})
	if err != nil {
		cancel()
		if log != nil {
			log.Close()
		}
		return runtime.Stdio{}, err
	}
	out := newReader(log, closeFunc(func() error {
		cancel()
		return log.Close()
	}), &d.buffers)
	out.raw, out.ended = c.Config.Tty, d.endOf(id, nil)
	return runtime.Stdio{Output: &initless{reader: out}}, nil
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }

// endOf returns a function that tells the end of a container's output from
// the loss of the connection: it is the end only if the engine has lived through
// it and tells that the container has ended. What ends soon after its engine was
// killed may have more in its log. Where the engine is still to tell end, it does
// so after the output's end; else, as for a slow reader, it is asked once and at once.
func (d *Driver) endOf(id runtime.ExecutionID, end *ending) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
		defer cancel()
		if end != nil && !end.over() {
			if _, err := end.await(ctx); final(err) {
				return endOfOutput(err)
			}
		}
		if _, err := d.waitOnce(ctx, d.target(id), d.losses.Load()); final(err) {
			return endOfOutput(err)
		}
		return io.ErrUnexpectedEOF
	}
}

// endOfOutput is the end of the output of a container that has ended so.
func endOfOutput(err error) error {
	if protocol.CodeOf(err) == protocol.CodeStartFailed {
		return errNeverRan
	}
	return io.EOF
}
