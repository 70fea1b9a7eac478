package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/p2p/app"
)

const (
	// downTimeout is how long a device may take to end: as long as its unit gives it,
	// and some more.
	downTimeout = 30 * time.Second
	// downInterval is between two looks at whether it has.
	downInterval = 20 * time.Millisecond
)

func (c *cli) downCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "down",
		Short: "End this device's part in the mesh",
		Long: `End the device that runs here. It leaves the mesh, and takes no part in it until it
is started again, or the machine is: the service that 'hearth install' made does not
bring it back before.

Containers that run here go on; what was asked for here with 'hearth run -d', too. The
device takes both up again when it is back. To have it do no work, but stay in the
mesh, use 'hearth drain'.

It returns when the device has ended. Exit codes: 0 then; 125 otherwise.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return c.down(cmd.Context()) },
	}
}

func (c *cli) down(ctx context.Context) error {
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	info, err := deviceInfo(ctx, device)
	if err == nil {
		err = device.Down(ctx)
	}
	if err != nil {
		return requestFailure(err)
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	for tick := time.NewTicker(downInterval); ; {
		ended, err := app.Ended(c.state)
		if err != nil {
			return err
		}
		if ended {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			if errors.Is(ctx.Err(), context.Canceled) {
				return exited(exitInterrupted)
			}
			return &failure{err: fmt.Errorf("%s has not ended after %v", info.Name, downTimeout), hint: "its log says what it waits for"}
		}
	}
	again := "'hearth up'"
	if _, err := os.Lstat(filepath.Join(unitFolder, unitName)); err == nil {
		again = "'systemctl start hearth'"
	}
	_, err = fmt.Fprintf(c.stderr, "%s is down; its containers go on. %s brings it back\n", oneLine(info.Name), again)
	return err
}
