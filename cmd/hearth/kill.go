package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) killCommand() *cobra.Command {
	var signal string
	cmd := &cobra.Command{
		Use:   "kill [flags] ID...",
		Short: "Kill requests, or send them a signal, at once",
		Long: `Kill requests: the container gets SIGKILL, without a grace period; what has not
started yet is cancelled. With --signal it gets another one, which ends it or does
not, as it likes: its end is then its own. Any device's requests can be named: by
ID, by name, by a beginning of the ID that no other has, or by ID@DEVICE.

It prints each ID when its signal is on its way, and waits for nothing.

Exit codes: 0 if all were told; 125 otherwise.

  hearth kill k3v
  hearth kill -s HUP web`,
		Args:              someRequests,
		ValidArgsFunction: c.completeRequests(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := parseSignal(signal)
			if err != nil {
				return err
			}
			s := protocol.Stop{Signal: name}
			// What is killed is to end, also where there is no container yet; any other
			// signal is the container's business.
			s.SignalOnly = s.Signal != "KILL"
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			return c.stop(cmd.Context(), device, s, args, true)
		},
	}
	cmd.Flags().StringVarP(&signal, "signal", "s", "KILL", "send `SIGNAL`, such as INT or USR1")
	_ = cmd.RegisterFlagCompletionFunc("signal", cobra.FixedCompletions(slices.Clone(signalNames), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}
