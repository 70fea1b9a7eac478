package main

import (
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hearth-edge/hearth/protocol"
)

// minMemory is the least memory that an engine limits a container to: Docker's own
// bound.
const minMemory protocol.Bytes = 6 << 20

// runFlags are the flags of `hearth run` as they were typed.
type runFlags struct {
	interactive, notHere, quiet, explain bool
	detach, tty, keep, dryRun, asJSON    bool
	readOnly                             bool
	env, envFiles, constraints           []string
	mounts, volumes, tmpfs               []string
	devices, capabilities                []string
	memory, shmSize, workDir, hostname   string
	user, node, id, network, accelerator string
	entrypoint, cpus, pull               string
	platform, gpus                       string
	timeout                              time.Duration
	retry                                uint32
	request                              requestFlags

	// flags are those that it was registered with.
	flags *pflag.FlagSet
	// rows and columns of this command's terminal; 0 where it has none.
	rows, columns uint16
}

// registerContainer adds the flags that say what is run and where; the others are
// about the command itself. Docker's are among them.
func (f *runFlags) registerContainer(flags *pflag.FlagSet) {
	flags.SetInterspersed(false) // what follows IMAGE is the container's
	f.describe(flags)
	addDockerFlags(flags)
	f.request.register(flags)
	flags.BoolVarP(&f.interactive, "interactive", "i", false, "pass this command's input to the container")
	flags.BoolVarP(&f.tty, "tty", "t", false, "give the container a terminal; with -i it is this one")
	flags.BoolVarP(&f.detach, "detach", "d", false, "print the request's ID once it is accepted, and let it go on")
	flags.Uint32Var(&f.retry, "retry", 0, "run it again up to `N` times if it was lost with its node")
	flags.StringVar(&f.node, "node", "", "run on the node with this `NAME` or peer ID and no other")
	flags.StringArrayVar(&f.constraints, "constraint", nil, "run only where the label `K=V` is; arch, os, driver and name count as labels")
	flags.StringVar(&f.platform, "platform", "", "run only on `OS/ARCH`, such as linux/arm64")
	flags.BoolVar(&f.notHere, "not-here", false, "run on any other device than this one")
	flags.StringVar(&f.id, "id", "", "the request's `ID`; running an ID again attaches to the first")
}

// describe adds the flags that say what a container is to have; the policy of a
// node's owner has a say in them.
func (f *runFlags) describe(flags *pflag.FlagSet) {
	f.flags = flags
	flags.Bool("help", false, "show this") // -h is docker's --hostname
	flags.StringArrayVarP(&f.env, "env", "e", nil, "set a variable for the container, `K=V`, or K to pass on this one's")
	flags.StringArrayVar(&f.envFiles, "env-file", nil, "read variables from `FILE`, a K=V or K a line, # for comments")
	flags.StringVar(&f.cpus, "cpus", "", "cores that it needs; `N` may be a fraction")
	flags.StringVarP(&f.memory, "memory", "m", "", "memory that it needs and may use at most: `SIZE` such as 512m or 2g, 6m or more")
	flags.StringVar(&f.shmSize, "shm-size", "", "`SIZE` of /dev/shm, which is part of its memory (default 64m)")
	flags.StringArrayVar(&f.tmpfs, "tmpfs", nil, "give it an empty folder in memory, `PATH[:size=64m,mode=1777,exec]`")
	flags.StringVar(&f.accelerator, "accelerator", "", "accelerator that it needs, of a `KIND` such as gpu or npu, where the owner lends one")
	flags.StringVar(&f.gpus, "gpus", "", "`all` is --accelerator gpu")
	flags.StringVar(&f.entrypoint, "entrypoint", "", "run `PROGRAM` instead of the image's entrypoint; \"\" for none")
	flags.StringVarP(&f.workDir, "workdir", "w", "", "working folder `DIR` in the container")
	flags.StringVarP(&f.user, "user", "u", "", "run as `USER`: name or uid[:gid]")
	flags.StringVarP(&f.hostname, "hostname", "h", "", "host `NAME` that the container sees")
	flags.StringVar(&f.pull, "pull", "missing", "`WHEN` to ask the registry for the image: missing, always or never")
	flags.DurationVar(&f.timeout, "timeout", 0, "stop it after it has run for `D`, such as 90s or 2h")
	flags.StringVar(&f.network, "network", "", "network `NAME` to be on: none, bridge, or another that the node's owner allows")
	flags.StringVar(&f.network, "net", "", "") // docker's old name of it
	_ = flags.MarkHidden("net")
	flags.StringArrayVar(&f.mounts, "mount", nil, "let it see a file or folder of the node, `SOURCE[:TARGET][:rw]`, read-only without rw, where the owner allows that")
	flags.StringArrayVarP(&f.volumes, "volume", "v", nil, "the same as docker writes it, `SOURCE:TARGET[:ro]`, writable without ro")
	flags.BoolVar(&f.readOnly, "read-only", false, "let it change nothing of its image's files")
	flags.StringArrayVar(&f.devices, "device", nil, "let it use a device of the node, `PATH` such as /dev/ttyUSB0, where the owner allows that")
	flags.StringArrayVar(&f.capabilities, "cap-add", nil, "give it a Linux capability, `NAME` such as NET_ADMIN, where the owner allows that")
}

