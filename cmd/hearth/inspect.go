package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

func (c *cli) inspectCommand() *cobra.Command {
	var asJSON, wide bool
	var format string
	cmd := &cobra.Command{
		Use:   "inspect [flags] ID",
		Short: "Show all that is known of a request",
		Long: `Show all that is known of a request: what was asked for, every step of its life
with time, node and reason, and where its output can be had. Any device's request
can be named: by its ID, its name, a beginning of the ID that no other has, or
ID@DEVICE. It is answered as long as the request is kept, also when its device was restarted meanwhile.

With --wide the IDs of devices and containers are whole, and times have a date.

JSON: the keys of 'hearth ps --json', and service (what was asked for), events
(each with request, attempt, state, code, reason, exit_code, node, node_name,
container, queue_place and at) and decisions (see 'hearth explain').

With --format the keys of that JSON are put into a template of Go, as docker does:
{{.state}}, {{json .service}}, {{range .events}}, {{join .args " "}}, {{len .events}}.

  hearth inspect k3v
  hearth inspect --json k3v | jq .events
  hearth inspect --format '{{.node_name}} {{.service.image}}' k3v`,
		Args:              oneRequest,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			print := func(d *protocol.RequestDetail) error { return c.printInspection(d, wide) }
			switch {
			case cmd.Flags().Changed("format"):
				t, err := parseFormat(format)
				if err != nil {
					return err
				}
				print = func(d *protocol.RequestDetail) error { return t.print(c.stdout, api.NewRequestDetail(d)) }
			case asJSON:
				print = func(d *protocol.RequestDetail) error {
					return json.NewEncoder(c.stdout).Encode(api.NewRequestDetail(d))
				}
			}
			d, err := c.inspect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return print(&d)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	flags.BoolVar(&wide, "wide", false, "show whole IDs, and dates")
	flags.StringVarP(&format, "format", "f", "", "print what `TEMPLATE` makes of the JSON")
	exclusive(cmd, "json", "format", "wide")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.NoFileCompletions)
	return cmd
}

func (c *cli) inspect(ctx context.Context, id string) (protocol.RequestDetail, error) {
	device, done, err := c.device(ctx)
	if err != nil {
		return protocol.RequestDetail{}, err
	}
	defer done()
	d, err := device.Inspect(ctx, protocol.RequestID(id))
	if err != nil {
		return d, requestFailure(err)
	}
	return d, nil
}

func (c *cli) printInspection(d *protocol.RequestDetail, wide bool) error {
	if err := c.table(c.stdout, inspectionRows(d, wide), wide); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c.stdout); err != nil {
		return err
	}
	return c.table(c.stdout, lifeRows(d, wide), wide)
}

// inspectionRows are what is known of a request, and all that was asked for.
func inspectionRows(d *protocol.RequestDetail, wide bool) [][]string {
	s := &d.Service
	who := func(name string, id protocol.PeerID) string {
		if wide || name == "" {
			return strings.TrimSpace(name + " " + string(id))
		}
		return name
	}
	container := d.Last.Container
	if !wide {
		container = container[:min(len(container), shortContainer)]
	}
	rows := [][]string{
		{"ID", string(d.ID)},
		{"name", s.Tags[protocol.TagName]},
		{"tags", tagsText(s.Tags)},
		{"state", stateText(&d.Last)},
		{"reason", d.Last.Reason},
		{"node", who(d.Last.NodeName, d.Last.Node)},
		{"container", container},
		{"asked of", who(d.OrchestratorName, d.Orchestrator)},
		{"image", s.Image},
		{"pull", string(s.Pull)},
		{"entrypoint", entrypointText(s)},
		{"arguments", quoted(s.Args)},
		{"environment", quoted(s.Env)},
		{"workdir", s.WorkDir},
		{"user", s.User},
		{"hostname", s.Hostname},
		{"wants", wants(s)},
		{"network", s.Network},
		{"mounts", mountsText(s.Mounts)},
		{"in memory", memoryText(s)},
		{"root", rootText(s)},
		{"secrets", secretsText(s.Secrets)},
		{"devices", strings.Join(s.Devices, ", ")},
		{"capabilities", strings.Join(s.Capabilities, ", ")},
		{"retry", retryText(s.Retry)},
		{"forgotten", autoRemoveText(s)},
		{"detached", yes(d.Detached)},
		{"input", yes(s.Stdin)},
		{"terminal", terminalText(s)},
		{"took", took(&d.RequestInfo)},
	}
	known := rows[:0]
	for _, r := range rows {
		if strings.TrimSpace(r[1]) != "" {
			known = append(known, r)
		}
	}
	return known
}

