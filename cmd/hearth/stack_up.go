package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/cmd/hearth/compose"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/protocol/api"
)

// stackUpFlags are the flags of `hearth stack up`.
type stackUpFlags struct {
	files, profiles, envFiles         []string
	dir, node                         string
	plan, wait, detach, asJSON, fresh bool
	timeout                           time.Duration
	single                            compose.Service
}

const stackUpLong = `Have a stack be as a compose file says: compose.yaml or docker-compose.yml of this
folder, or those named with -f, later ones over earlier ones. NAME is that of the
stack; else it is the file's own name, or the folder's. With --image there is no
file: the flags describe one service, and what follows NAME, or --, is its command.

The plan comes first: which node and why, what becomes of each service, which
nodes refuse and which line of their policy would allow it. A new stack goes to the
best node that takes it; one that is there stays with its node, where its data is.
Only what changed is touched. With --plan that is all; it asks no registry.

On a terminal, or with --wait, the command ends when all of it is up; -d returns
once the node has it on disk. What is not up within --timeout goes back to the
version before, on its own: Ctrl-C leaves, and stops nothing.

A stack whose node is away is refused: the node may come back with its data. --new
has it begun anew elsewhere all the same.

'hearth stack keys' says what each key of a compose file does.

Exit codes: 0 it is up, or accepted with -d, or there was nothing to change; 1 it was
not up in time; 126 no node can run it; 125 otherwise; 130 left by Ctrl-C.

JSON: with --plan one object with the keys name, version, current, holder,
holder_name, why, services (service, action, why), refused (node, node_name, reasons
with service, code, reason and policy_line) and warnings; else a line for each step,
with one of plan, accepted (the version) and status (as 'hearth stack ps --json').

  hearth stack up
  hearth stack up -f compose.yaml -f compose.nas.yaml --plan
  hearth stack up web --image nginx:1.27 -p 8080:80 -v site:/usr/share/nginx/html`

func (c *cli) stackUpCommand() *cobra.Command {
	var f stackUpFlags
	cmd := &cobra.Command{
		Use:   "up [NAME [COMMAND...]]",
		Short: "Start a stack, or change it to what a compose file says",
		Long:  stackUpLong,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.stackUp(cmd, &f, args)
		},
		ValidArgsFunction: c.completeStacks(false),
	}
	f.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("node", c.completeNodes)
	return cmd
}

// singleOnly are the flags that describe one service, and mean nothing for a file;
// fileOnly the other way round.
var (
	singleOnly = []string{"publish", "volume", "env", "user", "network", "restart", "device", "cap-add", "label", "memory", "cpus"}
	fileOnly   = []string{"file", "profile", "env-file", "project-directory"}
)

