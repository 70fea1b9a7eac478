package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/p2p/app"
	"github.com/hearth-edge/hearth/protocol"
)

// The exit codes of every verb; run also passes on the container's own.
const (
	exitOK = 0
	// exitTimeout: the request ran into --timeout, as with timeout(1).
	exitTimeout = 124
	// exitError is hearth's own failure.
	exitError = 125
	// exitNoNode: no node can run the request.
	exitNoNode = 126
	// exitInterrupted: ended by Ctrl-C, as a shell reports it.
	exitInterrupted = 130
)

// tokenHint is what to do when the device does not take the token.
const tokenHint = "the device read its token when it started; if the file was changed or removed since, start 'hearth up' anew"

// cli is what the verbs share.
type cli struct {
	stdin, stdout, stderr *os.File
	state                 string
	// drivers are those that `up --driver` knows, by name.
	drivers map[string]driverMaker
}

// failure is an error with a hint of what to do and an exit code.
type failure struct {
	err  error
	hint string
	code int
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// exited is how run passes on a container's exit code: there is nothing to say.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// root builds the command tree.
func (c *cli) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:   "hearth",
		Short: "Turn the computers of a home into one",
		Long: `Hearth turns the computers of one home or one small site into one computer.

Every device runs 'hearth up' with the same secret; devices find each other by
themselves. 'hearth run' on any of them runs a container on the device that
will finish it first, and passes on its input, output and exit code.

  hearth secret new --out secret     make a secret, once; copy it to every device
  hearth up --secret-file secret     join the mesh, on every device
  hearth nodes                       who is there
  hearth run IMAGE [ARG...]          run a container on the best of them
  hearth ps                          what runs in the mesh, and what became of it

Exit codes: 0 all is well; 124 the request ran into its --timeout; 125 hearth
itself failed; 126 no node can run the request; 130 ended by Ctrl-C, where that
is not the only way to end it; any other is that of the container.

Environment: HEARTH_STATE is --state; HEARTH_SECRET is the secret itself;
HEARTH_NAME, HEARTH_LISTEN and so on stand for the flags of 'up'.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
	})
	help := root.RunE
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if asked, _ := cmd.Flags().GetBool("version"); asked {
			return c.printVersion()
		}
		return help(cmd, args)
	}
	root.Flags().BoolP("version", "v", false, "show the version")
	root.PersistentFlags().StringVar(&c.state, "state", defaultState(), "`DIR` that the device keeps its state in [$HEARTH_STATE]")
	root.SetFlagErrorFunc(flagError)
	root.AddCommand(c.webCommand(), c.tokenCommand(), c.secretCommand(), c.upCommand(), c.nodesCommand(), c.runCommand(),
		c.psCommand(), c.attachCommand(), c.logsCommand(), c.waitCommand(), c.stopCommand(), c.killCommand(), c.rmCommand(), c.execCommand(), c.forwardCommand(), c.copyCommand(),
		c.statusCommand(), c.drainCommand(), c.downCommand(), c.forgetCommand(),
		c.inspectCommand(), c.explainCommand(), c.eventsCommand(),
		c.stackCommand(), c.doctorCommand(), c.policyCommand(), c.installCommand(), c.uninstallCommand(), c.reaperCommand(), c.versionCommand(), c.completionCommand())
	root.SetHelpCommand(c.helpCommand())
	groupVerbs(root)
	root.CompletionOptions.DisableDefaultCmd = true // completionCommand says more
	_ = root.MarkPersistentFlagDirname("state")
	return root
}

// noArgs checks that a verb got no arguments.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &failure{
		err:  fmt.Errorf("%s takes no arguments, and %q is one", cmd.CommandPath(), args[0]),
		hint: fmt.Sprintf("see '%s --help'", cmd.CommandPath()),
	}
}

// group makes cmd one that only holds others: alone it shows its help, and one
// that it has not is an error, which cobra's own groups pass over.
func group(cmd *cobra.Command) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return &failure{err: fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath()), hint: suggestVerb(cmd, args[0])}
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return cmd
}

// rootState is where a device of root's keeps its state.
const rootState = "/var/lib/hearth"

// defaultState is /var/lib/hearth for root, else in the XDG state folder.
func defaultState() string {
	if dir := os.Getenv("HEARTH_STATE"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return rootState
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "hearth")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		home = "."
	}
	return filepath.Join(home, ".local", "state", "hearth")
}

// device connects to the device that runs on this machine.
func (c *cli) device(ctx context.Context) (*protocol.AppClient, func(), error) {
	device, err := app.Connect(ctx, c.state)
	if errors.Is(err, app.ErrNotRunning) {
		return nil, nil, c.notRunning()
	}
	if err != nil {
		return nil, nil, err
	}
	return device.AppClient, func() { _ = device.Close() }, nil
}

// notRunning says that no device runs on the state folder, and what to do.
func (c *cli) notRunning() error {
	return &failure{
		err:  fmt.Errorf("no device is running with its state in %s", c.state),
		hint: notRunningHint(c.state == defaultState(), rootState, os.Geteuid()),
	}
}

// notRunningHint says what to do where no device runs on the state folder: for a
// user who named none there is the one that 'hearth install' made, which is root's.
func notRunningHint(unnamed bool, system string, user int) string {
	if owner, ok := ownerOf(system); ok && unnamed && user != 0 && user != owner {
		return fmt.Sprintf("the device of this machine runs as another user, with its state in %s: use sudo", system)
	}
	return "start it with 'hearth up', or say where it is with --state DIR or HEARTH_STATE"
}

// ownerOf returns the user that a folder belongs to; ok is false without one.
func ownerOf(dir string) (uid int, ok bool) {
	info, err := os.Stat(dir)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// exitCode reports err as a user should read it and returns the exit code.
func (c *cli) exitCode(err error) int {
	if _, silent := errors.AsType[exited](err); err == nil || silent {
		return codeOf(err)
	}
	fmt.Fprintf(c.stderr, "error: %s\n", printable(err.Error()))
	if f, ok := errors.AsType[*failure](err); ok && f.hint != "" {
		fmt.Fprintf(c.stderr, "hint: %s\n", printable(f.hint))
	}
	return codeOf(err)
}

// codeOf returns the exit code that err stands for.
func codeOf(err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := errors.AsType[exited](err); ok {
		return int(code)
	}
	if f, ok := errors.AsType[*failure](err); ok && f.code != 0 {
		return f.code
	}
	return exitError
}

// logger writes the device's log to stderr.
func (c *cli) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(c.stderr, &slog.HandlerOptions{Level: level}))
}
