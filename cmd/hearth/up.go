package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/libp2p/go-libp2p/gologshim"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/cmd/hearth/device"
	"github.com/hearth-edge/hearth/cmd/hearth/door"
	"github.com/hearth-edge/hearth/cmd/hearth/door/edge"
	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	"github.com/hearth-edge/hearth/runtime/docker"
)

// upFlags are the flags of `hearth up` as they were typed.
type upFlags struct {
	secretFile, name, driver, cpus, memory, policy, http, edgeAPI string
	listen, interfaces, peers, labels, eventsTo                   []string
	noDiscovery, verbose                                          bool
}

func (c *cli) upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Join the mesh with this device",
		Long: `Join the mesh with this device and stay in it until Ctrl-C or SIGTERM. Devices
with the same secret find each other by themselves.

The secret comes from --secret-file, from HEARTH_SECRET, or from the state folder
of an earlier start. The device runs work while a Docker engine answers, also one
that is started later; without one it asks for work only, as with --driver none.
With --driver docker, 'hearth doctor' calls it a problem that there is none.

Every flag can be given in the environment too: HEARTH_NAME, HEARTH_LISTEN and
so on; lists are separated by commas. The flag wins.

  hearth secret new --out /etc/hearth.secret      once, on one device
  hearth up --secret-file /etc/hearth.secret      on every device`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.up(cmd.Context(), f) },
	}
	f.register(cmd)
	cmd.PreRunE = func(*cobra.Command, []string) error { return fromEnvironment(cmd.Flags()) }
	return cmd
}

