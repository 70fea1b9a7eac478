package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) rmCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [flags] ID...",
		Short: "Forget requests that have ended",
		Long: `Forget requests that have ended: 'hearth ps --all' does not show them any more,
and what they wrote and how they ended is gone. Any device's requests can be named:
by ID, by name, by a beginning of the ID that no other has, or by ID@DEVICE.

One that has not ended is left alone; with --force it is killed first, without a
grace period. With --force, one is forgotten as well whose end is unknown: its
node kills it, at once or when it answers again.

It prints each ID that is forgotten.

Exit codes: 0 if all are; 125 otherwise.

  hearth rm k3v
  hearth rm -f web
  hearth rm $(hearth ps -aq --filter status=failed)`,
		Args:              someRequests,
		ValidArgsFunction: c.completeRequests(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			return c.remove(cmd.Context(), device, args, force)
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "kill those first that have not ended")
	return cmd
}

// remove forgets all that it can: one that fails does not keep the others from it.
func (c *cli) remove(ctx context.Context, device *protocol.AppClient, ids []string, force bool) error {
	var errs []error
	for _, id := range ids {
		if err := device.Remove(ctx, protocol.Remove{Request: protocol.RequestID(id), Force: force}); err != nil {
			errs = append(errs, requestFailure(err))
			continue
		}
		if _, err := fmt.Fprintln(c.stdout, id); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}
