package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) attachCommand() *cobra.Command {
	var from string
	var quiet, raw bool
	cmd := &cobra.Command{
		Use:   "attach [flags] ID",
		Short: "Come back to a request: its output, and its exit code",
		Long: `Show the output of a request, what is kept of it first and then as it comes,
until the request ends; its exit code is that of this command. Any device's
request can be named: by its ID, its name, a beginning of the ID that no other has,
or ID@DEVICE.

Ctrl-C leaves the request, which goes on. Input comes from the command that
started the request alone.

With --from only output that you don't have yet is shown: N is how many bytes of
its stdout you have, and M, if given, of its stderr. Output that is not kept any
more is left out, and one line on stderr says how much.

A terminal gets text, colours and movements of the cursor alone: others' programs
are not to set its title or the clipboard, nor to have it answer. --raw passes on
all; what is not a terminal gets all in any case.

Exit codes: as for 'hearth run'; 130 if it was left by Ctrl-C.

  hearth attach nightly-2031-05-04
  hearth attach --from $(stat -c %s out) k3v >> out`,
		Args:              oneRequest,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stdout, stderr, err := parseFrom(from)
			if err != nil {
				return err
			}
			view := newRunView(c, quiet, false)
			view.sanitize = !raw
			return c.visit(cmd.Context(), protocol.Attach{
				Request: protocol.RequestID(args[0]), Stdout: stdout, Stderr: stderr,
			}, view)
		},
	}
	cmd.Flags().StringVar(&from, "from", "0", "leave out the first `N[,M]` bytes of its stdout and stderr")
	cmd.Flags().BoolVar(&raw, "raw", false, "pass all of the output on to a terminal")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing but the container's output and errors")
	return cmd
}

// visit attaches to a request and shows it until it ends or is left.
func (c *cli) visit(ctx context.Context, a protocol.Attach, view *runView) error {
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	session, err := device.Attach(ctx, a)
	if err != nil {
		return requestFailure(err)
	}
	follow := follower{cli: c, session: session, id: a.Request, view: view, visiting: true, toTheEnd: !a.NoFollow}
	return follow.follow()
}

// requestFailure adds what to do about a request that could not be asked.
func requestFailure(err error) error {
	switch protocol.CodeOf(err) {
	case protocol.CodeNotFound:
		return &failure{err: err, hint: "'hearth ps -a' lists the requests that are known, ended ones too as long as they are kept"}
	case protocol.CodeUnauthorized:
		return &failure{err: err, hint: tokenHint}
	}
	return err
}

// oneRequest checks that the only argument can be a request's ID.
func oneRequest(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return &failure{err: fmt.Errorf("%s takes one request, not %d", cmd.CommandPath(), len(args)), hint: "usage: " + cmd.UseLine()}
	}
	return someRequests(cmd, args)
}

// someRequests checks that there are arguments, and that each can name a request:
// ID or ID@DEVICE.
func someRequests(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return &failure{err: errors.New("no request was named"), hint: "usage: " + cmd.UseLine() + "; 'hearth ps' shows IDs"}
	}
	for _, a := range args {
		if _, _, err := protocol.ParseRequestRef(a); err != nil {
			return err
		}
	}
	return nil
}

// parseFrom reads --from: N or N,M.
func parseFrom(text string) (stdout, stderr uint64, err error) {
	out, errs, both := strings.Cut(text, ",")
	stdout, err = strconv.ParseUint(out, 10, 63)
	if err == nil && both {
		stderr, err = strconv.ParseUint(errs, 10, 63)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("--from: %q is not a number of bytes; write it like 4096, or 4096,120", text)
	}
	return stdout, stderr, nil
}