// register adds the flags that say how a device is to be.
func (f *upFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.secretFile, "secret-file", "", "`FILE` with the secret; nobody else may be able to read it")
	flags.StringVar(&f.name, "name", "", "`NAME` of this device in the mesh (default the host's name)")
	flags.StringSliceVar(&f.listen, "listen", nil, "`MULTIADDR` to listen on, such as /ip4/0.0.0.0/tcp/7117; may be repeated")
	flags.StringSliceVar(&f.interfaces, "interface", nil, "use the network interface `NAME` and no other; may be repeated")
	flags.StringSliceVar(&f.peers, "peer", nil, "`MULTIADDR` of a device to connect to where multicast does not reach; may be repeated")
	flags.StringVar(&f.cpus, "cpus", "", "lend `N` cores (default all)")
	flags.StringVar(&f.memory, "memory", "", "lend this much memory: `SIZE` such as 2g (default 80 % of what there is)")
	flags.StringArrayVar(&f.labels, "label", nil, "label `K=V` that --constraint can ask for; may be repeated")
	flags.StringVar(&f.policy, "policy", "", "`FILE` that says what a container may have here (default policy.toml in the state folder, if there is one)")
	flags.StringVar(&f.driver, "driver", "", "run work with `docker`, or none to only ask for it (default docker while it answers)")
	flags.StringVar(&f.http, "http", door.DefaultAddr, "answer HTTP on this `ADDRESS` of this machine: the page of 'hearth web', and programs; the next port where that is taken, or none")
	flags.StringVar(&f.edgeAPI, "edge-api", "", "answer the REST API of edge-home-orchestration-go to programs on this device, `[ADDRESS][,token]`; with token to those that show one")
	flags.Lookup("edge-api").NoOptDefVal = edge.DefaultAddr
	flags.StringArrayVar(&f.eventsTo, "events-to", nil, "tell a broker or a webhook what happens, `URL` such as mqtt://USER@BROKER#secret-file=FILE or https://HOST/PATH; may be repeated")
	flags.BoolVar(&f.noDiscovery, "no-discovery", false, "do not use mDNS; find devices by --peer and from earlier starts only")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log details too")
	_ = cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions([]cobra.Completion{"docker", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// fromEnvironment sets each flag that was not given from its variable.
func fromEnvironment(flags *pflag.FlagSet) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "HEARTH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value, given := os.LookupEnv(name)
		if !given || f.Changed || f.Name == "help" || f.Name == "state" {
			return
		}
		values := []string{value}
		if f.Value.Type() == "stringArray" {
			values = strings.Split(value, ",")
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				errs = append(errs, valueError(name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// up runs the device until ctx ends.
func (c *cli) up(ctx context.Context, f upFlags) error {
	level := slog.LevelInfo
	if f.verbose {
		level = slog.LevelDebug
	}
	log := c.logger(level)
	// What a library says by the standard logger is a detail.
	slog.SetDefault(log)
	slog.SetLogLoggerLevel(slog.LevelDebug)
	if f.verbose {
		gologshim.SetDefaultHandler(log.Handler())
	} else {
		gologshim.SetDefaultHandler(slog.DiscardHandler)
	}
	// A core file would hold the secret, and so would the reaper's.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Warn("a crash may leave the secret in a core file", "err", err)
	}
	cfg, err := c.nodeConfig(f, log)
	if err != nil {
		return err
	}
	d, err := device.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	announced := make(chan struct{})
	go func() { // tells that the device is ready; ends with up
		defer close(announced)
		select {
		case <-d.Ready():
			log.Info("ready", "name", cfg.Name, "peer", d.ID(), "mesh", cfg.Secret.Fingerprint(), "addresses", d.Addresses(), "http", d.HTTP())
			notify(log, daemon.SdNotifyReady)
		case <-ctx.Done():
		}
	}()
	err = d.Run(ctx)
	cancel()
	<-announced
	notify(log, daemon.SdNotifyStopping)
	if err == nil {
		log.Info("left the mesh", "name", cfg.Name)
	}
	return err
}

// notify tells the service manager, if there is one.
func notify(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("the service manager could not be told", "err", err)
	}
}

// nodeConfig turns the flags into what the device is made of.
func (c *cli) nodeConfig(f upFlags, log *slog.Logger) (device.Config, error) {
	cfg, err := c.settings(f, log)
	if err != nil {
		return cfg, err
	}
	if cfg.Secret, err = c.findSecret(f.secretFile); err != nil {
		return cfg, err
	}
	c.chooseDriver(f.driver, &cfg)
	return cfg, nil
}

// settings is what the flags say by themselves, whatever this machine has.
func (c *cli) settings(f upFlags, log *slog.Logger) (device.Config, error) {
	cfg := device.DefaultConfig()
	cfg.Version, cfg.Log, cfg.StateDir, cfg.Interfaces, cfg.NoDiscovery = version, log, c.state, f.interfaces, f.noDiscovery
	var err error
	if cfg.Name, err = deviceName(f.name); err != nil {
		return cfg, err
	}
	if cfg.Listen, err = parseAddrs("--listen", f.listen); err != nil {
		return cfg, err
	}
	if cfg.Peers, err = parseAddrs("--peer", f.peers); err != nil {
		return cfg, err
	}
	if cfg.HTTP, err = door.ParseAddr(f.http); err != nil {
		return cfg, fmt.Errorf("--http: %w", err)
	}
	if cfg.Edge, err = parseEdge(f.edgeAPI); err != nil {
		return cfg, fmt.Errorf("--edge-api: %w", err)
	}
	if cfg.EventsTo, err = parseEventsTo(f.eventsTo); err != nil {
		return cfg, err
	}
	if cfg.CPUs, err = parseCores(f.cpus); err != nil {
		return cfg, fmt.Errorf("--cpus: %w", err)
	}
	if cfg.Memory, err = parseSize(f.memory); err != nil {
		return cfg, fmt.Errorf("--memory: %w", err)
	}
	if cfg.Labels, err = parseLabels("--label", f.labels); err != nil {
		return cfg, err
	}
	var from string
	if cfg.Policy, from, err = c.findPolicy(f.policy); err != nil {
		return cfg, err
	}
	if from != "" {
		log.Info("what a container may have is said by a file", "policy", from)
	}
	return cfg, c.knownDriver(f.driver)
}

// parseEdge reads [ADDRESS][,token]; nothing is no door.
func parseEdge(text string) (*device.EdgeConfig, error) {
	if text == "" || text == "none" {
		return nil, nil
	}
	cfg := &device.EdgeConfig{Addr: edge.DefaultAddr, Parse: parseRunLine}
	for word := range strings.SplitSeq(text, ",") {
		if word == "token" {
			cfg.NeedToken = true
			continue
		}
		if _, err := netip.ParseAddrPort(word); err != nil {
			return nil, fmt.Errorf("%q is neither an address nor the word token; write it like --edge-api=%s,token", word, edge.DefaultAddr)
		}
		cfg.Addr = word
	}
	return cfg, nil
}

func parseEventsTo(texts []string) (list []*outbox.Target, err error) {
	for _, text := range texts {
		t, err := outbox.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--events-to: %w", err)
		}
		list = append(list, t)
	}
	return list, nil
}

func (c *cli) knownDriver(name string) error {
	if name == "" || name == "none" || c.drivers[name] != nil {
		return nil
	}
	return &failure{err: fmt.Errorf("--driver %q is not known", name), hint: "use docker or none"}
}

// driverMaker makes what device.Config.Driver is.
type driverMaker func(log *slog.Logger, policy runtime.Policy) func(keys.Fingerprint, protocol.PeerID) (runtime.Driver, error)

// drivers are the ways to run work, by the name that --driver takes.
func drivers() map[string]driverMaker {
	return map[string]driverMaker{"docker": func(log *slog.Logger, policy runtime.Policy) func(keys.Fingerprint, protocol.PeerID) (runtime.Driver, error) {
		return func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error) {
			return docker.New(docker.Config{Mesh: string(mesh), Node: self, MayAsk: policy.MayAsk, MemoryDir: memoryDir(), Log: log})
		}
	}}
}

// chooseDriver decides whether the device runs work, and how. Whether there is an
// engine is found out while it runs: one that is started later is as good.
func (c *cli) chooseDriver(name string, cfg *device.Config) {
	if name == "none" {
		cfg.NoDriver = "it was started with --driver none"
		return
	}
	cfg.EngineOptional = name == ""
	name = cmp.Or(name, "docker")
	cfg.Driver = c.drivers[name](cfg.Log, cfg.Policy)
	if name == "docker" {
		cfg.Reaper = func(mesh keys.Fingerprint, self protocol.PeerID) (string, []string) {
			return "/proc/self/exe", []string{"reaper", "--state", c.state, "--mesh", string(mesh), "--node", string(self)}
		}
	}
}

// deviceName is the name given, else made from the host's.
func deviceName(given string) (string, error) {
	if given != "" {
		return given, keys.ValidName(given)
	}
	host, err := os.Hostname()
	if err != nil {
		return "", &failure{err: err, hint: "give this device a name with --name"}
	}
	host, _, _ = strings.Cut(host, ".")
	if err := keys.ValidName(host); err != nil {
		return "", &failure{err: fmt.Errorf("the host's name does not do: %w", err), hint: "give this device a name with --name"}
	}
	return host, nil
}

func parseAddrs(flag string, texts []string) ([]ma.Multiaddr, error) {
	var addrs []ma.Multiaddr
	for _, t := range texts {
		a, err := ma.NewMultiaddr(t)
		if err != nil {
			return nil, &failure{err: fmt.Errorf("%s %q is not a multiaddr: %w", flag, t, err), hint: "write it like /ip4/192.168.1.20/tcp/7117"}
		}
		addrs = append(addrs, a)
	}
	return addrs, nil
}
