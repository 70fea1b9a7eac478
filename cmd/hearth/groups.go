package main

import "github.com/spf13/cobra"

// verbGroups is the order in which `hearth --help` shows verbs.
var verbGroups = []struct {
	title string
	verbs []string
}{
	{"This device:", []string{"up", "down", "status", "drain", "web", "token", "doctor", "policy", "install", "uninstall"}},
	{"The mesh:", []string{"secret", "nodes", "forget"}},
	{"Requests:", []string{"run", "ps", "logs", "attach", "wait", "inspect", "explain", "events", "stop", "kill", "rm"}},
	{"Containers that run:", []string{"exec", "forward", "cp"}},
	{"Stacks:", []string{"stack"}},
	{"About hearth:", []string{"help", "completion", "version"}},
}

// groupVerbs puts each verb into its group, for the help.
func groupVerbs(root *cobra.Command) {
	groupOf := make(map[string]string)
	for _, g := range verbGroups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, verb := range g.verbs {
			groupOf[verb] = g.title
		}
	}
	root.SetHelpCommandGroupID(groupOf["help"])
	for _, verb := range root.Commands() {
		verb.GroupID = groupOf[verb.Name()]
	}
}
