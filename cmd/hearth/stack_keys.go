package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/compose"
)

func (c *cli) stackKeysCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "keys [WORD...]",
		Short: "Say what each key of a compose file does",
		Long: `Say for each key of a compose file whether a stack does it, whether it is harmless
(read past: what the services do and see stays the same), or refused, and then why
and what to write instead. With words, only keys and notes that have one of them.
A * in a key is any name, or any item of a list. Other keys that begin with x- are
read past, but for those that begin with x-hearth.

JSON: an array of objects with key, state (done, harmless, refused), note and
instead.

  hearth stack keys deploy
  hearth stack keys refused`,
		RunE: func(_ *cobra.Command, words []string) error {
			keys := slices.DeleteFunc(compose.Keys(), func(k compose.Key) bool { return !mentions(k, words) })
			if len(keys) == 0 {
				return &failure{err: fmt.Errorf("no key has %s in it", strings.Join(words, " or ")), hint: "'hearth stack keys' lists them all"}
			}
			if asJSON {
				return json.NewEncoder(c.stdout).Encode(keys)
			}
			rows := [][]string{{"KEY", "STATE", "NOTE"}}
			for _, k := range keys {
				note := k.Note
				if k.Instead != "" {
					note += ": " + k.Instead
				}
				rows = append(rows, []string{k.Path, string(k.State), note})
			}
			return c.table(c.stdout, rows, false)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// mentions reports whether a key has one of the words; any does without words.
func mentions(k compose.Key, words []string) bool {
	text := strings.ToLower(k.Path + " " + string(k.State) + " " + k.Note)
	return len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, strings.ToLower(w)) })
}
