package main

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

const execHelp = `Run one more command in a container that runs: in that of a request, named as for
'hearth attach', or in that of a stack's service, named STACK/SERVICE. Its output
comes to stdout and its errors to stderr, whole and on every device of the mesh,
and its exit code is that of this command.

With -it the command gets this terminal: each key, Ctrl-C included, goes to it.
Without, Ctrl-C sends it SIGINT, and a second Ctrl-C kills it. It is ended, too,
when this command is cut off or killed: it gets SIGHUP if it has a terminal, else
SIGTERM, and after 5 s SIGKILL. With --detach it goes on by itself, and its output
is dropped.

The command has the capabilities and limits of its container and no more. The node's
owner may keep others from it, by the key exec of the policy.

Exit codes: the command's own; 127 if the container has no such command, 126 if it
cannot be run; 125 if hearth itself failed, as where nothing runs by that name.

  hearth exec -it k3v sh
  hearth exec media/db pg_dump -U app app > app.sql
  cat app.sql | hearth exec -i media/db psql -U app app
  hearth exec -u 0 -w /etc -e LANG=C web ls -l`

// execFlags are those of exec.
type execFlags struct {
	interactive, tty, detach bool
	user, workDir            string
	env, envFiles            []string
}

func (c *cli) execCommand() *cobra.Command {
	var f execFlags
	cmd := &cobra.Command{
		Use:               "exec [flags] REQUEST|STACK/SERVICE COMMAND [ARG...]",
		Short:             "Run a command in a container that runs",
		Long:              execHelp,
		Args:              execArgs,
		ValidArgsFunction: c.completeRequests(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.exec(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows the container is the command's
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "pass this command's input to the command")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the command a terminal; with -i it is this one")
	flags.BoolVarP(&f.detach, "detach", "d", false, "let the command go on by itself")
	flags.StringVarP(&f.user, "user", "u", "", "run as this `USER[:GROUP]` instead of the container's")
	flags.StringVarP(&f.workDir, "workdir", "w", "", "run in this `DIR` instead of the container's")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set `NAME=VALUE`, or NAME to its value here; may be repeated")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "set the variables of this `FILE`, a line each")
	return cmd
}

// execArgs checks that a container and a command are named.
func execArgs(cmd *cobra.Command, args []string) error {
	usage := "usage: " + cmd.UseLine()
	switch len(args) {
	case 0:
		return &failure{err: errors.New("no container was named"), hint: usage + "; 'hearth ps' shows IDs"}
	case 1:
		return &failure{err: errors.New("no command was named"), hint: usage}
	}
	_, err := protocol.ParseTarget(args[0])
	return err
}

// exec runs a command and passes on its streams and its exit code.
func (c *cli) exec(ctx context.Context, f execFlags, args []string) error {
	if f.interactive && f.tty && !isTerminal(c.stdin) {
		return &failure{err: errors.New("the input is not a terminal"), hint: "leave out --tty: -i alone passes any input on"}
	}
	target, err := protocol.ParseTarget(args[0])
	if err != nil {
		return err
	}
	e := protocol.Exec{
		Target: target, Args: args[1:], WorkDir: f.workDir, User: f.user,
		Stdin: f.interactive, TTY: f.tty, Detach: f.detach,
	}
	if e.Env, err = (&runFlags{env: f.env, envFiles: f.envFiles}).environment(); err != nil {
		return err
	}
	if e.TTY {
		e.TTYRows, e.TTYColumns = c.terminalSize()
	}
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	session, err := device.Exec(ctx, e)
	if err != nil {
		return containerFailure(err)
	}
	if f.detach {
		_, err := session.Next()
		_ = session.Close()
		return err
	}
	view := newRunView(c, false, false)
	view.inside = true
	follow := follower{
		cli: c, session: session, view: view, interactive: f.interactive, tty: f.tty, toTheEnd: true, inside: true,
	}
	return follow.follow()
}

// containerFailure adds what to do about a container that could not be reached, and
// the exit code of a command that could not be run.
func containerFailure(err error) error {
	switch protocol.CodeOf(err) {
	case protocol.CodePolicy:
		if key := policyKey.FindStringSubmatch(err.Error()); key != nil {
			return &failure{err: err, hint: "the owner allows it in policy.toml in the state folder there, and starts 'hearth up' again; 'hearth policy example' explains " + key[1]}
		}
	case protocol.CodeNotFound:
		if strings.Contains(err.Error(), "'hearth ") { // it says itself what to do
			return err
		}
	case protocol.CodeStartFailed:
		return &failure{err: err, code: exitNoNode}
	}
	return requestFailure(err)
}
