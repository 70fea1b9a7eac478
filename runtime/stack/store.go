package stack

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/hearth-edge/hearth/protocol"
)

// stateName is the file's in the Keeper's folder.
const stateName = "stacks.json"

// kept is what outlives the process, by stack. It is written when it changes, and
// before what depends on it is done.
type kept struct {
	Stacks map[protocol.StackName]*keptStack `json:"stacks"`
}

// keptStack is what is kept of a stack.
type keptStack struct {
	// Version is the last one that was applied.
	Version uint64 `json:"version,omitempty"`
	// Volumes are those that were made: one that is missing was lost.
	Volumes []string `json:"volumes,omitempty"`
	// Subnets are the addresses of its networks, which containers have in their
	// /etc/hosts.
	Subnets map[string]netip.Prefix `json:"subnets,omitempty"`
	// Stopped are services that their owner stopped.
	Stopped []string `json:"stopped,omitempty"`
	// Completed are containers that ended for good.
	Completed []string `json:"completed,omitempty"`
	// Removing says that the stack is to be removed, Data with its volumes.
	Removing bool `json:"removing,omitempty"`
	Data     bool `json:"data,omitempty"`
}

// store keeps it in a file.
type store struct {
	dir string
	kept
}

// openStore reads the file; where there is none, nothing is kept yet. One that
// cannot be read is an error: without it a lost volume would not be noticed.
func openStore(dir string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of stacks: %w", err)
	}
	s := &store{dir: dir}
	f, err := os.Open(filepath.Join(dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		s.kept, err = decodeKept(strings.NewReader("{}"))
		return s, err
	}
	if err == nil {
		defer f.Close()
		s.kept, err = decodeKept(f)
	}
	if err != nil {
		return nil, fmt.Errorf("read what is kept of stacks in %s: %w: put the file aside to begin anew; volumes of stacks that are there are found by themselves", filepath.Join(dir, stateName), err)
	}
	return s, nil
}

func decodeKept(r io.Reader) (kept, error) {
	var k kept
	if err := json.NewDecoder(io.LimitReader(r, maxStateFile)).Decode(&k); err != nil {
		return kept{}, err
	}
	if k.Stacks == nil {
		k.Stacks = make(map[protocol.StackName]*keptStack)
	}
	for name, s := range k.Stacks {
		if s == nil {
			delete(k.Stacks, name)
		}
	}
	return k, nil
}

// of returns what is kept of a stack, for change.
func (s *store) of(name protocol.StackName) *keptStack {
	k := s.Stacks[name]
	if k == nil {
		k = &keptStack{}
		s.Stacks[name] = k
	}
	if k.Subnets == nil {
		k.Subnets = make(map[string]netip.Prefix)
	}
	return k
}

func (s *store) encode() ([]byte, error) { return json.Marshal(&s.kept) }

// write replaces the file so that either the old or the new content is there, also
// after a power cut.
func (s *store) write(text []byte) error {
	if err := s.replace(text); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return protocol.Errorf(protocol.CodeDiskFull, "the disk with hearth's state folder is full: free some room there")
		}
		return fmt.Errorf("keep the state of stacks: %w", err)
	}
	return nil
}

func (s *store) replace(text []byte) error {
	f, err := os.CreateTemp(s.dir, stateName+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, stateName))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// add adds a value to a sorted list, and reports whether it is new.
func add(list *[]string, value string) bool {
	at, found := slices.BinarySearch(*list, value)
	if !found {
		*list = slices.Insert(*list, at, value)
	}
	return !found
}

// drop takes a value out of a sorted list, and reports whether it was there.
func drop(list *[]string, value string) bool {
	at, found := slices.BinarySearch(*list, value)
	if found {
		*list = slices.Delete(*list, at, at+1)
	}
	return found
}
