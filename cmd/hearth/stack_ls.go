package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// stackListFlags are the flags of `hearth stack ls` and `ps`.
type stackListFlags struct{ all, asJSON, watch, quiet bool }

func (c *cli) stackLsCommand() *cobra.Command {
	var f stackListFlags
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "Show the stacks of the mesh",
		Long: `Show the stacks of all devices, by name. STATE is starting, up, degraded (some of
it does not run, or is not healthy), stopped, or away, where its node cannot be
reached. SERVICES counts those that run, or have completed, of all that there are.
With --all come those that were taken down and whose data is kept, too: 'down'.

JSON: an array of objects with the keys name, version, holder, holder_name, state,
reason, unreachable_ms and instances (service, state, health, reason, image,
container, since, restarts, exit_code, exited, last_output and ports).`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.listStacks(cmd.Context(), protocol.ListStacks{All: f.all, Watch: f.watch}, &f, stackRows)
		},
	}
	cmd.Flags().BoolVarP(&f.all, "all", "a", false, "show those that were taken down, too")
	f.register(cmd)
	return cmd
}

func (c *cli) stackPsCommand() *cobra.Command {
	var f stackListFlags
	cmd := &cobra.Command{
		Use:   "ps [STACK]",
		Short: "Show the instances of a stack, or of all",
		Long: `Show what runs of a stack, or of all stacks of the mesh. STATE is waiting, pulling,
starting, running, unhealthy, backoff (it ended, and is started again after a
while), completed, failed or stopped; what is wrong is at the end of the line.
RESTARTS counts those since the last change of the stack.

JSON is that of 'hearth stack ls'.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return oneStack(cmd, args)
		},
		ValidArgsFunction: c.completeStacks(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			l := protocol.ListStacks{Watch: f.watch}
			if len(args) == 1 {
				l.Name, l.All = protocol.StackName(args[0]), true
			}
			return c.listStacks(cmd.Context(), l, &f, instanceRows)
		},
	}
	f.register(cmd)
	return cmd
}

func (f *stackListFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print names only, one a line")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on, and print the list on every change")
	cmd.MarkFlagsMutuallyExclusive("json", "quiet")
}

// listStacks prints stacks in rows, or as the flags say.
func (c *cli) listStacks(ctx context.Context, l protocol.ListStacks, f *stackListFlags, rows func([]protocol.StackStatus, time.Time) [][]string) error {
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	screen := c.newScreen()
	if f.watch {
		defer screen.leave()
	}
	err = device.ListStacks(ctx, l, func(list []protocol.StackStatus) error {
		if !f.watch || f.asJSON {
			return c.writeStacks(c.stdout, list, f, rows)
		}
		var text strings.Builder
		if err := c.writeStacks(&text, list, f, rows); err != nil {
			return err
		}
		return screen.show(text.String())
	})
	if f.watch && errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	if err != nil {
		return stackFailure(err)
	}
	return nil
}

func (c *cli) writeStacks(w io.Writer, list []protocol.StackStatus, f *stackListFlags, rows func([]protocol.StackStatus, time.Time) [][]string) error {
	switch {
	case f.asJSON:
		return json.NewEncoder(w).Encode(list)
	case f.quiet:
		for i := range list {
			if _, err := fmt.Fprintln(w, list[i].Name); err != nil {
				return err
			}
		}
		return nil
	}
	return c.table(w, rows(list, time.Now()), false)
}

func stackRows(list []protocol.StackStatus, _ time.Time) [][]string {
	rows := [][]string{{"NAME", "STATE", "SERVICES", "NODE", "VERSION", "PORTS", "REASON"}}
	for i := range list {
		s := &list[i]
		running, ports := 0, []protocol.StackPort(nil)
		for _, n := range s.Instances {
			if n.State == protocol.InstanceRunning || n.State == protocol.InstanceCompleted {
				running++
			}
			ports = append(ports, n.Ports...)
		}
		services := "-"
		if len(s.Instances) > 0 {
			services = fmt.Sprintf("%d/%d", running, len(s.Instances))
		}
		rows = append(rows, withReason([]string{
			string(s.Name), string(s.State), services, holderText(s), strconv.FormatUint(s.Version, 10), orDash(portsText(ports)),
		}, s.Reason))
	}
	return rows
}

func instanceRows(list []protocol.StackStatus, now time.Time) [][]string {
	rows := [][]string{{"STACK", "SERVICE", "STATE", "SINCE", "RESTARTS", "NODE", "PORTS", "REASON"}}
	for i := range list {
		s := &list[i]
		if len(s.Instances) == 0 {
			rows = append(rows, withReason([]string{string(s.Name), "-", string(s.State), "-", "-", holderText(s), "-"}, s.Reason))
		}
		for j := range s.Instances {
			n := &s.Instances[j]
			since := "-"
			if !n.Since.IsZero() {
				since = old(now.Sub(n.Since))
			}
			rows = append(rows, withReason([]string{
				string(s.Name), n.Service, instanceText(n), since, strconv.FormatUint(uint64(n.Restarts), 10), holderText(s), orDash(portsText(n.Ports)),
			}, n.Reason))
		}
	}
	return rows
}

// withReason ends a row with what is wrong, if anything.
func withReason(row []string, reason string) []string {
	if reason == "" {
		return row
	}
	return append(row, reason)
}

func holderText(s *protocol.StackStatus) string {
	if s.HolderName != "" {
		return s.HolderName
	}
	return shortID(s.Holder)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