// completeRun completes what flags take.
func (c *cli) completeRun(cmd *cobra.Command) {
	fixed := func(flag string, words ...cobra.Completion) {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("node", c.completeNodes)
	fixed("accelerator", "gpu", "npu")
	fixed("gpus", "all")
	fixed("pull", "missing", "always", "never")
	fixed("network", "none", "bridge", "host")
	fixed("platform", "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/riscv64")
	for _, flag := range []string{"cpus", "memory", "shm-size", "tmpfs", "env", "hostname", "user", "timeout", "cap-add", "constraint", "id", "retry"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
}

// service turns the flags into what is asked of the mesh.
func (f *runFlags) service(args []string, stdin io.Reader) (protocol.Service, error) {
	if err := f.exclusive(); err != nil {
		return protocol.Service{}, err
	}
	s := protocol.Service{
		Image: args[0], Args: args[1:], Entrypoint: f.entrypoint, WorkDir: f.workDir, User: f.user,
		Stdin: f.interactive, TTY: f.tty, TTYRows: f.rows, TTYColumns: f.columns, Timeout: f.timeout, Retry: f.retry,
		Hostname: f.hostname, ReadOnlyRoot: f.readOnly,
		Constraints:  protocol.Constraints{Node: f.node, NotHere: f.notHere},
		NoEntrypoint: f.entrypoint == "" && f.flags.Changed("entrypoint"),
	}
	for _, take := range []func(*protocol.Service) error{
		f.takeAmounts, f.takeFiles, f.takePull, f.takeNetwork, f.takeAccelerator, f.takeConstraints,
	} {
		if err := take(&s); err != nil {
			return s, err
		}
	}
	for _, name := range f.capabilities {
		s.Capabilities = append(s.Capabilities, strings.TrimPrefix(strings.ToUpper(name), "CAP_"))
	}
	var err error
	if s.Env, err = f.environment(); err != nil {
		return s, err
	}
	if err := f.request.apply(&s, stdin); err != nil {
		return s, err
	}
	return s, flagged(s.Validate())
}

// exclusive checks flags that make no sense together.
func (f *runFlags) exclusive() error {
	switch {
	case f.timeout < 0:
		return fmt.Errorf("--timeout: %v is negative; write it like 90s or 2h", f.timeout)
	case f.detach && f.interactive:
		return &failure{err: errors.New("--detach and --interactive exclude each other: nobody would be there to give input"),
			hint: "use --keep for a request that goes on when this command is gone"}
	case f.retry > 0 && f.interactive:
		return &failure{err: errors.New("--retry and --interactive exclude each other: input that was read cannot be given again"),
			hint: "pass it by --mount, or put it into the image"}
	case f.asJSON && f.tty && !f.dryRun:
		return &failure{err: errors.New("--json and --tty exclude each other: a terminal shows no JSON"), hint: "leave out --tty"}
	}
	return nil
}

func (f *runFlags) takeAmounts(s *protocol.Service) (err error) {
	if s.CPUs, err = parseCores(f.cpus); err != nil {
		return fmt.Errorf("--cpus: %w", err)
	}
	if s.Memory, err = parseSize(f.memory); err != nil {
		return fmt.Errorf("--memory: %w", err)
	}
	if s.Memory > 0 && s.Memory < minMemory {
		return &failure{err: fmt.Errorf("--memory: %s is less than a container can have", s.Memory),
			hint: fmt.Sprintf("the least is %s; write it like 512m or 2g: a number alone is bytes", minMemory)}
	}
	if s.ShmSize, err = parseSize(f.shmSize); err != nil {
		return fmt.Errorf("--shm-size: %w", err)
	}
	return nil
}

func (f *runFlags) takeFiles(s *protocol.Service) (err error) {
	if s.Tmpfs, err = parseTmpfs(f.tmpfs); err != nil {
		return err
	}
	for _, text := range f.mounts {
		if err := addMount(s, text); err != nil {
			return err
		}
	}
	for _, text := range f.volumes {
		m, err := parseVolume(text)
		if err != nil {
			return err
		}
		s.Mounts = append(s.Mounts, m)
	}
	for _, text := range f.devices {
		d, err := parseDevice(text)
		if err != nil {
			return err
		}
		s.Devices = append(s.Devices, d)
	}
	return nil
}

func (f *runFlags) takePull(s *protocol.Service) error {
	switch f.pull {
	case "", "missing":
	case string(protocol.PullAlways), string(protocol.PullNever):
		s.Pull = protocol.PullPolicy(f.pull)
	default:
		return fmt.Errorf("--pull %q is none of missing, always and never", f.pull)
	}
	return nil
}

func (f *runFlags) takeNetwork(s *protocol.Service) error {
	name, _, special := strings.Cut(f.network, ":")
	switch {
	case special && name == "container":
		return &failure{err: errors.New("--network: containers share no network with one another: the other one may be on another node"),
			hint: "leave it out, or name a network that the node's owner allows"}
	case strings.ContainsAny(f.network, ",="):
		return &failure{err: fmt.Errorf("--network %q: a network is asked for by its name alone", f.network), hint: "write it like --network bridge"}
	case f.network == "default": // docker's other name of what is had unasked
	default:
		s.Network = f.network
	}
	return nil
}

func (f *runFlags) takeAccelerator(s *protocol.Service) error {
	s.Accelerator = f.accelerator
	switch {
	case f.gpus == "":
		return nil
	case f.gpus != "all" && f.gpus != "1":
		return &failure{err: fmt.Errorf("--gpus %q: hearth does not tell a node's GPUs apart: a container gets all of them or none", f.gpus), hint: "write --gpus all"}
	case f.accelerator != "" && f.accelerator != "gpu":
		return fmt.Errorf("--gpus and --accelerator %s exclude each other", f.accelerator)
	}
	s.Accelerator = "gpu"
	return nil
}

// takeConstraints reads --constraint, and --platform, which says two of them.
func (f *runFlags) takeConstraints(s *protocol.Service) (err error) {
	labels, err := parseLabels("--constraint", f.constraints)
	if err != nil {
		return err
	}
	platform, err := parsePlatform(f.platform)
	if err != nil {
		return err
	}
	for key, value := range platform {
		if other, ok := labels[key]; ok && other != value {
			return fmt.Errorf("--platform %s and --constraint %s=%s exclude each other", f.platform, key, other)
		}
		if labels == nil {
			labels = make(map[string]string)
		}
		labels[key] = value
	}
	s.Constraints.Labels = labels
	return nil
}

// parsePlatform reads OS/ARCH[/VARIANT] into the labels that a node has. The
// variant says nothing of its own: a node checks its image's.
func parsePlatform(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.Split(strings.ToLower(text), "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return nil, fmt.Errorf("--platform %q is not of the form OS/ARCH[/VARIANT]; write it like linux/arm64", text)
	}
	arch := parts[1]
	if known := map[string]string{"x86_64": "amd64", "x86-64": "amd64", "i386": "386", "i686": "386", "aarch64": "arm64", "armhf": "arm", "armel": "arm"}; known[arch] != "" {
		arch = known[arch]
	}
	return map[string]string{"os": parts[0], "arch": arch}, nil
}

// parseDevice reads PATH, or docker's PATH:SAME-PATH[:rwm].
func parseDevice(text string) (string, error) {
	source, rest, more := strings.Cut(text, ":")
	if !more {
		return path.Clean(source), nil
	}
	target, access, _ := strings.Cut(rest, ":")
	switch {
	case path.Clean(target) != path.Clean(source):
		return "", &failure{err: fmt.Errorf("--device %q: a device has the same path in the container as on the node", text), hint: fmt.Sprintf("write --device %s", source)}
	case access != "" && access != "rwm" && access != "rw":
		return "", &failure{err: fmt.Errorf("--device %q: a device that is lent can be read and written", text), hint: fmt.Sprintf("write --device %s", source)}
	}
	return path.Clean(source), nil
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
			return nil, fmt.Errorf("%s %q: not of the form K=V; write it like disk=ssd", flag, p)
		}
		labels[k] = v
	}
	return labels, nil
}
