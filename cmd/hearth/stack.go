package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) stackCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "stack",
		Short: "Run applications that stay up, from compose files",
		Long: `A stack is an application of one or more containers, written as a compose file or
given by flags. One node keeps it up: it starts again what ended, also after a
restart of the device, and without the rest of the mesh. Every device of the mesh
can ask for stacks and about them. 'hearth help stacks' tells more.

  hearth stack up                      the compose file of this folder
  hearth stack up blog --image ghost:5 -p 2368:2368 -v data:/var/lib/ghost/content
  hearth stack ls
  hearth stack logs -f blog`,
	})
	cmd.AddCommand(c.stackUpCommand(), c.stackLsCommand(), c.stackPsCommand(), c.stackLogsCommand(),
		c.stackActionCommand(protocol.StackRestart), c.stackActionCommand(protocol.StackStop), c.stackActionCommand(protocol.StackStart),
		c.stackDownCommand(), c.stackHistoryCommand(), c.stackRollbackCommand(), c.stackInspectCommand(), c.stackKeysCommand())
	return cmd
}

// stackFailure adds what to do next to an error about stacks.
func stackFailure(err error) error {
	switch protocol.CodeOf(err) {
	case protocol.CodeNotFound:
		return &failure{err: err, hint: "'hearth stack ls -a' lists the stacks of the mesh"}
	case protocol.CodeUnauthorized:
		return &failure{err: err, hint: tokenHint}
	case protocol.CodeNoNode:
		return &failure{err: err, code: exitNoNode}
	case protocol.CodeStackUnhealthy:
		return &failure{err: err, code: exitNotUp}
	}
	return err
}

// exitNotUp: the stack was not up in time.
const exitNotUp = 1

// stackArgs reads STACK [SERVICE...], in which the first service may follow the
// stack after a /.
func stackArgs(cmd *cobra.Command, args []string) (name protocol.StackName, services []string, err error) {
	if len(args) == 0 {
		return "", nil, &failure{err: errors.New("no stack was named"), hint: "usage: " + cmd.UseLine() + "; 'hearth stack ls' shows names"}
	}
	text, service, both := strings.Cut(args[0], "/")
	if _, _, err := protocol.ParseStackRef(text); err != nil {
		return "", nil, err
	}
	if both {
		services = append(services, service)
	}
	return protocol.StackName(text), append(services, args[1:]...), nil
}

// oneStack checks that the only argument names a stack.
func oneStack(cmd *cobra.Command, args []string) error {
	_, services, err := stackArgs(cmd, args)
	if err == nil && len(services) > 0 {
		return &failure{err: fmt.Errorf("%s takes one stack, and %q is one more argument", cmd.CommandPath(), services[0]), hint: "usage: " + cmd.UseLine()}
	}
	return err
}

// someServices checks that the arguments are a stack and services of it.
func someServices(cmd *cobra.Command, args []string) error {
	_, _, err := stackArgs(cmd, args)
	return err
}

// completeStacks completes a stack's name, and with services those of it after that.
func (c *cli) completeStacks(services bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 && !services {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var found []cobra.Completion
		all := cmd.Name() == "history" || cmd.Name() == "rollback" || cmd.Name() == "down" || cmd.Name() == "up"
		c.complete(cmd, func(ctx context.Context, device *protocol.AppClient) error {
			list := protocol.ListStacks{All: all}
			if len(args) > 0 {
				list.Name = protocol.StackName(args[0])
			}
			return device.ListStacks(ctx, list, func(ss []protocol.StackStatus) error {
				for i := range ss {
					found = append(found, stackCompletions(&ss[i], args)...)
				}
				return nil
			})
		})
		return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

func stackCompletions(s *protocol.StackStatus, args []string) (found []cobra.Completion) {
	if len(args) == 0 {
		return []cobra.Completion{cobra.CompletionWithDesc(string(s.Name), oneLine(string(s.State)+" on "+s.HolderName))}
	}
	for _, n := range s.Instances {
		found = append(found, cobra.CompletionWithDesc(n.Service, oneLine(string(n.State)+", "+n.Image)))
	}
	return found
}
