package device

import (
	"errors"
	"fmt"
	"log/slog"

	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/cmd/hearth/door/outbox"
	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
)

// SecretFile is the name of the secret's copy in the state folder.
const SecretFile = "secret"

// Config is what a device is made of.
type Config struct {
	Secret keys.Secret
	// Version of the program, for people.
	Version string
	// Name of the device, unique in its mesh: see keys.ValidName.
	Name string
	// StateDir is the folder for all that is kept; it is made if need be.
	StateDir string
	// Listen, Interfaces and Peers are p2p.Config's.
	Listen     []ma.Multiaddr
	Interfaces []string
	Peers      []ma.Multiaddr
	// HTTP is the address of this machine alone (see door.ParseAddr) that the door for
	// people and programs listens on, beside its socket in the state folder; "" is none.
	HTTP string
	// Edge is the door for clients of edge-home-orchestration-go; nil is none.
	Edge *EdgeConfig
	// EventsTo are the brokers and webhooks that hear of requests and devices.
	EventsTo []*outbox.Target
	// NoDiscovery leaves mDNS off: peers are then found by Peers and by those
	// known from earlier.
	NoDiscovery bool
	// CPUs and Memory to lend; 0 is what machine.Config says.
	CPUs   protocol.Cores
	Memory protocol.Bytes
	// Labels that constraints can ask for.
	Labels map[string]string
	// Policy is the owner's on what a container may have here.
	Policy runtime.Policy
	// Driver makes the driver that runs work here, given the mesh's
	// fingerprint and this device's ID; it is closed at the end of Run. Nil:
	// the device asks for work and runs none.
	Driver func(mesh keys.Fingerprint, self protocol.PeerID) (runtime.Driver, error)
	// EngineOptional: that the driver's engine never answered is no problem, as on
	// a device that has none. It runs work once one answers, with or without this.
	EngineOptional bool
	// Reaper is the program, with its arguments, that stops what outlives its
	// lease: see package reaper. Nil where containers end with this process.
	Reaper func(mesh keys.Fingerprint, self protocol.PeerID) (program string, args []string)
	// NoDriver says why Driver is nil, for those who ask for work here.
	NoDriver string
	// Speed of one core; 0 has it measured (machine.Benchmark).
	Speed float64
	Log   *slog.Logger
}

// EdgeConfig is how clients of edge-home-orchestration-go come in: see package edge.
type EdgeConfig struct {
	// Addr is host:port. Only programs on this device are answered, whatever it is.
	Addr string
	// NeedToken asks each client for a token that may run.
	NeedToken bool
	// Parse is edge.Config's.
	Parse func(args []string) (protocol.Run, error)
}

// DefaultConfig returns a Config that lacks Secret, Name, StateDir and Driver.
func DefaultConfig() Config {
	return Config{Policy: runtime.DefaultPolicy(), NoDriver: "it was started without a container engine", Log: slog.New(slog.DiscardHandler)}
}

// Validate says what is missing or out of range.
func (c *Config) Validate() error {
	if c.Secret.IsZero() {
		return errors.New("no secret")
	}
	if err := keys.ValidName(c.Name); err != nil {
		return err
	}
	if c.StateDir == "" {
		return errors.New("no state folder")
	}
	if !(c.CPUs >= 0) || !(c.Speed >= 0) {
		return errors.New("cores and speed cannot be negative")
	}
	if err := c.Policy.Validate(); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	for k, v := range c.Labels {
		if err := protocol.ValidateLabel(k, v); err != nil {
			return err
		}
	}
	return nil
}
