package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

func (c *cli) doctorCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what is wrong, and say what to do",
		Long: `Check the secret, the disk of the state folder, the network interfaces, multicast,
the listening address, the container engine, the peers seen and other meshes seen,
each with what to do about it. Where no device is running, what can be checked without
one is.

Exit code 0 if nothing is wrong (warnings aside), 125 otherwise.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			checks, err := c.diagnose(cmd)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(c.stdout).Encode(api.NewChecks(checks))
			} else {
				err = c.printChecks(checks)
			}
			if err != nil {
				return err
			}
			for _, ch := range checks {
				if ch.Level == protocol.LevelProblem {
					return exited(exitError)
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// diagnose asks the running device; without one it checks what it can.
func (c *cli) diagnose(cmd *cobra.Command) ([]protocol.Check, error) {
	ctx := cmd.Context()
	running, done, err := c.device(ctx)
	if err == nil {
		defer done()
		return running.Diagnose(ctx)
	}
	checks := []protocol.Check{{
		Name: "device", Level: protocol.LevelProblem, Finding: err.Error(),
		Advice: "start it with 'hearth up', or say where it is with --state DIR or HEARTH_STATE",
	}}
	secret, err := c.findSecret("")
	if err != nil {
		checks = append(checks, protocol.Check{Name: "secret", Level: protocol.LevelProblem, Finding: err.Error(),
			Advice: "make one with 'hearth secret new', or copy it from another device"})
	} else {
		checks = append(checks, device.CheckSecret(secret))
	}
	if _, err := os.Stat(c.state); err == nil {
		checks = append(checks, device.CheckState(c.state))
	}
	return append(checks, device.CheckInterfaces(nil), device.CheckEngine(ctx)), nil
}

// levelMarks are the levels as people read them.
var levelMarks = map[protocol.Level]string{protocol.LevelOK: "ok", protocol.LevelWarning: "warning", protocol.LevelProblem: "PROBLEM"}

func (c *cli) printChecks(checks []protocol.Check) error {
	width := 0
	for _, ch := range checks {
		width = max(width, len(ch.Name))
	}
	for _, ch := range checks {
		if _, err := fmt.Fprintf(c.stdout, "%-8s %-*s  %s\n", levelMarks[ch.Level], width, ch.Name, printable(ch.Finding)); err != nil {
			return err
		}
		if ch.Advice != "" {
			if _, err := fmt.Fprintf(c.stdout, "%-8s %-*s  → %s\n", "", width, "", printable(ch.Advice)); err != nil {
				return err
			}
		}
	}
	return nil
}
