package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) forgetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "forget NAME",
		Short: "Free the name of a device that is no more",
		Long: `Free a name whose device is no more, as after it was installed anew: a name stays
with the device that had it first, so that no other one can take it. The new device
is in the mesh meanwhile, and shown with the end of its ID, as nas-Ab3x.

On this device the name is free at once, and of the device that claims it, if one is
connected. The other devices are told, and accept it once they have not seen the old one
for an hour; names that their policies mention they keep until 'hearth forget' there.
A name whose device is connected is not free: end that one first.

Exit code 0 if the name is free here; 125 otherwise.

  hearth forget nas`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 1 {
				return nil
			}
			return &failure{err: errors.New("name one device"), hint: "usage: hearth forget NAME; see 'hearth nodes' and 'hearth doctor'"}
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			if err := device.Forget(cmd.Context(), args[0]); err != nil {
				if protocol.CodeOf(err) == protocol.CodeNotFound {
					return &failure{err: err, hint: "'hearth nodes' shows the names in use, 'hearth doctor' who claims a name twice"}
				}
				return requestFailure(err)
			}
			_, err = fmt.Fprintf(c.stderr, "%s is free here; other devices follow once they have not seen its device for an hour\n", oneLine(args[0]))
			return err
		},
	}
}

// tellNames says of a list what 'hearth doctor' knows of names and copies.
func tellNames(w io.Writer, ds []protocol.Device) {
	for i := range ds {
		s := &ds[i].Status
		name := oneLine(s.Name)
		if s.ClaimedName != "" {
			claim := oneLine(s.ClaimedName)
			fmt.Fprintf(w, "%s claims the name %s, which is another device's; if that one is no more: 'hearth forget %s'\n", name, claim, claim)
		}
		if s.CopyAddress != "" {
			fmt.Fprintf(w, "another device, at %s, runs with a copy of the state folder of %s: 'hearth doctor' says what to do\n", oneLine(s.CopyAddress), name)
		}
	}
}

// tellNamesOnRefusal does so where no node could run a request that is for a named
// one: another may be meant, that is called otherwise.
func (c *cli) tellNamesOnRefusal(ctx context.Context, device *protocol.AppClient, asked *protocol.Constraints, end error) {
	var f *failure
	name := cmp.Or(asked.Node, asked.Labels["name"])
	if name == "" || !errors.As(end, &f) || f.code != exitNoNode {
		return
	}
	_ = device.Devices(ctx, false, func(ds []protocol.Device) error {
		tellNames(c.stderr, calledSo(ds, name))
		return nil
	})
}

// calledSo returns the devices that a name may mean: theirs, claimed by them, or their
// ID.
func calledSo(ds []protocol.Device, name string) (found []protocol.Device) {
	for _, d := range ds {
		if s := &d.Status; s.Name == name || s.ClaimedName == name || string(s.Node) == name {
			found = append(found, d)
		}
	}
	return found
}
