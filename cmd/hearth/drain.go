package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) drainCommand() *cobra.Command {
	var wait, off bool
	cmd := &cobra.Command{
		Use:   "drain [--wait|--off]",
		Short: "Have this device take no new work",
		Long: `Have this device take no new work: other devices place it elsewhere, and say why.
What runs or waits here goes on to its end. The device stays in the mesh, and work
can be asked for here as before. It lasts over restarts, until 'hearth drain --off'.

With --wait it returns when nothing runs or waits here any more, as before switching
the machine off: 'hearth drain --wait && hearth down'.

Exit codes: 0; 130 if the waiting was ended by Ctrl-C, after which the device still
drains; 125 otherwise.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			return c.drain(cmd.Context(), device, wait, off)
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "return when nothing runs here any more")
	cmd.Flags().BoolVar(&off, "off", false, "take work again")
	exclusive(cmd, "wait", "off")
	return cmd
}

func (c *cli) drain(ctx context.Context, device *protocol.AppClient, wait, off bool) error {
	if err := device.Drain(ctx, off); err != nil {
		return requestFailure(err)
	}
	info, err := deviceInfo(ctx, device)
	if err != nil {
		return requestFailure(err)
	}
	name := oneLine(info.Name)
	switch {
	case off:
		_, err = fmt.Fprintf(c.stderr, "%s takes work again\n", name)
		return err
	case info.Running+info.Queued == 0:
		_, err = fmt.Fprintf(c.stderr, "%s takes no new work; nothing runs there\n", name)
		return err
	}
	fmt.Fprintf(c.stderr, "%s takes no new work; what it has goes on: %s\n", name, workText(&info))
	if !wait {
		return nil
	}
	err = device.Status(ctx, true, func(d protocol.DeviceInfo) error {
		switch {
		case !d.Draining:
			return errors.New("the device takes work again: somebody ended the draining")
		case d.Running+d.Queued == 0:
			return errDrained
		}
		return nil
	})
	switch {
	case errors.Is(err, errDrained):
		_, err = fmt.Fprintf(c.stderr, "nothing runs on %s any more\n", name)
		return err
	case errors.Is(ctx.Err(), context.Canceled):
		return exited(exitInterrupted)
	case err == nil:
		err = errors.New("the device ended while it was waited for")
	}
	return requestFailure(err)
}

// errDrained ends the waiting.
var errDrained = errors.New("nothing runs any more")
