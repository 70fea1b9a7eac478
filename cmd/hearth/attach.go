package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) attachCommand() *cobra.Command {
	var from string
	var quiet bool
	cmd := &cobra.Command{
		Use:   "attach [flags] ID",
		Short: "Come back to a request: its output, and its exit code",
		Long: `Show the output of a request, what is kept of it first and then as it comes,
until the request ends; its exit code is that of this command. Any device's
request can be named, by its ID or a beginning of it that no other has.

Ctrl-C leaves the request, which goes on. Input comes from the command that
started the request alone.

With --from only output that you don't have yet is shown: N is how many bytes of
its stdout you have, and M, if given, of its stderr. Output that is not kept any
more is left out, and one line on stderr says how much.

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
			return c.visit(cmd.Context(), protocol.Attach{
				Request: protocol.RequestID(args[0]), Stdout: stdout, Stderr: stderr,
			}, newRunView(c, quiet, false))
		},
	}
	cmd.Flags().StringVar(&from, "from", "0", "leave out the first `N[,M]` bytes of its stdout and stderr")
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "print nothing but the container's output and errors")
	return cmd
}

func (c *cli) logsCommand() *cobra.Command {
	var followOn bool
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "logs [flags] ID",
		Short: "Show the output of a request that is kept",
		Long: `Show the output of a request that is kept: stdout on stdout, stderr on stderr.
Any device's request can be named, by its ID or a beginning of it that no other
has. Of long output only the end is kept, and one line on stderr says how much is
missing; some time after its end a request is dropped with all its output.

With --follow output is shown as it comes until the request ends, or Ctrl-C; the
request goes on.

With --since only output of the last D is shown, such as 90s, 10m or 1h30m. The
device that looks after the request knows when output came to it, to a second or
a few percent of D. It does not know that any more once it was restarted, or some
minutes after the request's end: older output is then shown too, as far as it is
kept.

Exit codes: 0 whatever became of the request; 125 if hearth itself failed; 130 if
it was left by Ctrl-C. For the request's own exit code see 'hearth wait'.

  hearth logs k3v
  hearth logs -f k3v 2>errors | grep done
  hearth logs -f --since 10m k3v`,
		Args:              oneRequest,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if since <= 0 && cmd.Flags().Changed("since") {
				return fmt.Errorf("--since: %v is no time to look back; write it like 90s, or 10m", since)
			}
			view := newRunView(c, false, false)
			view.outputOnly = true
			return c.visit(cmd.Context(), protocol.Attach{
				Request: protocol.RequestID(args[0]), NoFollow: !followOn, Since: since,
			}, view)
		},
	}
	cmd.Flags().BoolVarP(&followOn, "follow", "f", false, "go on until the request ends")
	cmd.Flags().DurationVar(&since, "since", 0, "show only output of the last `D`, such as 10m")
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
