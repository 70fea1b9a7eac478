package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// maxSuggestions is how many words a hint offers at most.
const maxSuggestions = 2

// editDistance counts the letters to insert, delete, replace or swap with a
// neighbour until a is b (optimal string alignment).
func editDistance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, replace)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// suggestions returns those of the words that may be meant by what was typed,
// the likeliest first: one edit away, two where the word is long, or begun so.
func suggestions(typed string, words []string) []string {
	typed = strings.ToLower(typed)
	rank := func(word string) (int, bool) {
		if len(typed) > 1 && strings.HasPrefix(word, typed) {
			return 0, true
		}
		far := 1
		if min(len(typed), len(word)) > 5 {
			far = 2
		}
		d := editDistance(typed, word)
		return d, d <= far
	}
	var like []string
	for _, word := range words {
		if _, ok := rank(word); ok && word != typed {
			like = append(like, word)
		}
	}
	slices.SortStableFunc(like, func(a, b string) int {
		da, _ := rank(a)
		db, _ := rank(b)
		// A letter is left out more often than mistaken.
		return cmp.Or(cmp.Compare(da, db), cmp.Compare(len(b), len(a)))
	})
	return like[:min(len(like), maxSuggestions)]
}

// suggestVerb returns the hint for a verb that cmd has not.
func suggestVerb(cmd *cobra.Command, typed string) string {
	var verbs []string
	for _, verb := range cmd.Commands() {
		if !verb.Hidden {
			verbs = append(append(verbs, verb.Name()), verb.Aliases...)
		}
	}
	return suggest(suggestions(typed, verbs), cmd.CommandPath()+" ", cmd)
}

// suggestFlag returns the hint for a flag that cmd has not.
func suggestFlag(cmd *cobra.Command, typed string) string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return suggest(suggestions(typed, names), "--", cmd)
}

func suggest(words []string, prefix string, cmd *cobra.Command) string {
	see := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	if len(words) == 0 {
		return see
	}
	for i, word := range words {
		words[i] = "'" + prefix + word + "'"
	}
	return fmt.Sprintf("is %s meant? Else %s", strings.Join(words, " or "), see)
}