// lifeRows are the steps of a request's life.
func lifeRows(d *protocol.RequestDetail, wide bool) [][]string {
	life := [][]string{{"TIME", "STATE", "ATTEMPT", "NODE", "REASON"}}
	for i := range d.Events {
		e := &d.Events[i]
		at, attempt := clock(e.At), "-"
		if !wide && !e.At.IsZero() {
			at = e.At.Local().Format("15:04:05.000")
		}
		if e.Attempt > 0 {
			attempt = strconv.FormatUint(uint64(e.Attempt), 10)
		}
		life = append(life, []string{at, stateText(e), attempt, nodeText(e), e.Reason})
	}
	return life
}

// shortContainer is how many digits of its ID tell a container from others, as
// docker shows them.
const shortContainer = 12

func (c *cli) explainCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain [flags] ID",
		Short: "Show why a request was placed where it was",
		Long: `Show how every device was rated when a request was placed: one table for each
offer that was made, the best device first. 'hearth run --dry-run' shows the same
before anything runs.

SCORE is how able and how idle the device was (higher is better; 100 is an idle
one of the reference device's speed). ESTIMATE is the time to the end of the
execution there: of WORK, which is the time it runs and waits for a slot, NETWORK,
the round trip, and FETCH, of the image. With ~ it is a guess: nothing was known
of how long this runs, or of how large its image is. CHANCE is how likely it was to
be drawn. At the end of the line stands which was chosen, or why one was left out.

JSON: an array with, for each offer, the keys level_ms, places and candidates;
each of these has node, name, self, score, estimate_ms, work_ms, network_ms,
cold_ms, chance (0 to 1), chosen, guess (nothing was known), and, of those left out, code and excluded (why).
Who had an estimate below level_ms had a chance; places is how many executions
were to fit below it. Of a large mesh the best 32 devices are told, and as unnamed
how many more there are; 'hearth run --dry-run' tells the best 256.

  hearth explain k3v
  hearth explain --json k3v | jq '.[].candidates[] | {name, estimate_ms, excluded}'`,
		Args:              oneRequest,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := c.inspect(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(api.NewDecisions(d.Decisions))
			}
			if len(d.Decisions) == 0 {
				return &failure{err: fmt.Errorf("no decision about %s is kept", d.ID), hint: "it was not placed yet, or its device was restarted since; see 'hearth inspect'"}
			}
			for i := range d.Decisions {
				if i > 0 {
					fmt.Fprintln(c.stdout)
				}
				if err := explainDecision(c.stdout, &d.Decisions[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// clock prints a time as the user's clock shows it.
func clock(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// quoted lists texts so that each can be told from the next.
func quoted(texts []string) string {
	q := make([]string, 0, len(texts))
	for _, t := range texts {
		q = append(q, fmt.Sprintf("%q", t))
	}
	return strings.Join(q, " ")
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// took says how long the parts of a request's life lasted.
func took(r *protocol.RequestInfo) string {
	var parts []string
	if !r.Accepted.IsZero() && !r.Started.IsZero() {
		parts = append(parts, brief(max(0, r.Started.Sub(r.Accepted)))+" to the start")
	}
	if !r.Started.IsZero() && !r.Ended.IsZero() {
		parts = append(parts, brief(max(0, r.Ended.Sub(r.Started)))+" to the end")
	}
	return strings.Join(parts, ", ")
}
