package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

func (c *cli) eventsCommand() *cobra.Command {
	var asJSON bool
	var since time.Duration
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Show every change of every request as it happens",
		Long: `Print a line for every change of every request in the mesh, from now on until
Ctrl-C, which ends it with exit code 0. With --since those of the last D come first,
in their order by the clocks of the devices that saw them, of requests that are kept;
of one, 'hearth inspect' tells all.

If this command is read too slowly the device ends it, with exit code 125: no
change is left out in silence.

JSON: a line for each event, with the keys request, attempt, state, code, reason,
exit_code, node, node_name, container, queue_place and at; what is not known is
left out.

  hearth events
  hearth events --since 1h
  hearth events --json | jq -r 'select(.state == "lost").request'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if since <= 0 && cmd.Flags().Changed("since") {
				return fmt.Errorf("--since: %v is no time to look back; write it like 10m", since)
			}
			ctx := cmd.Context()
			device, done, err := c.device(ctx)
			if err != nil {
				return err
			}
			defer done()
			show := func(e *protocol.Event) error {
				if asJSON {
					return json.NewEncoder(c.stdout).Encode(api.NewEvent(e))
				}
				_, err := fmt.Fprintln(c.stdout, eventLine(e))
				return err
			}
			return watchEnded(ctx, watchEvents(ctx, device, since, show))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().DurationVar(&since, "since", 0, "begin with those of the last `D`, such as 10m")
	return cmd
}

// watchEvents shows events as they come, after those of the last since. The past is
// asked for once nothing can be missed any more, so what happens meanwhile is told by
// both: it is shown once.
func watchEvents(ctx context.Context, device *protocol.AppClient, since time.Duration, show func(*protocol.Event) error) error {
	past := make(map[eventKey]bool)
	caughtUp := since <= 0
	begun := make(chan struct{})
	lines := make(chan protocol.Event)
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { // ends with watching, or the device's stream
		ended <- device.Watch(watching, func() { close(begun) }, func(e protocol.Event) error {
			select {
			case lines <- e:
				return nil
			case <-watching.Done():
				return watching.Err()
			}
		})
	}()
	for {
		select {
		case <-begun:
			begun = nil
			if caughtUp {
				continue
			}
			caughtUp = true
			earlier, err := pastEvents(ctx, device, time.Now().Add(-since))
			if err != nil {
				return err
			}
			for i := range earlier {
				past[keyOf(&earlier[i])] = true
				if err := show(&earlier[i]); err != nil {
					return err
				}
			}
		case e := <-lines:
			if past[keyOf(&e)] {
				continue
			}
			if err := show(&e); err != nil {
				return err
			}
		case err := <-ended:
			return err
		}
	}
}

// eventKey tells an event from the others of the mesh.
type eventKey struct {
	request protocol.RequestID
	node    protocol.PeerID
	attempt uint32
	state   protocol.State
	at      int64
	reason  string
}

func keyOf(e *protocol.Event) eventKey {
	return eventKey{e.Request, e.Node, e.Attempt, e.State, e.At.UnixNano(), e.Reason}
}

// pastEvents returns the events since then of all requests that are kept, the first
// first.
func pastEvents(ctx context.Context, device *protocol.AppClient, then time.Time) ([]protocol.Event, error) {
	var ids []protocol.RequestID
	_, err := device.List(ctx, true, func(r protocol.RequestInfo) error {
		if r.Last.At.IsZero() || !r.Last.At.Before(then) {
			ids = append(ids, r.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var events []protocol.Event
	for _, id := range ids {
		d, err := device.Inspect(ctx, id)
		if code := protocol.CodeOf(err); code == protocol.CodeNotFound || code == protocol.CodeInvalid {
			continue // it was dropped meanwhile, or two devices have one of that ID
		}
		if err != nil {
			return nil, err
		}
		for _, e := range d.Events {
			if !e.At.Before(then) {
				events = append(events, e)
			}
		}
	}
	slices.SortStableFunc(events, func(a, b protocol.Event) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Request, b.Request))
	})
	return events, nil
}

func eventLine(e *protocol.Event) string {
	line := fmt.Sprintf("%s  %s  %s", clock(e.At), e.Request, stateText(e))
	if node := nodeText(e); node != "-" {
		line += " on " + node
	}
	if e.Reason != "" {
		line += ": " + e.Reason
	}
	return oneLine(line)
}
