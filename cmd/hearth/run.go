package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// runFlags are the flags of `hearth run` as they were typed.
type runFlags struct {
	interactive, notHere, quiet, explain bool
	detach, tty, keep, dryRun, asJSON    bool
	env, constraints, mounts             []string
	devices, capabilities                []string
	envFile, memory, entrypoint, workDir string
	user, node, id, network, accelerator string
	cpus                                 string
	timeout                              time.Duration
	retry                                uint32
}

const runHelp = `Run a container on the node of the mesh that will finish it first. Its output
comes to stdout and its errors to stderr as if it ran here, and its exit code is
that of this command. One line on stderr names the node.

Ctrl-C stops the container (SIGTERM, then SIGKILL after 10 s); a second Ctrl-C
kills it. SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 are passed on to it. The image is
looked up on the node first, else pulled there.

The request belongs to this command: when that is cut off or killed, the
container is stopped. With --keep it goes on, and 'hearth attach' comes back to
it. With --detach this command prints the request's ID as soon as the request is
accepted, which means on disk, and ends; see 'hearth ps'.

With --tty the container gets a terminal: its output and errors then come as one
stream, to stdout. With -it this command's terminal is handed to it: each key,
Ctrl-C included, goes to the container.

A request has an ID, generated unless --id gives one. Running an ID again does
not run anything again: it attaches to the first, or to what it came to.

A container is started at most once: if its node is lost, the end is unknown until
the node is back. With --retry N it is started again, up to N times, when its node
was lost, was cut off for some 8 s, or failed at running it. The earlier container
is stopped by then: there are never two at a time. What it does should bear being
done again. A container's own exit code is passed on as it is, whatever it is.

With --dry-run nothing is run: a table on stdout shows how every device is rated
for it, as 'hearth explain' does afterwards, and with --json the same in JSON; see
there for what they mean. What the owners' policies allow is known to their nodes
only, which may refuse yet. The exit code is 0 if a node can run it, else 126.

Exit codes: the container's own; 124 if it ran into --timeout; 125 if hearth
itself failed; 126 if no node can run it, with the reason for each node; 130 if
it was ended by Ctrl-C.

  hearth run busybox echo hello
  cat photo.jpg | hearth run -i detector > boxes.json
  hearth run -it busybox sh
  id=$(hearth run -d --memory 1g trainer) && hearth wait $id
  hearth run --id nightly-2031-05-04 --keep backup
  hearth run --constraint arch=arm64 --memory 512m worker
  hearth run --mount /srv/photos:/in --network none --node nas indexer /in
  hearth run --retry 3 --detach encoder film.mkv
  hearth run --dry-run --accelerator gpu --cpus 4 trainer
  hearth run --not-here --cpus 2 --timeout 10m transcoder /in /out`

