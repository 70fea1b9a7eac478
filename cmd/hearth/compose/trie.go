package compose

import (
	"slices"
	"strings"
	"sync"
)

// keyNode is a place in a compose file, with the keys that may stand below it.
type keyNode struct {
	key  Key
	next map[string]*keyNode
}

// keyTree returns the table as a tree from the top of a file.
var keyTree = sync.OnceValue(func() *keyNode {
	root := &keyNode{key: Key{State: Done}, next: make(map[string]*keyNode)}
	for _, k := range Keys() {
		at := root
		for part := range strings.SplitSeq(k.Path, ".") {
			if at.next == nil {
				at.next = make(map[string]*keyNode)
			}
			if at.next[part] == nil {
				at.next[part] = &keyNode{key: Key{Path: strings.TrimPrefix(at.key.Path+"."+part, "."), State: Done}}
			}
			at = at.next[part]
		}
		at.key = k
	}
	return root
})

// child returns the place of a name below n, and nil where the table has none.
func (n *keyNode) child(name string) *keyNode {
	if c := n.next[name]; c != nil {
		return c
	}
	return n.next["*"]
}

// free reports whether anything may stand below n.
func (n *keyNode) free() bool { return len(n.next) == 0 || n.key.State != Done }

// extension reports whether a key that the table lacks may be read past: those
// that begin with x-, but for misspelt ones of ours.
func extension(name string) bool {
	return strings.HasPrefix(name, "x-") && !strings.HasPrefix(name, "x-hearth")
}

// nearest returns the key below n that name was likely meant to be, or "".
func (n *keyNode) nearest(name string) string {
	best, at := 3, ""
	names := make([]string, 0, len(n.next))
	for k := range n.next {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		if d := distance(strings.ToLower(name), k); d < best && d < len(k) {
			best, at = d, k
		}
	}
	return at
}

// distance is Levenshtein's, for names of bounded length.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