func (f *stackUpFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&f.files, "file", "f", nil, "compose `FILE`, - is the standard input; may be repeated")
	flags.StringArrayVar(&f.profiles, "profile", nil, "take the services of profile `NAME` in; may be repeated")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "`FILE` with variables for the compose file; may be repeated")
	flags.StringVar(&f.dir, "project-directory", "", "`DIR` that relative paths start from")
	flags.BoolVar(&f.plan, "plan", false, "show what would be done, and do nothing")
	flags.BoolVar(&f.wait, "wait", false, "wait until all of it is up (on a terminal that is so anyway)")
	flags.BoolVarP(&f.detach, "detach", "d", false, "return once it is accepted")
	flags.DurationVar(&f.timeout, "timeout", protocol.DefaultUpTimeout, "how long it may take to be up, `D` such as 5m; then the version before comes back")
	flags.StringVar(&f.node, "node", "", "only the node `NAME` may run it")
	flags.BoolVar(&f.fresh, "new", false, "begin it anew where the node that holds it is away")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON")
	s := &f.single
	flags.StringVar(&s.Image, "image", "", "`IMAGE` of a stack of one service")
	flags.StringArrayVarP(&s.Ports, "publish", "p", nil, "publish `[ADDRESS:][PORT:]PORT[/udp]`; may be repeated")
	flags.StringArrayVarP(&s.Volumes, "volume", "v", nil, "mount `NAME:PATH[:ro]`, or a path of the node; may be repeated")
	flags.StringArrayVarP(&s.Env, "env", "e", nil, "set the variable `NAME[=VALUE]`; may be repeated")
	flags.StringVarP(&s.User, "user", "u", "", "run as `UID[:GID]`")
	flags.StringVar(&s.Network, "network", "", "`none` or host instead of the stack's own")
	flags.StringVar(&s.Restart, "restart", "always", "when it is started again: `always`, on-failure, unless-stopped or no")
	flags.StringArrayVar(&s.Devices, "device", nil, "device file `PATH` of the node; may be repeated")
	flags.StringArrayVar(&s.CapAdd, "cap-add", nil, "capability `NAME`; may be repeated")
	flags.StringArrayVar(&s.Labels, "label", nil, "label `K=V` of the container; may be repeated")
	flags.StringVarP(&s.Memory, "memory", "m", "", "limit memory to `SIZE`, such as 512m")
	flags.Float32Var(&s.CPUs, "cpus", 0, "limit it to `N` cores")
	cmd.MarkFlagsMutuallyExclusive("plan", "wait", "detach")
	_ = cmd.MarkFlagFilename("file", "yaml", "yml")
	_ = cmd.MarkFlagDirname("project-directory")
}

// read makes the stack that the flags or the files describe.
func (f *stackUpFlags) read(cmd *cobra.Command, args []string) (protocol.Stack, []compose.Warning, error) {
	single := cmd.Flags().Changed("image")
	for _, name := range map[bool][]string{true: fileOnly, false: singleOnly}[single] {
		if !cmd.Flags().Changed(name) {
			continue
		}
		if single {
			return protocol.Stack{}, nil, fmt.Errorf("--%s is of a compose file, and --image needs none: use one of the two", name)
		}
		return protocol.Stack{}, nil, fmt.Errorf("--%s describes a stack of one service: name its image with --image, or write it into the compose file", name)
	}
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if single {
		if name == "" {
			return protocol.Stack{}, nil, &failure{err: errors.New("--image: the stack has no name"), hint: "write it like: hearth stack up web --image nginx"}
		}
		f.single.Name, f.single.Environ = name, os.Environ()
		if len(args) > 1 {
			f.single.Command = args[1:]
		}
		return compose.Single(f.single)
	}
	if len(args) > 1 {
		return protocol.Stack{}, nil, &failure{err: fmt.Errorf("%q is one name too many", args[1]), hint: "a command follows NAME with --image only"}
	}
	return compose.Load(cmd.Context(), compose.Options{
		Files: f.files, ProjectName: name, Profiles: f.profiles, EnvFiles: f.envFiles, Dir: f.dir, Env: os.Environ(), Plan: f.plan,
	})
}