func (c *cli) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [ARG...]",
		Short: "Run a container on the best node",
		Long:  runHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{err: errors.New("no image was named"), hint: "usage: hearth run [flags] IMAGE [ARG...]"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd.Context(), f, args)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows IMAGE is the container's
	f.describe(flags)
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "pass this command's input to the container")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the container a terminal; with -i it is this one")
	flags.BoolVarP(&f.detach, "detach", "d", false, "print the request's ID once it is accepted, and let it go on")
	flags.Uint32Var(&f.retry, "retry", 0, "run it again up to `N` times if it was lost with its node")
	flags.BoolVar(&f.keep, "keep", false, "let the request go on if this command is cut off from it or killed")
	flags.StringVar(&f.node, "node", "", "run on the node with this `NAME` or peer ID and no other")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "run only where the label `K=V` is; arch, os, driver and name count as labels")
	flags.BoolVar(&f.notHere, "not-here", false, "run on any other device than this one")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but the container's output and errors")
	flags.BoolVar(&f.explain, "explain", false, "show on stderr how every node was rated")
	flags.BoolVar(&f.dryRun, "dry-run", false, "run nothing; show how every node is rated, or why it is left out")
	flags.BoolVar(&f.asJSON, "json", false, "with --dry-run, print JSON")
	flags.StringVar(&f.id, "id", "", "the request's `ID`; running an ID again attaches to the first")
	_ = cmd.RegisterFlagCompletionFunc("node", c.completeNodes)
	_ = cmd.RegisterFlagCompletionFunc("accelerator", cobra.FixedCompletions([]cobra.Completion{"gpu", "npu"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// describe adds the flags that say what a container is to have; the policy of a
// node's owner has a say in them.
func (f *runFlags) describe(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set a variable for the container, `K=V`, or K to pass on this one's")
	flags.StringVar(&f.envFile, "env-file", "", "read variables from `FILE`, one K=V a line, # for comments")
	flags.StringVar(&f.cpus, "cpus", "", "cores that it needs; `N` may be a fraction")
	flags.StringVar(&f.memory, "memory", "", "memory that it needs and may use at most: `SIZE` such as 512m or 2g")
	flags.StringVar(&f.accelerator, "accelerator", "", "accelerator that it needs, of a `KIND` such as gpu or npu, where the owner lends one")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "run `PROGRAM` instead of the image's entrypoint")
	flags.StringVar(&f.workDir, "workdir", "", "working folder `DIR` in the container")
	flags.StringVar(&f.user, "user", "", "run as `USER`: name or uid[:gid]")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop it after it has run for `D`, such as 90s or 2h")
	flags.StringVar(&f.network, "network", "", "network `NAME` to be on: none, bridge, or another that the node's owner allows")
	flags.StringArrayVar(&f.mounts, "mount", nil, "let it see a file or folder of the node, `SOURCE[:TARGET][:rw]`, read-only without rw, where the owner allows that")
	flags.StringArrayVar(&f.devices, "device", nil, "let it use a device of the node, `PATH` such as /dev/ttyUSB0, where the owner allows that")
	flags.StringArrayVar(&f.capabilities, "cap-add", nil, "give it a Linux capability, `NAME` such as NET_ADMIN, where the owner allows that")
}

// run asks for the request and follows it to its end, or with --detach to its
// acceptance.
func (c *cli) run(ctx context.Context, f runFlags, args []string) error {
	service, err := f.service(args)
	if err != nil {
		return err
	}
	switch {
	case f.dryRun:
		return c.dryRun(ctx, service, f.asJSON)
	case f.asJSON:
		return &failure{err: errors.New("--json is for --dry-run only"), hint: "for a request's end in JSON: 'hearth inspect --json ID'"}
	}
	if f.interactive && f.tty && !isTerminal(c.stdin) {
		return &failure{err: errors.New("the input is not a terminal"), hint: "leave out --tty: -i alone passes any input on"}
	}
	// With an ID from here the request can be named even if no answer arrives.
	id := protocol.NewRequestID()
	if f.id != "" {
		if id, err = protocol.ParseRequestID(f.id); err != nil {
			return err
		}
	}
	device, done, err := c.device(ctx)
	if err != nil {
		return err
	}
	defer done()
	session, err := device.Run(ctx, protocol.Run{ID: id, Service: service, Detach: f.detach || f.keep})
	if err != nil {
		return runFailure(err, id)
	}
	if f.detach {
		_ = session.Close()
		_, err := fmt.Fprintln(c.stdout, id)
		return err
	}
	follow := follower{
		cli: c, session: session, id: id, view: newRunView(c, f.quiet, f.explain),
		interactive: f.interactive, tty: f.tty, toTheEnd: true, survives: f.keep,
	}
	return follow.follow()
}

// runFailure adds what to do about a request that was not accepted.
func runFailure(err error, id protocol.RequestID) error {
	hint := ""
	switch protocol.CodeOf(err) {
	case protocol.CodeConflict:
		hint = fmt.Sprintf("see what it is with 'hearth inspect %s', or choose another --id", id)
	case protocol.CodeUnauthorized:
		hint = tokenHint
	case protocol.CodeDiskFull:
		hint = "make room where the state folder of this device is"
	}
	return &failure{err: err, hint: hint}
}

// service turns the flags into what is asked of the mesh.
func (f *runFlags) service(args []string) (protocol.Service, error) {
	if f.detach && f.interactive {
		return protocol.Service{}, &failure{err: errors.New("--detach and --interactive exclude each other: nobody would be there to give input"),
			hint: "use --keep for a request that goes on when this command is gone"}
	}
	if f.retry > 0 && f.interactive {
		return protocol.Service{}, &failure{err: errors.New("--retry and --interactive exclude each other: input that was read cannot be given again"),
			hint: "pass it by --mount, or put it into the image"}
	}
	s := protocol.Service{
		Image: args[0], Args: args[1:], Entrypoint: f.entrypoint, WorkDir: f.workDir, User: f.user,
		Stdin: f.interactive, TTY: f.tty, Timeout: f.timeout,
		Network: f.network, Devices: f.devices, Accelerator: f.accelerator, Retry: f.retry,
		Constraints: protocol.Constraints{Node: f.node, NotHere: f.notHere},
	}
	var err error
	if s.Mounts, err = parseMounts(f.mounts); err != nil {
		return s, err
	}
	for _, name := range f.capabilities {
		s.Capabilities = append(s.Capabilities, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	if s.CPUs, err = parseCores(f.cpus); err != nil {
		return s, fmt.Errorf("--cpus: %w", err)
	}
	if s.Memory, err = parseSize(f.memory); err != nil {
		return s, fmt.Errorf("--memory: %w", err)
	}
	if s.Env, err = f.environment(); err != nil {
		return s, err
	}
	if s.Constraints.Labels, err = parseLabels("--constraint", f.constraints); err != nil {
		return s, err
	}
	return s, s.Validate()
}

// environment joins --env-file and -e; the later one of a name wins.
func (f *runFlags) environment() ([]string, error) {
	var env []string
	if f.envFile != "" {
		file, err := os.Open(f.envFile)
		if err != nil {
			return nil, fmt.Errorf("--env-file: %w", err)
		}
		defer file.Close()
		scan := bufio.NewScanner(io.LimitReader(file, 1<<20))
		for n := 1; scan.Scan(); n++ {
			line := strings.TrimSpace(scan.Text())
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			if name, _, ok := strings.Cut(line, "="); !ok || name == "" {
				return nil, fmt.Errorf("--env-file: %s:%d: not of the form K=V", f.envFile, n)
			}
			env = append(env, line)
		}
		if err := scan.Err(); err != nil {
			return nil, fmt.Errorf("--env-file: %s: %w", f.envFile, err)
		}
	}
	for _, e := range f.env {
		name, _, hasValue := strings.Cut(e, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: not of the form K=V", e)
		}
		if !hasValue {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue // as docker does: an unset variable is not passed on
			}
			e = name + "=" + value
		}
		env = append(env, e)
	}
	return env, nil
}

// parseMounts reads SOURCE[:TARGET][:rw], in which the target is the source
// where it is left out.
func parseMounts(texts []string) ([]protocol.Mount, error) {
	var mounts []protocol.Mount
	for _, text := range texts {
		paths, writable := strings.CutSuffix(text, ":rw")
		if !writable {
			paths = strings.TrimSuffix(text, ":ro")
		}
		source, target, _ := strings.Cut(paths, ":")
		m := protocol.Mount{Source: path.Clean(source), Target: path.Clean(cmp.Or(target, source)), Writable: writable}
		if !path.IsAbs(m.Source) || !path.IsAbs(m.Target) || strings.Contains(target, ":") {
			return nil, &failure{err: fmt.Errorf("--mount %q: not of the form SOURCE[:TARGET][:rw]", text), hint: "both are absolute paths, as in /srv/photos:/in"}
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

// parseSize reads an amount of memory such as 512m.
func parseSize(text string) (protocol.Bytes, error) {
	if text == "" {
		return 0, nil
	}
	n, err := units.RAMInBytes(text)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%q is not a size; write it like 512m or 2g", text)
	}
	return protocol.Bytes(n), nil
}

// parseCores reads a number of cores such as 0.5.
func parseCores(text string) (protocol.Cores, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n <= 65536) {
		return 0, fmt.Errorf("%q is not a number of cores; write it like 2 or 0.5", text)
	}
	return protocol.Cores(n), nil
}

// parseLabels reads K=V pairs.
func parseLabels(flag string, pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	labels := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("%s %q: not of the form K=V", flag, p)
		}
		labels[k] = v
	}
	return labels, nil
}
