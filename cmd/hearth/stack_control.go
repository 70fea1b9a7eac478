package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// stackActions say what the verbs do to a stack that is there.
var stackActions = map[protocol.StackAction]struct{ short, long, done string }{
	protocol.StackRestart: {"Restart a stack, or services of it", `Stop and start a stack, or services of it. It returns when they have stopped.`, "restarted"},
	protocol.StackStop: {"Stop a stack, or services of it", `Stop a stack, or services of it, until 'hearth stack start' or its next version.
That outlives restarts of the device. Containers, data and ports stay its own.`, "stopped"},
	protocol.StackStart: {"Start what was stopped", `Start a stack, or services of it, that were stopped, or that gave up.`, "started"},
}

func (c *cli) stackActionCommand(action protocol.StackAction) *cobra.Command {
	text := stackActions[action]
	cmd := &cobra.Command{
		Use:   string(action) + " STACK [SERVICE...]",
		Short: text.short,
		Long: text.long + fmt.Sprintf(`

  hearth stack %s blog
  hearth stack %s blog db`, action, action),
		Args:              someServices,
		ValidArgsFunction: c.completeStacks(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, services, err := stackArgs(cmd, args)
			if err != nil {
				return err
			}
			return c.controlStack(cmd.Context(), protocol.ControlStack{Name: name, Action: action, Services: services}, text.done)
		},
	}
	return cmd
}

func (c *cli) controlStack(ctx context.Context, what protocol.ControlStack, done string) error {
	device, end, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := device.ControlStack(ctx, what); err != nil {
		if errors.Is(ctx.Err(), context.Canceled) {
			return exited(exitInterrupted)
		}
		return stackFailure(err)
	}
	subject := string(what.Name)
	if len(what.Services) > 0 {
		subject += "/" + strings.Join(what.Services, ", ")
	}
	if what.Action == protocol.StackDown && !what.Data {
		done += dataLeft(ctx, device, what.Name)
	}
	fmt.Fprintf(c.stderr, "%s is %s\n", printable(subject), done)
	return nil
}

// dataLeft says where a stack that was taken down has left data.
func dataLeft(ctx context.Context, device *protocol.AppClient, name protocol.StackName) (text string) {
	_ = device.ListStacks(ctx, protocol.ListStacks{Name: name, All: true}, func(list []protocol.StackStatus) error {
		for i := range list {
			if list[i].State == protocol.StackGone {
				text = "; its data is kept on " + printable(list[i].HolderName)
			}
		}
		return nil
	})
	return text
}

func (c *cli) stackDownCommand() *cobra.Command {
	var data, yes bool
	cmd := &cobra.Command{
		Use:   "down STACK",
		Short: "End a stack; its data is kept",
		Long: `Stop a stack and remove its containers and networks. Its volumes are kept, and its
name stays with the node that has them: 'hearth stack up' finds them again. With
--data they are removed too, for ever; that is asked on a terminal, and needs --yes
elsewhere.`,
		Args:              oneStack,
		ValidArgsFunction: c.completeStacks(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			if data && !yes {
				if err := c.confirmData(args[0]); err != nil {
					return err
				}
			}
			done := "down"
			if data {
				done = "down, and its data is gone"
			}
			return c.controlStack(cmd.Context(), protocol.ControlStack{Name: protocol.StackName(args[0]), Action: protocol.StackDown, Data: data}, done)
		},
	}
	cmd.Flags().BoolVar(&data, "data", false, "remove its volumes, too, with all that is in them")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirmData asks before data is removed.
func (c *cli) confirmData(name string) error {
	if !isTerminal(c.stdin) || !isTerminal(c.stderr) {
		return &failure{err: errors.New("--data removes the stack's data for ever, and nobody can be asked here"), hint: "add --yes if that is meant"}
	}
	fmt.Fprintf(c.stderr, "Remove all data of %s for ever? [y/N] ", printable(name))
	answer, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil || !strings.EqualFold(strings.TrimSpace(answer), "y") && !strings.EqualFold(strings.TrimSpace(answer), "yes") {
		return errors.New("nothing was removed")
	}
	return nil
}

func (c *cli) stackHistoryCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "history STACK",
		Short: "Show the versions of a stack that are kept",
		Long: `Show the versions of a stack that its node keeps, the latest first: when each came,
which device asked for it, and why where Hearth made it by itself.

JSON: an array of objects with the keys stack, version, stopped, changed, by, by_name
and note; what files hold is left out.`,
		Args:              oneStack,
		ValidArgsFunction: c.completeStacks(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := c.stackRecords(cmd.Context(), args[0], 0)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(records)
			}
			rows := [][]string{{"VERSION", "CHANGED", "BY", "SERVICES", "NOTE"}}
			for i := range records {
				r := &records[i]
				by := r.ByName
				if by == "" {
					by = shortID(r.By)
				}
				row := []string{strconv.FormatUint(r.Version, 10), r.Changed.Local().Format("2006-01-02 15:04:05"), by, strconv.Itoa(len(r.Stack.Services))}
				rows = append(rows, withReason(row, r.Note))
			}
			return c.table(c.stdout, rows, false)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// errEnough ends a list that has told what is wanted.
var errEnough = errors.New("enough")

// stackRecords returns the latest versions, most of them; 0 is all.
func (c *cli) stackRecords(ctx context.Context, name string, most int) ([]protocol.StackRecord, error) {
	device, done, err := c.device(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	records := []protocol.StackRecord{}
	err = device.StackHistory(ctx, protocol.StackName(name), func(r protocol.StackRecord) error {
		records = append(records, r)
		if len(records) == most {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, stackFailure(err)
	}
	return records, nil
}

func (c *cli) stackInspectCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "inspect STACK",
		Short: "Show all that is kept of a stack, as JSON",
		Long: `Show the current version of a stack as its node keeps it: one JSON object with the
keys stack, version, stopped, changed, by, by_name and note. What files and secrets
hold is left out; variables are shown as they are.

  hearth stack inspect blog | jq '.stack.services[].image'`,
		Args:              oneStack,
		ValidArgsFunction: c.completeStacks(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			records, err := c.stackRecords(cmd.Context(), args[0], 1)
			if err != nil {
				return err
			}
			out := json.NewEncoder(c.stdout)
			out.SetIndent("", "  ")
			return out.Encode(records[0])
		},
	}
}
