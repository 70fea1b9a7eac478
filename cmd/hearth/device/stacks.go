package device

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"path/filepath"
	"time"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
	"github.com/hearth-edge/hearth/runtime"
	keeper "github.com/hearth-edge/hearth/runtime/stack"
	"github.com/hearth-edge/hearth/sched"
	"github.com/hearth-edge/hearth/sched/stack"
)

// StacksFolder returns the name of a mesh's folder of stacks in the state folder:
// as with JournalFile, a device that moves leaves it behind.
func StacksFolder(mesh keys.Fingerprint) string { return "stacks-" + string(mesh) }

// A stackDriver is a driver that runs stacks, too.
type stackDriver interface{ Stacks() keeper.Engine }

// stacks are the parts of a device that have to do with stacks.
type stacks struct {
	keeper *keeper.Keeper // nil where no stacks are run
	names  *stack.Names
	holder *stack.Holder
	mesh   *stack.Mesh
}

// buildStacks makes the parts that hold, run and find stacks.
func (d *Device) buildStacks() error {
	seed, err := keys.LoadSeed(d.cfg.StateDir)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	key, err := keys.Identity(d.cfg.Secret, seed)
	if err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	dir := filepath.Join(d.cfg.StateDir, StacksFolder(d.cfg.Secret.Fingerprint()))
	whyNot, err := d.buildKeeper(dir)
	if err != nil {
		return err
	}
	signing := stack.Keys{Sign: key.Sign, Verify: func(by protocol.PeerID, data, signature []byte) error {
		return keys.VerifyPeer(string(by), data, signature)
	}}
	d.stacks.names = stack.NewNames(dir+".names", d.clock, time.Now, d.log)
	cfg := stack.HolderConfig{
		Self: d.id, Name: d.cfg.Name, Dir: dir, Sealer: keys.NewSealer(d.cfg.Secret, seed), NoKeeper: whyNot, Admit: d.admitStack,
		Keys: signing, Now: time.Now, Changed: d.gossip.changed, Log: d.log,
	}
	if d.stacks.keeper != nil {
		cfg.Keeper = stackKeeper{d.stacks.keeper}
	}
	if d.stacks.holder, err = stack.NewHolder(cfg); err != nil {
		return err
	}
	d.stacks.mesh = stack.NewMesh(stack.MeshConfig{
		Self: d.id, Name: d.cfg.Name, Own: d.stacks.holder, At: d.stacksAt, Names: d.stacks.names,
		Devices: d.view.Devices, Changed: d.view.Changed, Rank: d.rank, Keys: signing,
		Salt: newSalt, Now: time.Now, Log: d.log,
	})
	return nil
}

// buildKeeper makes what runs stacks here, or says why nothing does.
func (d *Device) buildKeeper(dir string) (whyNot string, err error) {
	if d.runtime == nil {
		return d.cfg.NoDriver, nil
	}
	driver, ok := d.driver.(stackDriver)
	if !ok {
		return fmt.Sprintf("its driver %s runs no stacks", d.driver.Name()), nil
	}
	d.stacks.keeper, err = keeper.New(keeper.Config{
		Node: d.id, Name: d.cfg.Name, Engine: driver.Stacks(), Policy: d.cfg.Policy, Here: d.runtime.Here,
		Reserve: d.runtime.Reserve, Dir: filepath.Join(dir, "instances"), Log: d.log,
	})
	return "", err
}

// statusCame takes in what another device tells of itself.
func (d *Device) statusCame(s protocol.Status) {
	d.stacks.names.Seen(&s, cmp.Or(d.view.Name(s.Node), s.Name))
	d.ports.seen(&s)
	d.view.UpdateStatus(s)
}

// newSalt returns 16 random bytes.
func newSalt() []byte {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: it ends the program instead
	return salt
}

// stacksAt is the way to the stacks that another device holds.
func (d *Device) stacksAt(id protocol.PeerID) protocol.Stacks {
	return protocol.NewStacksClient(d.open(id))
}

// admitStack says whether the owner lets stacks of that device run here.
func (d *Device) admitStack(by protocol.PeerID) error {
	return d.cfg.Policy.Admit(runtime.Asker{Node: by, Name: d.mesh.NameOf(by), Self: by == d.id})
}

// rank orders the nodes for a stack by what their statuses say. It asks nobody.
func (d *Device) rank(service *protocol.Service) protocol.Decision {
	placer := sched.NewPlacer(sched.DefaultParams())
	snapshot := d.view.Snapshot(nil)
	demand := d.view.Demand(service)
	placer.Place(&snapshot, &demand, mathrand.New(mathrand.NewPCG(mathrand.Uint64(), mathrand.Uint64())))
	return placer.Explain(protocol.MaxDevices)
}

// stackKeeper is the Keeper as sched/stack asks for it.
type stackKeeper struct{ *keeper.Keeper }

func (k stackKeeper) Logs(ctx context.Context, l protocol.StackLogs, yield func(protocol.LogLine) error) error {
	return k.Keeper.Logs(ctx, l.Name, keeper.LogQuery{
		Services: l.Services, Since: l.Since, Tail: int(min(l.Tail, math.MaxInt32)), Follow: l.Follow,
	}, yield)
}

// A member is this device as the others see it.
type member struct {
	*sched.Orchestrator
	*stack.Holder
}
