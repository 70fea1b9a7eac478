package main

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// pages are the help topics: a Markdown file each, named for its topic. Its
// first line is the title.
//
//go:embed help/*.md
var pages embed.FS

// helpCommand shows the help on a verb, or a topic's page.
func (c *cli) helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB|TOPIC]",
		Short: "Show the help on a verb, or a page on a topic",
		Long: `Show the help on a verb, or a page on a topic, as Markdown.

Topics:
` + topicList(),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return completeHelp(cmd.Root(), args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if text, err := pages.ReadFile(path.Join("help", args[0]+".md")); err == nil {
					_, err = c.stdout.Write(text)
					return err
				}
			}
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 && about.HasSubCommands() {
				return &failure{
					err:  fmt.Errorf("%q is neither a verb nor a topic", strings.Join(args, " ")),
					hint: "verbs: 'hearth --help'; topics: " + strings.Join(topics(), ", "),
				}
			}
			about.InitDefaultHelpFlag()
			if err := about.Help(); err != nil || len(args) > 0 {
				return err
			}
			_, err = fmt.Fprintf(c.stdout, "\nTopics, shown by 'hearth help TOPIC':\n%s\n", topicList())
			return err
		},
	}
}

// topics returns the names of all pages, sorted.
func topics() []string {
	files, err := pages.ReadDir("help")
	if err != nil {
		panic(err) // it is embedded
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(f.Name(), ".md")
	}
	slices.Sort(names)
	return names
}

// topicTitle returns what the first line of a page says after the topic.
func topicTitle(topic string) string {
	text, err := pages.ReadFile(path.Join("help", topic+".md"))
	if err != nil {
		panic(err) // it is embedded
	}
	title, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(title, "# "+topic+": ")
}

func topicList() string {
	var b strings.Builder
	for _, t := range topics() {
		fmt.Fprintf(&b, "  %-10s %s\n", t, topicTitle(t))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// completeHelp completes what can follow `hearth help`.
func completeHelp(root *cobra.Command, args []string) []cobra.Completion {
	at, rest, err := root.Find(args)
	if err != nil || len(rest) > 0 {
		return nil
	}
	var found []cobra.Completion
	for _, sub := range at.Commands() {
		if sub.IsAvailableCommand() {
			found = append(found, cobra.CompletionWithDesc(sub.Name(), sub.Short))
		}
	}
	if at == root {
		for _, t := range topics() {
			found = append(found, cobra.CompletionWithDesc(t, topicTitle(t)))
		}
	}
	return found
}
