package main

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hearth-edge/hearth/protocol"
)

// volumeHint is what to do instead of a volume.
const volumeHint = "name a path of the node, as in -v /srv/photos:/in, where its owner lends that; --tmpfs PATH is a folder for as long as it runs"

// addMount reads --mount: SOURCE[:TARGET][:rw], or docker's KEY=VALUE,….
func addMount(s *protocol.Service, text string) error {
	if strings.HasPrefix(text, "/") || !strings.Contains(text, "=") {
		m, err := parseMount(text)
		if err != nil {
			return err
		}
		s.Mounts = append(s.Mounts, m)
		return nil
	}
	m, t, err := parseDockerMount(text)
	switch {
	case err != nil:
		return err
	case t != nil:
		s.Tmpfs = append(s.Tmpfs, *t)
	default:
		s.Mounts = append(s.Mounts, *m)
	}
	return nil
}

// parseMount reads SOURCE[:TARGET][:rw], in which the target is the source
// where it is left out.
func parseMount(text string) (protocol.Mount, error) {
	paths, writable := strings.CutSuffix(text, ":rw")
	if !writable {
		paths = strings.TrimSuffix(text, ":ro")
	}
	source, target, _ := strings.Cut(paths, ":")
	m := protocol.Mount{Source: path.Clean(source), Target: path.Clean(cmp.Or(target, source)), Writable: writable}
	if !path.IsAbs(m.Source) || !path.IsAbs(m.Target) || strings.Contains(target, ":") {
		return m, &failure{err: fmt.Errorf("--mount %q: not of the form SOURCE[:TARGET][:rw]", text), hint: "both are absolute paths, as in /srv/photos:/in"}
	}
	return m, nil
}

// parseVolume reads --volume as docker does: SOURCE:TARGET[:OPTION,…], which is
// writable unless it says ro.
func parseVolume(text string) (protocol.Mount, error) {
	bad := func(hint, format string, args ...any) (protocol.Mount, error) {
		return protocol.Mount{}, &failure{err: fmt.Errorf("--volume %q: %s", text, fmt.Sprintf(format, args...)), hint: hint}
	}
	parts := strings.Split(text, ":")
	switch {
	case len(parts) > 3 || slices.Contains(parts, ""):
		return bad("write it like /srv/photos:/in or /srv/photos:/in:ro", "not of the form SOURCE:TARGET[:ro]")
	case len(parts) == 1:
		return bad(volumeHint, "hearth keeps no volumes")
	case strings.HasPrefix(parts[0], ".") || strings.HasPrefix(parts[0], "~"):
		return bad("write the path on the node in full, as in -v /srv/photos:/in", "a relative path is one of this device, and the container may run on another")
	case !path.IsAbs(parts[0]):
		return bad(volumeHint, "hearth keeps no volumes, and %s is no absolute path", parts[0])
	case !path.IsAbs(parts[1]):
		return bad("write it like /srv/photos:/in", "%s is no absolute path in the container", parts[1])
	}
	m := protocol.Mount{Source: path.Clean(parts[0]), Target: path.Clean(parts[1]), Writable: true}
	if len(parts) < 3 {
		return m, nil
	}
	for option := range strings.SplitSeq(parts[2], ",") {
		switch option {
		case "ro":
			m.Writable = false
		case "rw", "rprivate", "private", "consistent", "cached", "delegated", "nocopy": // what it is anyway
		case "z", "Z":
			return bad("label the folder on the node, with chcon", "hearth does not change the labels of a node's files (%s)", option)
		default:
			return bad("write it like /srv/photos:/in:ro", "the option %q is none that hearth knows", option)
		}
	}
	return m, nil
}

