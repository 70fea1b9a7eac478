package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// deviceJSON is one device in `hearth nodes --json`; the keys are stable.
type deviceJSON struct {
	Name         string          `json:"name"`
	PeerID       protocol.NodeID `json:"peer_id"`
	Self         bool            `json:"self"`
	Role         string          `json:"role"`
	Arch         string          `json:"arch"`
	CPUs         protocol.Cores  `json:"cpus"`
	MemoryFree   protocol.Bytes  `json:"memory_free"`
	Running      uint32          `json:"running"`
	Queued       uint32          `json:"queued"`
	Score        float64         `json:"score"`
	Addresses    []string        `json:"addresses"`
	AgeMS        int64           `json:"age_ms"`
	Accelerators []string        `json:"accelerators"`
	// What is not known is left out.
	TemperatureC uint32            `json:"temperature_c,omitempty"`
	Throttled    float64           `json:"throttled,omitempty"`
	PullRate     protocol.Bytes    `json:"pull_rate,omitempty"`
	Labels       map[string]string `json:"labels"`
}

func (c *cli) nodesCommand() *cobra.Command {
	var asJSON, watch, wide bool
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"devices"},
		Short:   "Show every device of the mesh",
		Long: `Show every device of the mesh as this device sees it: its own first (*), then
by name. A device is gone from the list as soon as it leaves or is lost.

CPUS is what the device lends, FREE the memory that a new container could get,
SCORE how able and how idle it is (higher is better), AGE how old that is. The
role 'node' runs work, a 'device' only asks for it. With --wide come ACCEL, the
accelerators that the owner lends, TEMP, that of the hottest sensor, THROTTLED, how
much of its speed heat or power takes away, FETCH, how many bytes a second images
came at lately, and LABELS. They are measured at each beat of the score: a device
does not send a new one because it grew warmer.

JSON: an array of objects with the keys name, peer_id, self, role, arch, cpus,
memory_free (bytes), running, queued, score, addresses, age_ms, accelerators, labels,
temperature_c, throttled (0 to 1) and pull_rate (bytes a second); of the last three
only what is known and not 0.

With --watch the list is printed anew on every change until Ctrl-C; with --json
as well, as one line of JSON for each change.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			device, done, err := c.device(ctx)
			if err != nil {
				return err
			}
			defer done()
			first := true
			err = device.Devices(ctx, watch, func(ds []protocol.Device) error {
				if asJSON {
					return json.NewEncoder(c.stdout).Encode(devicesJSON(ds))
				}
				if watch {
					c.redraw(first)
				}
				first = false
				return table(c.stdout, deviceRows(ds, wide))
			})
			if watch && errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&wide, "wide", false, "show accelerators, heat, fetching and labels as well")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and print the list on every change")
	return cmd
}

// redraw prepares for the next list: on a terminal it takes the place of the
// last one, elsewhere an empty line parts them.
func (c *cli) redraw(first bool) {
	switch {
	case isTerminal(c.stdout):
		fmt.Fprint(c.stdout, "\x1b[H\x1b[2J")
	case !first:
		fmt.Fprintln(c.stdout)
	}
}

func devicesJSON(ds []protocol.Device) []deviceJSON {
	out := make([]deviceJSON, 0, len(ds))
	for _, d := range ds {
		s := d.Score
		labels := s.Labels
		if labels == nil {
			labels = map[string]string{}
		}
		out = append(out, deviceJSON{
			Name: s.Name, PeerID: s.Node, Self: d.Self, Role: s.Role.String(), Arch: s.Arch, CPUs: s.CPUs,
			MemoryFree: s.MemoryFree, Running: s.Running, Queued: s.Queued, Score: s.Rating,
			Accelerators: listed(s.Accelerators), TemperatureC: s.Temperature, Throttled: s.Throttled, PullRate: s.PullRate,
			Labels: labels, Addresses: listed(s.Addresses), AgeMS: d.Age.Milliseconds(),
		})
	}
	return out
}

func deviceRows(ds []protocol.Device, wide bool) [][]string {
	rows := [][]string{{"NAME", "ROLE", "ARCH", "CPUS", "FREE", "RUNNING", "QUEUED", "SCORE", "AGE", "PEER", "ADDRESS"}}
	if wide {
		rows[0] = append(rows[0], "ACCEL", "TEMP", "THROTTLED", "FETCH", "LABELS")
	}
	for _, d := range ds {
		s := d.Score
		name, address := s.Name, d.Address
		if d.Self {
			name += " *"
			if len(s.Addresses) > 0 {
				address = s.Addresses[0]
			}
		}
		row := []string{name, s.Role.String(), s.Arch, "-", "-", "-", "-", "-", brief(d.Age), shortID(s.Node), address}
		if s.Role == protocol.RoleNode {
			row[3], row[4] = cores(s.CPUs), size(s.MemoryFree)
			row[5], row[6] = strconv.FormatUint(uint64(s.Running), 10), strconv.FormatUint(uint64(s.Queued), 10)
			row[7] = strconv.FormatFloat(s.Rating, 'f', 2, 64)
		}
		if wide {
			row = append(row, wideCells(&s)...)
		}
		rows = append(rows, row)
	}
	return rows
}

// wideCells are what --wide adds to a row.
func wideCells(s *protocol.Score) []string {
	cells := []string{strings.Join(s.Accelerators, ","), "", "", "", ""}
	if s.Temperature > 0 {
		cells[1] = fmt.Sprintf("%d °C", s.Temperature)
	}
	if s.Throttled > 0 {
		cells[2] = fmt.Sprintf("%.0f%%", 100*s.Throttled)
	}
	if s.PullRate > 0 {
		cells[3] = size(s.PullRate) + "/s"
	}
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, k+"="+s.Labels[k])
	}
	cells[4] = strings.Join(labels, ",")
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	return cells
}

// shortID returns the end of a peer ID, which tells peers apart: all start alike.
func shortID(id protocol.NodeID) string {
	if len(id) > 8 {
		return "…" + string(id[len(id)-8:])
	}
	return string(id)
}
