package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// wants sums up what a service needs of its node.
func wants(s *protocol.Service) string {
	var w []string
	if s.CPUs > 0 {
		w = append(w, s.CPUs.String())
	}
	if s.Memory > 0 {
		w = append(w, s.Memory.String())
	}
	if s.Accelerator != "" {
		w = append(w, s.Accelerator)
	}
	if s.Timeout > 0 {
		w = append(w, "at most "+s.Timeout.String())
	}
	if s.Constraints.Node != "" {
		w = append(w, "the node "+s.Constraints.Node)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Constraints.Labels)) {
		w = append(w, k+"="+s.Constraints.Labels[k])
	}
	if s.Constraints.NotHere {
		w = append(w, "another device")
	}
	return strings.Join(w, ", ")
}

func mountsText(mounts []protocol.Mount) string {
	var texts []string
	for _, m := range mounts {
		text := m.Source + " at " + m.Target
		if m.Writable {
			text += ", writable"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func retryText(n uint32) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 attempt more, if one is lost"
	}
	return fmt.Sprintf("%d attempts more, if one is lost", n)
}

func entrypointText(s *protocol.Service) string {
	if s.NoEntrypoint {
		return `none: ""`
	}
	return s.Entrypoint
}

// memoryText lists the file systems in memory.
func memoryText(s *protocol.Service) string {
	var list []string
	for _, t := range s.Tmpfs {
		text := t.Target
		if t.Size > 0 {
			text += " of " + t.Size.String()
		}
		if t.Mode > 0 {
			text += fmt.Sprintf(", mode %o", t.Mode)
		}
		if t.Exec {
			text += ", exec"
		}
		list = append(list, text)
	}
	if s.ShmSize > 0 {
		list = append(list, "/dev/shm of "+s.ShmSize.String())
	}
	return strings.Join(list, "; ")
}

func autoRemoveText(s *protocol.Service) string {
	if s.AutoRemove {
		return "once it has ended"
	}
	return ""
}

func rootText(s *protocol.Service) string {
	if s.ReadOnlyRoot {
		return "read-only"
	}
	return ""
}

func terminalText(s *protocol.Service) string {
	if s.TTYRows == 0 && s.TTYColumns == 0 {
		return yes(s.TTY)
	}
	return fmt.Sprintf("yes, at the start of %d rows and %d columns", s.TTYRows, s.TTYColumns)
}
