package main

import "github.com/spf13/cobra"

func (c *cli) stackCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "stack",
		Short: "Read compose files as applications that stay up",
		Long: `A stack is an application of one or more containers, written as a compose file.
These verbs need no running device.`,
	})
	cmd.AddCommand(c.stackKeysCommand())
	return cmd
}
