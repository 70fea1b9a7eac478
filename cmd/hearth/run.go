package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/hearth-edge/hearth/protocol"
)

// stopGrace is how long a container has to end after Ctrl-C before it is killed.
const stopGrace = 10 * time.Second

// runFlags are the flags of `hearth run` as they were typed.
type runFlags struct {
	interactive, notHere, quiet, explain bool
	env, constraints                     []string
	envFile, memory, entrypoint, workDir string
	user, node, id                       string
	cpus                                 float64
	timeout                              time.Duration
}

func (c *cli) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] IMAGE [ARG...]",
		Short: "Run a container on the best node",
		Long: `Run a container on the node of the mesh that will finish it first. Its output
comes to stdout and its errors to stderr as if it ran here, and its exit code is
that of this command. One line on stderr names the node.

Ctrl-C stops the container (SIGTERM, then SIGKILL after 10 s); a second Ctrl-C
kills it. The image is looked up on the node first, else pulled there.

Exit codes: the container's own; 124 if it ran into --timeout; 125 if hearth
itself failed; 126 if no node can run it, with the reason for each node; 130 if
it was ended by Ctrl-C.

  hearth run busybox echo hello
  cat photo.jpg | hearth run -i detector > boxes.json
  hearth run --constraint arch=arm64 --memory 512m worker
  hearth run --not-here --cpus 2 --timeout 10m transcoder /in /out`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &failure{err: errors.New("no image was named"), hint: "usage: hearth run [flags] IMAGE [ARG...]"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			service, err := f.service(args)
			if err != nil {
				return err
			}
			device, done, err := c.device(cmd.Context())
			if err != nil {
				return err
			}
			defer done()
			session, err := device.Run(cmd.Context(), protocol.Run{ID: protocol.RequestID(f.id), Service: service})
			if err != nil {
				return err
			}
			return c.follow(session, f)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false) // what follows IMAGE is the container's
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "pass this command's input to the container")
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set a variable for the container, `K=V`, or K to pass on this one's")
	flags.StringVar(&f.envFile, "env-file", "", "read variables from `FILE`, one K=V a line, # for comments")
	flags.Float64Var(&f.cpus, "cpus", 0, "cores that it needs; `N` may be a fraction")
	flags.StringVar(&f.memory, "memory", "", "memory that it needs and may use at most: `SIZE` such as 512m or 2g")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "run `PROGRAM` instead of the image's entrypoint")
	flags.StringVar(&f.workDir, "workdir", "", "working folder `DIR` in the container")
	flags.StringVar(&f.user, "user", "", "run as `USER`: name or uid[:gid]")
	flags.StringVar(&f.node, "node", "", "run on the node with this `NAME` or peer ID and no other")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "run only where the label `K=V` is; arch, os, driver and name count as labels")
	flags.BoolVar(&f.notHere, "not-here", false, "run on any other device than this one")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop it after it has run for `D`, such as 90s or 2h")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but the container's output and errors")
	flags.BoolVar(&f.explain, "explain", false, "show on stderr how every node was rated")
	flags.StringVar(&f.id, "id", "", "the request's `ID`; running an ID again attaches to the first")
	return cmd
}

// service turns the flags into what is asked of the mesh.
func (f *runFlags) service(args []string) (protocol.Service, error) {
	s := protocol.Service{
		Image: args[0], Args: args[1:], Entrypoint: f.entrypoint, WorkDir: f.workDir, User: f.user,
		CPUs: protocol.Cores(f.cpus), Stdin: f.interactive, Timeout: f.timeout,
		Constraints: protocol.Constraints{Node: f.node, NotHere: f.notHere},
	}
	var err error
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

// follow relays the session to and from this terminal until it ends.
func (c *cli) follow(session protocol.Session, f runFlags) error {
	defer session.Close()
	// From here on Ctrl-C stops the container instead of this command.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ended := make(chan struct{})
	defer close(ended)
	go func() { // owns the wish to stop; ends with follow
		grace := stopGrace
		for {
			select {
			case <-signals:
				_ = session.Stop(grace)
				grace = 0
			case <-ended:
				return
			}
		}
	}()
	if f.interactive {
		go func() { // ends with its input or, blocked on that, with the process
			_, err := io.Copy(session, c.stdin)
			if err == nil {
				_ = session.CloseWrite()
			}
		}()
	}
	view := &runView{cli: c, flags: f}
	for {
		u, err := session.Next()
		if err != nil {
			view.progress.clear()
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return &failure{
				err:  fmt.Errorf("lost the connection to this device: %w", err),
				hint: "is 'hearth up' still running? What it started here may go on",
			}
		}
		if end, err := view.show(u); end || err != nil {
			return err
		}
	}
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
