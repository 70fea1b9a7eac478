package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// psPause is the least time between two lists of `ps --watch`.
const psPause = 200 * time.Millisecond

// maxCommand is how much of a command a list shows.
const maxCommand = 30

func (c *cli) psCommand() *cobra.Command {
	var f psFlags
	cmd := &cobra.Command{
		Use:   "ps",
		Short: "Show the requests of the whole mesh",
		Long: `Show the requests of all devices of the mesh, the newest first: those that have
not ended, and with --all the others as long as they are kept.

STATE is accepted, placing, queued, pulling, starting or running, or the end:
succeeded, failed (with the exit code), refused, cancelled, timed_out, lost or unknown.
Unknown is corrected when the node that had it is back; lost is what no node knows
anything of. NODE runs it. What devices that do not answer within 2 s look after is
missing; a line on stderr names them.

With --last N come the N newest requests, whatever became of them. With --quiet
only IDs are printed, one a line; with --wide all of each image and command, FROM,
the device that it was asked of, and the CONTAINER's ID.

With --filter only those come that fit, as with docker: name=NAME, label=KEY or
label=KEY=VALUE (what --name and --label of 'hearth run' wrote), status=STATE as it
is shown, of which exited is any end, exited=CODE, image=NAME (or ancestor), node=NAME,
from=NAME and id=BEGINNING. Of several all must fit.

With --watch the list is printed anew on every change until Ctrl-C, on a terminal in
the place of the last one; with --json as well, as one line of JSON for each change.

JSON: an array of objects with the keys id, image, args, tags, detached, state, code,
reason, exit_code, attempt, node, node_name, from, from_name, container,
queue_place, accepted, started and ended. What is not known or has not happened
is left out; times are RFC 3339, code and state are words.

  hearth ps
  hearth stop $(hearth ps -q --filter label=project=photos)
  hearth ps -a --json | jq -r '.[] | select(.state == "failed").id'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			device, done, err := c.device(ctx)
			if err != nil {
				return err
			}
			defer done()
			if f.watch {
				return c.watchRequests(ctx, device, &f)
			}
			return c.printRequests(ctx, device, &f)
		},
	}
	f.register(cmd)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if f.last <= 0 && cmd.Flags().Changed("last") {
			return fmt.Errorf("--last: %d is no number of requests; write it like 5", f.last)
		}
		var err error
		f.filters, err = parseFilters(f.filterTexts)
		return err
	}
	return cmd
}

// psFlags are the flags of `hearth ps`.
type psFlags struct {
	all, asJSON, watch, quiet, wide bool
	last                            int // 0: all of them
	filterTexts                     []string
	filters                         []filter
}

func (f *psFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVarP(&f.all, "all", "a", false, "show those that have ended too")
	flags.IntVarP(&f.last, "last", "n", 0, "show the `N` newest, those that have ended too")
	flags.StringArrayVarP(&f.filterTexts, "filter", "f", nil, "show only what fits `KEY=VALUE`: name, label, status, exited, image, node, from or id; may be repeated")
	_ = cmd.RegisterFlagCompletionFunc("filter", completeFilters)
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print IDs only, one a line")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	flags.BoolVar(&f.wide, "wide", false, "show all columns, and cut nothing")
	flags.BoolVarP(&f.watch, "watch", "w", false, "go on, and print the list on every change")
	exclusive(cmd, "json", "quiet", "wide")
}

func (c *cli) printRequests(ctx context.Context, device *protocol.AppClient, f *psFlags) error {
	list, err := listRequests(ctx, device, f)
	if err != nil {
		return err
	}
	list.reportUnresponsive(c.stderr)
	return c.writeRequests(c.stdout, list, f)
}

// A requestList is what ps shows, and whose requests are missing in it.
type requestList struct {
	requests     []protocol.RequestInfo
	unresponsive []string
}

func listRequests(ctx context.Context, device *protocol.AppClient, f *psFlags) (*requestList, error) {
	list := &requestList{}
	var err error
	list.unresponsive, err = device.List(ctx, f.all || f.last > 0 || endedOnly(f.filterTexts), func(r protocol.RequestInfo) error {
		if fitsAll(&r, f.filters) {
			list.requests = append(list.requests, r)
		}
		return nil
	})
	if err != nil {
		return nil, requestFailure(err)
	}
	if f.last > 0 {
		list.requests = list.requests[:min(len(list.requests), f.last)] // the newest come first
	}
	return list, nil
}

func (l *requestList) reportUnresponsive(w io.Writer) {
	if len(l.unresponsive) > 0 {
		fmt.Fprintf(w, "hearth: no answer came from %s, whose requests are missing here\n", printable(strings.Join(l.unresponsive, ", ")))
	}
}

func (c *cli) writeRequests(w io.Writer, list *requestList, f *psFlags) error {
	switch {
	case f.asJSON:
		out := make([]api.Request, 0, len(list.requests))
		for i := range list.requests {
			out = append(out, api.NewRequest(&list.requests[i]))
		}
		return json.NewEncoder(w).Encode(out)
	case f.quiet:
		for i := range list.requests {
			if _, err := fmt.Fprintln(w, list.requests[i].ID); err != nil {
				return err
			}
		}
		return nil
	}
	return c.table(w, requestRows(list.requests, time.Now(), f.wide), f.wide)
}

func requestRows(list []protocol.RequestInfo, now time.Time, wide bool) [][]string {
	rows := [][]string{{"ID", "IMAGE", "COMMAND", "STATE", "NODE", "AGE"}}
	if wide {
		rows[0] = append(rows[0], "FROM", "CONTAINER")
	}
	for i := range list {
		rows = append(rows, requestRow(&list[i], now, wide))
	}
	return rows
}

// watchRequests prints the list now and after each event, until ctx ends. On a
// terminal ages go on between events.
func (c *cli) watchRequests(ctx context.Context, device *protocol.AppClient, f *psFlags) error {
	news, begun := make(chan struct{}, 1), make(chan struct{})
	g, watching := errgroup.WithContext(ctx)
	g.Go(func() error {
		return device.Watch(watching, func() { close(begun) }, func(protocol.Event) error {
			select {
			case news <- struct{}{}:
			default: // the list is due already
			}
			return nil
		})
	})
	screen := c.newScreen()
	defer screen.leave()
	g.Go(func() error {
		select {
		case <-begun: // so that no change falls between two lists
		case <-watching.Done():
			return nil
		}
		for {
			list, err := listRequests(watching, device, f)
			if err != nil {
				return err
			}
			if err := c.showRequests(watching, screen, list, f, news); err != nil || watching.Err() != nil {
				return err
			}
		}
	})
	return watchEnded(ctx, g.Wait())
}

// showRequests shows a list until there is a new one. After a quiet time a change
// is told at once; a burst is one list.
func (c *cli) showRequests(ctx context.Context, screen *screen, list *requestList, f *psFlags, news <-chan struct{}) error {
	pause := time.After(psPause)
	var due <-chan struct{}
	var older <-chan time.Time
	if screen.live && !f.asJSON && !f.quiet {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		older = tick.C
	}
	for {
		if err := c.drawRequests(screen, list, f); err != nil {
			return err
		}
		for redraw := false; !redraw; {
			select {
			case <-pause:
				due = news
			case <-due:
				return nil
			case <-older:
				redraw = true
			case <-ctx.Done():
				return nil
			}
		}
	}
}

func (c *cli) drawRequests(screen *screen, list *requestList, f *psFlags) error {
	if f.asJSON {
		list.reportUnresponsive(c.stderr)
		return c.writeRequests(c.stdout, list, f)
	}
	var text strings.Builder
	if err := c.writeRequests(&text, list, f); err != nil {
		return err
	}
	if screen.live {
		list.reportUnresponsive(&text) // on the terminal, it would stand in the way of the next list
	} else {
		list.reportUnresponsive(c.stderr)
	}
	return screen.show(text.String())
}

// watchEnded is what a command that watches ends with: nothing, where ctx did.
func watchEnded(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return nil
	case err == nil:
		return errors.New("this device ended the stream of events")
	}
	return requestFailure(err)
}

func requestRow(r *protocol.RequestInfo, now time.Time, wide bool) []string {
	from := r.OrchestratorName
	if from == "" {
		from = shortID(r.Orchestrator)
	}
	age := "-"
	if !r.Accepted.IsZero() {
		age = old(now.Sub(r.Accepted))
	}
	command := strings.Join(r.Args, " ")
	if !wide {
		command = clipped(command, maxCommand)
	}
	row := []string{string(r.ID), r.Image, command, stateText(&r.Last), nodeText(&r.Last), age}
	if wide {
		row = append(row, from, cmp.Or(r.Last.Container, "-"))
	}
	return row
}

// stateText says where a request is in its life, in a few words.
func stateText(e *protocol.Event) string {
	switch {
	case e.State != protocol.StateSucceeded && e.State.Ended() && e.HasExitCode():
		return fmt.Sprintf("%v (%d)", e.State, e.ExitCode)
	case e.State.Ended() && e.Code != protocol.CodeNone:
		return fmt.Sprintf("%v (%v)", e.State, e.Code)
	case isQueued(e):
		return fmt.Sprintf("%s, %d before it", stateQueued, e.QueuePlace)
	}
	return e.State.String()
}

func nodeText(e *protocol.Event) string {
	switch {
	case e.NodeName != "":
		return e.NodeName
	case e.Node != "":
		return shortID(e.Node)
	}
	return "-"
}

// clipped shortens s to n characters.
func clipped(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
