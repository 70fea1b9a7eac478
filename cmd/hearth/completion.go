package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// completionTimeout bounds how long a press of Tab can take.
const completionTimeout = 2 * time.Second

func (c *cli) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script with which a shell completes hearth's words",
		Long: `Print a script with which the shell completes verbs, flags, the names of nodes
and the IDs of requests. Names and IDs are asked of the device that runs here;
without one there are none.

  bash: source <(hearth completion bash)        in ~/.bashrc; needs bash-completion
  zsh:  source <(hearth completion zsh)         in ~/.zshrc, after compinit
  fish: hearth completion fish | source         in ~/.config/fish/config.fish`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && slices.Contains(cmd.ValidArgs, args[0]) {
				return nil
			}
			return &failure{err: errors.New("name one shell: bash, zsh or fish"), hint: "see 'hearth completion --help'"}
		},
		ValidArgs:             []string{"bash", "zsh", "fish"},
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch root := cmd.Root(); args[0] {
			case "bash":
				return root.GenBashCompletionV2(c.stdout, true)
			case "zsh":
				return root.GenZshCompletion(c.stdout)
			default:
				return root.GenFishCompletion(c.stdout, true)
			}
		},
	}
}

// completeRequests completes up to most IDs of requests; 0 is any number. Where
// no device answers there is nothing to complete, and nothing is said.
func (c *cli) completeRequests(most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var found []cobra.Completion
		if most > 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		// What has ended can be asked about, but no more be stopped or reached into.
		all := !slices.Contains([]string{"stop", "kill", "exec", "forward"}, cmd.Name())
		c.complete(cmd, func(ctx context.Context, device *protocol.AppClient) error {
			_, err := device.List(ctx, all, func(r protocol.RequestInfo) error {
				if !slices.Contains(args, string(r.ID)) {
					found = append(found, cobra.CompletionWithDesc(string(r.ID), oneLine(stateText(&r.Last)+", "+r.Image)))
				}
				return nil
			})
			return err
		})
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// plainUsage takes the quotes out of the flags' texts that mark a value's name: help
// reads them, completion would show them.
func plainUsage(cmd *cobra.Command) {
	plain := func(f *pflag.Flag) { f.Usage = strings.ReplaceAll(f.Usage, "`", "") }
	cmd.Flags().VisitAll(plain)
	cmd.PersistentFlags().VisitAll(plain)
	for _, verb := range cmd.Commands() {
		plainUsage(verb)
	}
}

// completeNodes completes the names of the nodes.
func (c *cli) completeNodes(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var found []cobra.Completion
	c.complete(cmd, func(ctx context.Context, device *protocol.AppClient) error {
		return device.Devices(ctx, false, func(ds []protocol.Device) error {
			for _, d := range ds {
				if d.Status.Role == protocol.RoleNode {
					found = append(found, cobra.CompletionWithDesc(d.Status.Name, oneLine(d.Status.Arch+", "+d.Status.CPUs.String())))
				}
			}
			return nil
		})
	})
	return found, cobra.ShellCompDirectiveNoFileComp
}

// complete asks the device that runs here, if there is one.
func (c *cli) complete(cmd *cobra.Command, ask func(context.Context, *protocol.AppClient) error) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	device, done, err := c.device(ctx)
	if err != nil {
		return
	}
	defer done()
	_ = ask(ctx, device) // what came before a failure is still right
}
