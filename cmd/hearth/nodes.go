package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// deviceJSON is one device in `hearth nodes --json`; the keys are stable.
type deviceJSON struct {
	Name       string          `json:"name"`
	PeerID     protocol.NodeID `json:"peer_id"`
	Self       bool            `json:"self"`
	Role       string          `json:"role"`
	Arch       string          `json:"arch"`
	CPUs       protocol.Cores  `json:"cpus"`
	MemoryFree protocol.Bytes  `json:"memory_free"`
	Running    uint32          `json:"running"`
	Queued     uint32          `json:"queued"`
	Score      float64         `json:"score"`
	Addresses  []string        `json:"addresses"`
	AgeMS      int64           `json:"age_ms"`
}

func (c *cli) nodesCommand() *cobra.Command {
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"devices"},
		Short:   "Show every device of the mesh",
		Long: `Show every device of the mesh as this device sees it: its own first (*), then
by name. A device is gone from the list as soon as it leaves or is lost.

CPUS is what the device lends, FREE the memory that a new container could get,
SCORE how able and how idle it is (higher is better), AGE how old that is. The
role 'node' runs work, a 'device' only asks for it.

With --watch the list is printed anew on every change until Ctrl-C; with --json
as well, as one line of JSON for each change.`,
		Args: cobra.NoArgs,
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
				return table(c.stdout, deviceRows(ds))
			})
			if watch && errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
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
		addresses := s.Addresses
		if addresses == nil {
			addresses = []string{}
		}
		out = append(out, deviceJSON{
			Name: s.Name, PeerID: s.Node, Self: d.Self, Role: s.Role.String(), Arch: s.Arch, CPUs: s.CPUs,
			MemoryFree: s.MemoryFree, Running: s.Running, Queued: s.Queued, Score: s.Rating,
			Addresses: addresses, AgeMS: d.Age.Milliseconds(),
		})
	}
	return out
}

func deviceRows(ds []protocol.Device) [][]string {
	rows := [][]string{{"NAME", "ROLE", "ARCH", "CPUS", "FREE", "RUNNING", "QUEUED", "SCORE", "AGE", "PEER", "ADDRESS"}}
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
		rows = append(rows, row)
	}
	return rows
}

// shortID returns the end of a peer ID, which tells peers apart: all start alike.
func shortID(id protocol.NodeID) string {
	if len(id) > 8 {
		return "…" + string(id[len(id)-8:])
	}
	return string(id)
}