func (c *cli) stackUp(cmd *cobra.Command, f *stackUpFlags, args []string) error {
	if f.timeout <= 0 || f.timeout > protocol.MaxUpTimeout {
		return fmt.Errorf("--timeout: %v is out of bounds: 1s to %v", f.timeout, protocol.MaxUpTimeout)
	}
	stack, warnings, err := f.read(cmd, args)
	if err != nil {
		return composeFailure(err)
	}
	if f.node != "" {
		stack.Constraints.Node = f.node
	}
	stack.Normalize()
	if err := stack.Validate(); err != nil {
		return err
	}
	device, done, err := c.device(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	u := protocol.UpStack{Record: protocol.StackRecord{Stack: stack}, New: f.fresh, Timeout: f.timeout}
	view := newStackView(c, f.asJSON)
	view.warnings = composeWarnings(warnings)
	view.stack = &stack
	if f.plan {
		return c.stackPlan(cmd.Context(), device, u, view)
	}
	u.Detach = f.detach || !f.wait && !isTerminal(c.stdout)
	return c.stackChange(cmd.Context(), view, u.Detach, func(ctx context.Context) error {
		return device.UpStack(ctx, u, view.show)
	})
}

// composeFailure tells of a file that becomes no stack.
func composeFailure(err error) error {
	if _, ok := errors.AsType[compose.Refusals](err); ok {
		return &failure{err: err, hint: "'hearth stack keys WORD' says what a key does; nothing was started"}
	}
	return err
}

func composeWarnings(list []compose.Warning) []string {
	var texts []string
	for _, w := range list {
		texts = append(texts, w.String())
	}
	return texts
}

func (c *cli) stackPlan(ctx context.Context, device *protocol.AppClient, u protocol.UpStack, view *stackView) error {
	plan, err := device.PlanStack(ctx, u)
	if err != nil {
		return stackFailure(err)
	}
	plan.Warnings = append(view.warnings, plan.Warnings...)
	if view.asJSON {
		if err := json.NewEncoder(c.stdout).Encode(api.NewStackPlan(&plan)); err != nil {
			return err
		}
	} else {
		view.plan(&plan)
	}
	if plan.Holder == "" {
		return exited(exitNoNode)
	}
	return nil
}

// stackChange follows a change of a stack to its end.
func (c *cli) stackChange(ctx context.Context, view *stackView, detached bool, change func(context.Context) error) error {
	err := change(ctx)
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		if view.accepted > 0 {
			fmt.Fprintf(c.stderr, "hearth: left; the change goes on: 'hearth stack ps %s' shows it\n", view.name)
		}
		return exited(exitInterrupted)
	case err != nil:
		if protocol.CodeOf(err) == protocol.CodeNoNode && view.planned {
			return exited(exitNoNode) // the plan has said why
		}
		return stackFailure(err)
	}
	view.end(detached)
	return nil
}

func (c *cli) stackRollbackCommand() *cobra.Command {
	var f stackUpFlags
	cmd := &cobra.Command{
		Use:   "rollback STACK [VERSION]",
		Short: "Bring an earlier version of a stack back",
		Long: `Bring an earlier version of a stack back: the one before, or the one named, which
'hearth stack history' lists. It becomes the next version, and is waited for as with
'hearth stack up'. Volumes are not part of a version: their data stays as it is.

  hearth stack rollback blog
  hearth stack rollback blog 7`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 2 {
				return oneStack(cmd, args)
			}
			return oneStack(cmd, args[:min(len(args), 1)])
		},
		ValidArgsFunction: c.completeStacks(false),
		RunE: func(cmd *cobra.Command, args []string) error {
			r := protocol.RollbackStack{Name: protocol.StackName(args[0]), Timeout: f.timeout, Detach: f.detach || !f.wait && !isTerminal(c.stdout)}
			if len(args) == 2 {
				if _, err := fmt.Sscanf(args[1], "%d", &r.Version); err != nil || r.Version == 0 || strings.Trim(args[1], "0123456789") != "" {
					return fmt.Errorf("%q is no version; 'hearth stack history %s' lists them", args[1], args[0])
				}
			}
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			view := newStackView(c, f.asJSON)
			return c.stackChange(cmd.Context(), view, r.Detach, func(ctx context.Context) error {
				return device.RollbackStack(ctx, r, view.show)
			})
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.wait, "wait", false, "wait until all of it is up (on a terminal that is so anyway)")
	flags.BoolVarP(&f.detach, "detach", "d", false, "return once it is accepted")
	flags.DurationVar(&f.timeout, "timeout", protocol.DefaultUpTimeout, "how long it may take to be up, `D` such as 5m")
	flags.BoolVar(&f.asJSON, "json", false, "print JSON, as 'hearth stack up' does")
	cmd.MarkFlagsMutuallyExclusive("wait", "detach")
	return cmd
}
