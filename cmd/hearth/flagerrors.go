package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// flagError says what is wrong with a flag as users write it: what was typed,
// why that does not do, and what does.
func flagError(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("see '%s --help'", cmd.CommandPath())
	if known, ok := errors.AsType[*failure](err); ok { // a flag that says itself why not
		return known
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if unknown.GetSpecifiedShortnames() == "" {
			hint = suggestFlag(cmd, unknown.GetSpecifiedName())
		}
		return &failure{err: err, hint: hint}
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = valueError("--"+bad.GetFlag().Name, err)
	}
	return &failure{err: err, hint: hint}
}

// valueError says what is wrong with a value that a flag does not take, which is
// called name where it was typed.
func valueError(name string, err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return fmt.Errorf("%s: %s", name, badValue(bad.GetFlag().Value.Type(), bad.GetValue(), bad.Unwrap()))
	}
	return fmt.Errorf("%s: %w", name, err)
}

// badValue says why a value is none of its type, and what one looks like.
func badValue(kind, value string, err error) string {
	switch kind {
	case "duration":
		if allDigits(value) {
			return fmt.Sprintf("%q has no unit; write it like %ss or %sm", value, value, value)
		}
		return fmt.Sprintf("%q is not a length of time; write it like 30s, 10m or 1h30m", value)
	case "int", "uint32":
		return fmt.Sprintf("%q is not a number that it takes; write it like 3", value)
	case "bool":
		return fmt.Sprintf("%q is neither true nor false", value)
	}
	return fmt.Sprintf("%q: %v", value, err)
}

func allDigits(s string) bool {
	return s != "" && len(s) <= 6 && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

// exclusive has at most one of the flags be given.
func exclusive(cmd *cobra.Command, names ...string) {
	cmd.MarkFlagsMutuallyExclusive(names...) // for completion
	before := cmd.Args
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		var given []string
		for _, name := range names {
			if cmd.Flags().Changed(name) {
				given = append(given, "--"+name)
			}
		}
		if len(given) > 1 {
			return &failure{err: fmt.Errorf("%s exclude each other", strings.Join(given, " and ")), hint: fmt.Sprintf("leave out all but one of them; see '%s --help'", cmd.CommandPath())}
		}
		return before(cmd, args)
	}
}

// flagOfField are the flags of 'hearth run' for what a service names otherwise,
// and empty for what is no flag.
var flagOfField = map[string]string{
	"tag": "label", "label": "constraint", "capability": "cap-add", "shm_size": "shm-size", "terminal": "tty",
	"image": "", "args": "", "service": "", "mounts,": "",
}

// flagged puts the flag in place of the field that a service's error names.
func flagged(err error) error {
	known, ok := errors.AsType[*protocol.Error](err)
	if !ok {
		return err
	}
	what, why, ok := strings.Cut(known.Message, ": ")
	field, which, named := strings.Cut(what, " ")
	flag, other := flagOfField[field]
	switch {
	case !ok || other && flag == "":
		return err
	case !other:
		flag = field
	}
	if named {
		flag += " " + which
	}
	return protocol.Errorf(known.Code, "--%s: %s", flag, why)
}