// parseDockerMount reads docker's type=bind,source=…,target=…[,readonly].
func parseDockerMount(text string) (*protocol.Mount, *protocol.Tmpfs, error) {
	bad := func(hint, format string, args ...any) (*protocol.Mount, *protocol.Tmpfs, error) {
		return nil, nil, &failure{err: fmt.Errorf("--mount %q: %s", text, fmt.Sprintf(format, args...)), hint: hint}
	}
	kind, m, t := "volume", protocol.Mount{Writable: true}, protocol.Tmpfs{}
	for field := range strings.SplitSeq(text, ",") {
		key, value, valued := strings.Cut(field, "=")
		var err error
		switch strings.ToLower(key) {
		case "type":
			kind = strings.ToLower(value)
		case "source", "src":
			m.Source = path.Clean(value)
		case "target", "dst", "destination":
			m.Target = path.Clean(value)
		case "readonly", "ro":
			ro := true
			if valued {
				if ro, err = strconv.ParseBool(value); err != nil {
					err = fmt.Errorf("%q is neither true nor false", value)
				}
			}
			m.Writable = !ro
		case "tmpfs-size":
			t.Size, err = parseSize(value)
		case "tmpfs-mode":
			t.Mode, err = parseMode(value)
		case "bind-propagation":
			if value != "rprivate" && value != "private" {
				err = errors.New("what is mounted later on the node is never seen in a container")
			}
		case "consistency":
		default:
			err = errors.New("hearth has nothing like it")
		}
		if err != nil {
			return bad("write it like type=bind,source=/srv/photos,target=/in,readonly", "%s: %v", key, err)
		}
	}
	switch {
	case kind == "tmpfs" && path.IsAbs(m.Target) && m.Source == "":
		t.Target = m.Target
		return nil, &t, nil
	case kind == "bind" && path.IsAbs(m.Source) && path.IsAbs(m.Target):
		return &m, nil, nil
	case kind == "bind" || kind == "tmpfs":
		return bad("write it like type=bind,source=/srv/photos,target=/in,readonly, or type=tmpfs,target=/tmp", "a path is missing, or is not absolute")
	}
	return bad(volumeHint, "hearth keeps no volumes: type=%s is not to be had", kind)
}

// parseTmpfs reads docker's PATH[:OPTION,…].
func parseTmpfs(texts []string) ([]protocol.Tmpfs, error) {
	var list []protocol.Tmpfs
	for _, text := range texts {
		target, options, _ := strings.Cut(text, ":")
		t := protocol.Tmpfs{Target: path.Clean(target)}
		if !path.IsAbs(target) {
			return nil, &failure{err: fmt.Errorf("--tmpfs %q: %q is no absolute path in the container", text, target), hint: "write it like /tmp or /tmp:size=64m,mode=1777"}
		}
		if t.Target == "/dev/shm" {
			return nil, &failure{err: fmt.Errorf("--tmpfs %q: every container has this one", text), hint: "its size is --shm-size"}
		}
		for option := range strings.SplitSeq(options, ",") {
			if err := tmpfsOption(&t, option); err != nil {
				return nil, &failure{err: fmt.Errorf("--tmpfs %q: %w", text, err), hint: "write it like /tmp:size=64m,mode=1777,exec"}
			}
		}
		list = append(list, t)
	}
	return list, nil
}

func tmpfsOption(t *protocol.Tmpfs, option string) (err error) {
	key, value, _ := strings.Cut(option, "=")
	switch key {
	case "size":
		if t.Size, err = parseSize(value); err == nil && t.Size == 0 {
			err = errors.New("the size is missing")
		}
	case "mode":
		t.Mode, err = parseMode(value)
	case "exec":
		t.Exec = true
	case "noexec":
		t.Exec = false
	case "", "rw", "nosuid", "nodev": // what it is anyway
	case "suid", "dev":
		err = fmt.Errorf("%s is never given", key)
	default:
		err = fmt.Errorf("the option %q is none that hearth knows", option)
	}
	return err
}

// parseMode reads permission bits in octal.
func parseMode(text string) (uint32, error) {
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o7777 {
		return 0, fmt.Errorf("the mode %q is none: write it like 1777", text)
	}
	return uint32(mode), nil
}
