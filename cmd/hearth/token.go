package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/protocol"
)

func (c *cli) tokenCommand() *cobra.Command {
	cmd := group(&cobra.Command{
		Use:   "token",
		Short: "Make tokens that let programs and people in, list and revoke them",
		Long: `A token lets a program or a person in at this device: at its HTTP address, and at
the endpoint for apps. The file 'token' in the state folder holds the one that may do
all; it is the owner's. Make others for those who need less:

  read   look: devices, requests and their output, plans, findings, metrics
  run    that, and run, feed, stop and remove requests
  all    that, and manage the device and its tokens

These verbs need no running device; a running one knows at once what they change.

  hearth token new --name tv --may read
  curl -H "Authorization: Bearer TOKEN" http://127.0.0.1:7118/v1/devices`,
	})
	cmd.AddCommand(c.tokenNewCommand(), c.tokenListCommand(), c.tokenRevokeCommand())
	return cmd
}

func (c *cli) tokens() *door.Tokens { return door.NewTokens(c.state, "") }

func (c *cli) tokenNewCommand() *cobra.Command {
	var name, may, ttl string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new --name NAME --may read|run|all",
		Short: "Make a token and print it, this once",
		Long: `Make a token and print it. It is shown this once: the device keeps its hash alone.

With --json: name, may, created, expires (where it does) and token.

  hearth token new --name tv --may read
  hearth token new --name ci --may run --for 30d`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if name == "" || may == "" {
				return &failure{err: errors.New("say whose the token is, and what it may do"), hint: "hearth token new --name tv --may read"}
			}
			right, err := protocol.ParseRight(may)
			if err != nil {
				return fmt.Errorf("--may: %w", err)
			}
			lasts, err := parseDays(ttl)
			if err != nil {
				return fmt.Errorf("--for: %w", err)
			}
			made, token, err := c.tokens().New(name, right, lasts)
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(struct {
					door.Token
					Secret string `json:"token"`
				}{made, token})
			}
			_, err = fmt.Fprintln(c.stdout, token)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "`NAME` that tells the token from others")
	cmd.Flags().StringVar(&may, "may", "", "what it may do: `RIGHT` is read, run or all")
	cmd.Flags().StringVar(&ttl, "for", "", "how long it lasts, such as 12h or 30d (default until it is revoked)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.RegisterFlagCompletionFunc("may", cobra.FixedCompletions([]cobra.Completion{"read", "run", "all"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (c *cli) tokenListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "list",
		Aliases:           []string{"ls"},
		Short:             "Show the tokens made, and what they may do",
		Long:              "Show the tokens made, and what they may do. Those that have expired are gone.\n\nJSON: an array of objects with the keys name, may, created, and expires where it does.",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			list, err := c.tokens().List()
			if err != nil {
				return err
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(list)
			}
			rows := [][]string{{"NAME", "MAY", "AGE", "EXPIRES IN"}}
			for _, k := range list {
				expires := "never"
				if !k.Expires.IsZero() {
					expires = old(time.Until(k.Expires))
				}
				rows = append(rows, []string{k.Name, k.May.String(), old(time.Since(k.Created)), expires})
			}
			return c.table(c.stdout, rows, false)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (c *cli) tokenRevokeCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "revoke NAME...",
		Aliases: []string{"rm"},
		Short:   "End tokens: nobody gets in with them any more",
		Long:    "End tokens: nobody gets in with them any more. What was begun with them goes on.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{err: errors.New("no token was named"), hint: "see 'hearth token list'"}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			var names []cobra.Completion
			list, _ := c.tokens().List() // without a list there is nothing to complete
			for _, k := range list {
				names = append(names, k.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			var errs []error
			for _, name := range args {
				errs = append(errs, c.tokens().Revoke(name))
			}
			return errors.Join(errs...)
		},
	}
}

// parseDays reads a time such as 12h or 30d; "" is 0.
func parseDays(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	var days int
	if n, err := fmt.Sscanf(text, "%dd", &days); n == 1 && err == nil && fmt.Sprintf("%dd", days) == text && days > 0 && days <= 3650 {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		return 0, fmt.Errorf("%q is no time; write it like 12h or 30d", text)
	}
	return d, nil
}
