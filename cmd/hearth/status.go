package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

func (c *cli) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show this device: its mesh, its engine, its work, what is wrong",
		Long: `Show this device on one screen: its name and ID, the fingerprint of its mesh (every
device of it has the same), its version, how many devices are connected, the engine
that runs work, what runs and waits here, whether it drains, and the gravest finding
of 'hearth doctor', which tells all of them.

Exit code 0 if the device is up, whatever is wrong; 125 otherwise.

JSON: an object with the keys name, peer_id, mesh, version, state (the folder),
uptime_ms, peers, engine or no_engine (why there is none), running, queued, draining,
and worst (name, level, finding, advice), which is left out where nothing is wrong.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			device, done, err := c.device(ctx)
			if err != nil {
				return err
			}
			defer done()
			info, err := deviceInfo(ctx, device)
			if err != nil {
				return requestFailure(err)
			}
			checks, err := device.Diagnose(ctx)
			if err != nil {
				return requestFailure(err)
			}
			worst := worstCheck(checks)
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(api.NewDeviceInfo(&info, c.state, worst))
			}
			return table(c.stdout, statusRows(&info, worst))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// deviceInfo asks the device once what it is.
func deviceInfo(ctx context.Context, device *protocol.AppClient) (info protocol.DeviceInfo, err error) {
	err = device.Status(ctx, false, func(d protocol.DeviceInfo) error {
		info = d
		return nil
	})
	return info, err
}

// worstCheck returns the first of the gravest findings; nil where nothing is wrong.
func worstCheck(checks []protocol.Check) *protocol.Check {
	var worst *protocol.Check
	for i := range checks {
		if checks[i].Level > protocol.LevelOK && (worst == nil || checks[i].Level > worst.Level) {
			worst = &checks[i]
		}
	}
	return worst
}

func statusRows(d *protocol.DeviceInfo, worst *protocol.Check) [][]string {
	engine := d.Engine
	if engine == "" {
		engine = "none: " + d.NoEngine
	}
	work := workText(d)
	if d.Draining {
		work += "; draining: no new work is taken"
	}
	rows := [][]string{
		{"name", d.Name},
		{"ID", string(d.ID)},
		{"mesh", d.Fingerprint},
		{"version", d.Version + ", up for " + old(d.Uptime)},
		{"devices", fmt.Sprintf("%d connected", d.Peers)},
		{"engine", engine},
		{"work", work},
	}
	if worst == nil {
		return append(rows, []string{"doctor", "finds nothing wrong"})
	}
	rows = append(rows, []string{"doctor", fmt.Sprintf("%s, %s: %s", levelMarks[worst.Level], worst.Name, worst.Finding)})
	if worst.Advice != "" {
		rows = append(rows, []string{"", "→ " + worst.Advice})
	}
	return rows
}

// workText says how much work the device has.
func workText(d *protocol.DeviceInfo) string {
	if d.Running+d.Queued == 0 {
		return "nothing runs here"
	}
	return fmt.Sprintf("%d running, %d queued", d.Running, d.Queued)
}
