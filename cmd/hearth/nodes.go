package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

const nodesHelp = `Show every device of the mesh as this device sees it: its own first (*), then
by name. A device is gone from the list as soon as it leaves or is lost.

CPUS is what the device lends, FREE the memory that a new container could get,
SCORE how able and how idle it is (higher is better; 'draining' takes no new work,
'starting' does not know yet whether it runs work, 'no limits' cannot limit
containers: see 'hearth doctor' there), AGE how old that is. A device with none of
these only asks for work.

With --wide come its ROLE ('node' runs work, a 'device' only asks for it), ARCH,
PEER (the end of its ID), ADDRESS, RTT, the round trip, DISK, what is free on the
file system of its state folder, ACCEL, the accelerators that the owner lends, TEMP,
that of the hottest sensor, THROTTLED, how much of its speed heat or power takes away,
FETCH, how many bytes a second images came at lately, VERSION and LABELS. They are
measured when a status is made: a device does not send a new one because it grew
warmer.

JSON: an array of objects with the keys name, peer_id, self, role, draining,
not_ready, missing_limits (memory, cpus, pids), arch, os, drivers, speed (of a core;
1 is the reference device's), cpus, cpu_free, cpu_others (cores that other programs
use), memory_total, memory_free and disk_free (bytes; see DISK), slots, running,
queued, score, address (of the connection), addresses,
age_ms, rtt_ms, accelerators, labels, temperature_c, throttled (0 to 1), pull_rate
(bytes a second), long_running (what has run for several times as long as usual:
count, cpus, memory, and ran_ms of the youngest), youngest_ms (of all that runs) and
version; of address, rtt_ms and the last six only what is known. claimed_name is there
where a device claims a name that is another's, so that it is shown with the end of
its ID, and copy_address where another device runs with a copy of its state folder.

With --watch the list is printed anew on every change until Ctrl-C, on a terminal in
the place of the last one; with --json as well, as one line of JSON for each change.
What always moves a little, as free memory does, is a change when it moved by a
twentieth.

  hearth nodes
  hearth nodes -q | xargs -n1 -I{} hearth run --node {} busybox hostname`

func (c *cli) nodesCommand() *cobra.Command {
	var f nodesFlags
	cmd := &cobra.Command{
		Use:     "nodes",
		Aliases: []string{"devices"},
		Short:   "Show every device of the mesh",
		Long:    nodesHelp,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			device, done, err := c.device(ctx)
			if err != nil {
				return err
			}
			defer done()
			screen := c.newScreen()
			if f.watch {
				defer screen.leave()
			}
			err = device.Devices(ctx, f.watch, c.devicePrinter(f, screen))
			if f.watch && errors.Is(ctx.Err(), context.Canceled) {
				return nil
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "print names only, one a line")
	cmd.Flags().BoolVar(&f.wide, "wide", false, "show all columns")
	cmd.Flags().BoolVarP(&f.watch, "watch", "w", false, "go on, and print the list on every change")
	exclusive(cmd, "json", "quiet", "wide")
	return cmd
}

type nodesFlags struct{ asJSON, quiet, wide, watch bool }

// devicePrinter returns what prints a list of devices, but for one that says
// nothing new. A terminal shows each, since their age goes on.
func (c *cli) devicePrinter(f nodesFlags, screen *screen) func([]protocol.Device) error {
	var last []protocol.Device
	first := true
	return func(ds []protocol.Device) error {
		if !first && (!screen.live || f.asJSON || f.quiet) && slices.EqualFunc(ds, last, alike) {
			return nil
		}
		last, first = ds, false
		if f.asJSON {
			return json.NewEncoder(c.stdout).Encode(api.NewDevices(ds))
		}
		var text strings.Builder
		if err := c.writeDevices(&text, ds, f); err != nil {
			return err
		}
		notes := io.Writer(c.stderr)
		if f.watch && screen.live { // there they would stand in the way of the next list
			notes = &text
		}
		if !f.quiet {
			tellNames(notes, ds)
		}
		if f.watch {
			return screen.show(text.String())
		}
		_, err := io.WriteString(c.stdout, text.String())
		return err
	}
}

func (c *cli) writeDevices(w io.Writer, ds []protocol.Device, f nodesFlags) error {
	if !f.quiet {
		return c.table(w, deviceRows(ds, f.wide), f.wide)
	}
	for i := range ds {
		if _, err := fmt.Fprintln(w, oneLine(ds[i].Status.Name)); err != nil {
			return err
		}
	}
	return nil
}

// alike reports whether two lists say the same of a device, but for how old that is.
func alike(a, b protocol.Device) bool {
	return a.Self == b.Self && a.Address == b.Address && a.Status.Alike(&b.Status)
}

func deviceRows(ds []protocol.Device, wide bool) [][]string {
	rows := [][]string{{"NAME", "CPUS", "FREE", "RUNNING", "QUEUED", "SCORE", "AGE"}}
	if wide {
		rows[0] = append(rows[0], "ROLE", "ARCH", "PEER", "ADDRESS", "RTT", "DISK", "ACCEL", "TEMP", "THROTTLED", "FETCH", "VERSION", "LABELS")
	}
	for i := range ds {
		d := &ds[i]
		s := &d.Status
		row := []string{s.Name, "-", "-", "-", "-", "-", brief(d.Age)}
		if d.Self {
			row[0] += " *"
		}
		if s.Role == protocol.RoleNode {
			row[1], row[2] = cores(s.CPUs), s.MemoryFree.String()
			row[3], row[4] = strconv.FormatUint(uint64(s.Running), 10), strconv.FormatUint(uint64(s.Queued), 10)
			row[5] = strconv.FormatFloat(s.Score, 'f', 2, 64)
		}
		switch {
		case len(s.MissingLimits) > 0 && !s.Draining:
			row[5] = "no limits"
		case s.Draining:
			row[5] = "draining"
		case s.NotReady:
			row[5] = "starting"
		}
		if wide {
			row = append(row, wideCells(d)...)
		}
		rows = append(rows, row)
	}
	return rows
}

// wideCells are what --wide adds to a row.
func wideCells(d *protocol.Device) []string {
	s := &d.Status
	address := d.Address
	if d.Self && len(s.Addresses) > 0 {
		address = s.Addresses[0]
	}
	cells := []string{s.Role.String(), s.Arch, shortID(s.Node), address, "", "", strings.Join(s.Accelerators, ","), "", "", "", s.Version, ""}
	if d.RTT > 0 {
		cells[4] = brief(d.RTT)
	}
	if s.DiskFree > 0 {
		cells[5] = s.DiskFree.String()
	}
	if s.Temperature > 0 {
		cells[7] = fmt.Sprintf("%d °C", s.Temperature)
	}
	if s.Throttled > 0 {
		cells[8] = fmt.Sprintf("%.0f%%", 100*s.Throttled)
	}
	if s.PullRate > 0 {
		cells[9] = s.PullRate.String() + "/s"
	}
	var labels []string
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, k+"="+s.Labels[k])
	}
	cells[11] = strings.Join(labels, ",")
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	return cells
}

// shortID returns the end of a peer ID, which tells peers apart: all start alike.
func shortID(id protocol.PeerID) string {
	if len(id) > 8 {
		return "…" + string(id[len(id)-8:])
	}
	return string(id)
}
