package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime/docker"
	"github.com/hearth-edge/hearth/runtime/reaper"
)

// reaperCommand is what `hearth up` starts to watch over leases; nobody types it.
func (c *cli) reaperCommand() *cobra.Command {
	var mesh, node string
	cmd := &cobra.Command{
		Use:    "reaper",
		Short:  "Stop containers whose leases have run out, should 'hearth up' die",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := c.logger(slog.LevelInfo)
			driver, err := docker.New(docker.Config{Mesh: mesh, Node: protocol.PeerID(node), Log: log})
			if err != nil {
				return err
			}
			defer driver.Close()
			return reaper.Run(cmd.Context(), c.state, driver, log)
		},
	}
	cmd.Flags().StringVar(&mesh, "mesh", "", "`FINGERPRINT` of the mesh")
	cmd.Flags().StringVar(&node, "node", "", "`ID` of this device")
	return cmd
}
