package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// signalNames are those offered by the shell's completion.
var signalNames = []string{"TERM", "INT", "HUP", "QUIT", "KILL", "USR1", "USR2", "STOP", "CONT", "WINCH"}

const stopHelp = `Ask requests to end: the container gets its image's STOPSIGNAL, SIGTERM where that
names none, and SIGKILL if it has not ended after the grace period; what is not
placed yet is cancelled at once. Any device's requests can be named: by ID, by
name, by a beginning of the ID that no other has, or by ID@DEVICE. Stopping one that
has ended is no error.

It waits until each has ended and prints its ID then. What it ends is cancelled,
whatever the signal; 'hearth wait' tells the container's own exit code. With
--signal-only the request is not asked to end: it gets the signal, and nothing is
waited for.

Exit codes: 0 if all have ended, or got the signal; 125 otherwise.

  hearth stop k3v
  hearth stop --grace 1m --signal INT k3v m8p
  hearth stop --signal-only --signal HUP web`

func (c *cli) stopCommand() *cobra.Command {
	var s protocol.Stop
	var noWait bool
	var seconds uint32
	cmd := &cobra.Command{
		Use:               "stop [flags] ID...",
		Short:             "End requests, or send them a signal",
		Long:              stopHelp,
		Args:              someRequests,
		ValidArgsFunction: c.completeRequests(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if s.Grace < 0 {
				return fmt.Errorf("--grace: %v is negative; write it like 30s, or 0s to kill at once", s.Grace)
			}
			if s.Signal != "" {
				var err error
				if s.Signal, err = parseSignal(s.Signal); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("time") {
				s.Grace = time.Duration(seconds) * time.Second
			}
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			return c.stop(cmd.Context(), device, s, args, noWait || s.SignalOnly)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&s.Signal, "signal", "s", "", "send `SIGNAL` first, such as INT, USR1 or 15 (default: the image's STOPSIGNAL, or TERM)")
	flags.DurationVarP(&s.Grace, "grace", "g", stopGrace, "kill it if it has not ended after `D`, such as 30s")
	flags.Uint32VarP(&seconds, "time", "t", 0, "") // docker's --grace
	_ = flags.MarkHidden("time")
	flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "timeout" { // docker's name of it since 28
			name = "time"
		}
		return pflag.NormalizedName(name)
	})
	flags.BoolVar(&s.SignalOnly, "signal-only", false, "send the signal and do not ask the request to end")
	flags.BoolVar(&noWait, "no-wait", false, "do not wait for the end")
	_ = cmd.RegisterFlagCompletionFunc("signal", cobra.FixedCompletions(slices.Clone(signalNames), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// signalNumbers are those that kill(1) has everywhere; others differ between
// machines, and a container may run on another one.
var signalNumbers = map[string]string{"1": "HUP", "2": "INT", "3": "QUIT", "6": "ABRT", "9": "KILL", "14": "ALRM", "15": "TERM"}

// parseSignal reads --signal, and returns the name without SIG.
func parseSignal(typed string) (string, error) {
	name, err := protocol.ParseSignal(cmp.Or(signalNumbers[typed], typed))
	if err != nil {
		return "", fmt.Errorf("--signal: %q is no signal; write it like TERM, INT or USR1", typed)
	}
	return name, nil
}

// stop tells all requests before it waits for any, so that their periods of
// grace run at the same time. One that fails does not keep the others from it.
func (c *cli) stop(ctx context.Context, device *protocol.AppClient, s protocol.Stop, ids []string, noWait bool) error {
	var errs []error
	var stopped []string
	for _, id := range ids {
		s.Request = protocol.RequestID(id)
		if err := device.Stop(ctx, s); err != nil {
			errs = append(errs, requestFailure(err))
			continue
		}
		stopped = append(stopped, id)
	}
	for _, id := range stopped {
		if !noWait {
			// One that is not known any more has ended, and was run with --rm.
			if _, err := awaitEnd(ctx, device, protocol.RequestID(id)); err != nil && protocol.CodeOf(err) != protocol.CodeNotFound {
				errs = append(errs, err)
				continue
			}
		}
		if _, err := fmt.Fprintln(c.stdout, id); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

func (c *cli) waitCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "wait [flags] ID...",
		Short: "Wait until requests have ended, and tell their exit codes",
		Long: `Wait until the requests have ended, print the exit code of each on a line of its
own, in the order given, and exit with the first that is not 0. Any device's
requests can be named: by ID, by name, by a beginning of the ID that no other has, or
by ID@DEVICE.
One that has ended already is answered at once, as long as it is kept.

The exit codes are those of 'hearth run': the container's own, also where it was
stopped; 124 if it ran into --timeout; 125 if hearth failed or it is not known what
became of it; 126 if no node could run it; 130 if it was stopped before it ran. Where
it is not the container's own, the reason is on stderr. With --timeout it is also 124
if one has not ended by then, in all; the requests go on.

  id=$(hearth run -d trainer) && hearth wait $id
  hearth wait k3v m8p`,
		Args:              someRequests,
		ValidArgsFunction: c.completeRequests(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("timeout") {
				if timeout <= 0 {
					return fmt.Errorf("--timeout: %v is no time to wait; write it like 30s", timeout)
				}
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, waitTimeout(timeout))
				defer cancel()
			}
			device, done, err := c.device(ctx)
			if err != nil && over(ctx) {
				return interrupted(ctx, protocol.RequestID(args[0]))
			}
			if err != nil {
				return err
			}
			defer done()
			return c.wait(ctx, device, args)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after `D`, such as 30s")
	return cmd
}

// waitTimeout is why a wait ended before the requests did.
type waitTimeout time.Duration

func (t waitTimeout) Error() string { return fmt.Sprintf("waited for %v", time.Duration(t)) }

// interrupted is what a wait for a request ends with when its context did.
func interrupted(ctx context.Context, id protocol.RequestID) error {
	if t, ok := errors.AsType[waitTimeout](context.Cause(ctx)); ok {
		return &failure{err: fmt.Errorf("%s has not ended after %v", id, time.Duration(t)), code: exitTimeout}
	}
	return exited(exitInterrupted)
}

// over reports whether ctx has ended. A connection may notice its deadline first.
func over(ctx context.Context) bool {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		<-ctx.Done()
	}
	return ctx.Err() != nil
}

// wait prints the exit codes in order; as all run at the same time, it takes as
// long as the one that takes longest.
func (c *cli) wait(ctx context.Context, device *protocol.AppClient, ids []string) error {
	var first error
	for _, id := range ids {
		end, err := awaitEnd(ctx, device, protocol.RequestID(id))
		if err != nil {
			return err
		}
		view := newRunView(c, false, false)
		result := view.ending(end)
		code := codeOf(result)
		if _, silent := errors.AsType[exited](result); result != nil && !silent {
			view.complain("%s: %v", end.Request, result)
		}
		if _, err := fmt.Fprintln(c.stdout, code); err != nil {
			return err
		}
		if first == nil && code != exitOK {
			first = exited(code)
		}
	}
	return first
}

// awaitEnd waits for the ending event of a request.
func awaitEnd(ctx context.Context, device *protocol.AppClient, id protocol.RequestID) (*protocol.Event, error) {
	session, err := device.Attach(ctx, protocol.Attach{Request: id, NoOutput: true})
	if err != nil && over(ctx) {
		return nil, interrupted(ctx, id)
	}
	if err != nil {
		return nil, requestFailure(err)
	}
	defer session.Close()
	defer context.AfterFunc(ctx, func() { _ = session.Close() })()
	for {
		u, err := session.Next()
		if ctx.Err() != nil || err != nil && over(ctx) {
			return nil, interrupted(ctx, id)
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("wait for %s: %w", id, err)
		}
		if u.Event != nil && u.Event.State.Ended() {
			return u.Event, nil
		}
	}
}
