package main

import (
	"errors"
	"strings"

	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// parseRunLine reads what follows 'run' on the command line of another program, which a
// door got, as 'hearth run' does. Nothing of this process gets into what is run: it
// may read files, and have variables, that whoever asks may not. There is no input.
// An error is an *protocol.Error with CodeInvalid that says what to do.
func parseRunLine(args []string) (protocol.Run, error) {
	run, err := readRunLine(args)
	if err == nil {
		return run, nil
	}
	text := err.Error()
	if f, ok := errors.AsType[*failure](err); ok {
		text = f.Error()
		if f.hint != "" {
			text += "; " + f.hint
		}
	} else if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		text = valueError("--"+bad.GetFlag().Name, err).Error()
	}
	return protocol.Run{}, protocol.Errorf(protocol.CodeInvalid, "%s", text)
}

func readRunLine(args []string) (run protocol.Run, err error) {
	var f runFlags
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.registerContainer(flags)
	if err := flags.Parse(args); err != nil {
		return run, err
	}
	if err := f.ownOnly(); err != nil {
		return run, err
	}
	if flags.NArg() == 0 {
		return run, errors.New("no image was named")
	}
	f.interactive = false // as for a program that reads nothing
	if f.id != "" {
		if run.ID, err = protocol.ParseRequestID(f.id); err != nil {
			return run, err
		}
	}
	run.Service, err = f.service(flags.Args(), nil)
	return run, err
}

// ownOnly checks that the flags take nothing from this process.
func (f *runFlags) ownOnly() error {
	if len(f.envFiles) > 0 {
		return errors.New("--env-file: files of this device are not read for others; write -e K=V")
	}
	if len(f.request.secrets) > 0 {
		return errors.New("--secret: files and variables of this device are not read for others; use 'hearth run'")
	}
	for _, e := range f.env {
		if !strings.Contains(e, "=") {
			return errors.New("--env: variables of this device are not passed on for others; write -e K=V")
		}
	}
	return nil
}
