package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hearth-edge/hearth/protocol"
)

// MeshConfig is what a Mesh is made of; all of it is required.
type MeshConfig struct {
	Self protocol.PeerID
	Name string
	// Own are the stacks of this device, At is the way to those of another one.
	Own   *Holder
	At    func(protocol.PeerID) protocol.Stacks
	Names *Names
	// Devices lists those connected, this one too, with their statuses; changed
	// tells when that may differ.
	Devices func() []protocol.Device
	Changed func() <-chan struct{}
	// Rank orders the nodes for a service, as a placement that is explained does.
	Rank func(service *protocol.Service) protocol.Decision
	Keys
	// Salt makes a new one.
	Salt func() []byte
	Now  func() time.Time // for people
	Log  *slog.Logger
}

// A Mesh is the stacks of all devices, for the apps of this one: it asks their
// holders, and places new ones. It implements protocol.Stacks, and keeps nothing
// but Names. Its methods may be called concurrently.
type Mesh struct{ cfg MeshConfig }

var _ protocol.Stacks = (*Mesh)(nil)

// NewMesh makes a Mesh.
func NewMesh(cfg MeshConfig) *Mesh { return &Mesh{cfg} }

// holder is a device that holds a stack, or is asked to.
type holder struct {
	id     protocol.PeerID
	name   string
	stacks protocol.Stacks
	holds  bool // it holds the stack already, and may know all of it
}

func (m *Mesh) own() holder { return holder{id: m.cfg.Self, name: m.cfg.Name, stacks: m.cfg.Own} }

// Holder returns the device that holds the stack, and the stack's name without a
// device. Its errors are those of find.
func (m *Mesh) Holder(ctx context.Context, ref protocol.StackName) (protocol.PeerID, protocol.StackName, error) {
	at, err := m.find(ctx, ref)
	if err != nil {
		return "", "", err
	}
	name, _, err := protocol.ParseStackRef(string(ref))
	return at.id, name, err
}

// find returns the one that holds the stack. CodeNotFound says that nobody does,
// CodeNodeLost that it is away, CodeInvalid that there are several.
func (m *Mesh) find(ctx context.Context, ref protocol.StackName) (holder, error) {
	name, device, err := protocol.ParseStackRef(string(ref))
	if err != nil {
		return holder{}, err
	}
	meant := func(id protocol.PeerID, called string) bool {
		return device == "" || device == called || device == string(id)
	}
	var found []holder
	var away []sighting
	if m.cfg.Own.entry(name) != nil && meant(m.cfg.Self, m.cfg.Name) {
		found = append(found, m.own())
	}
	connected := m.connected()
	asked := make(map[protocol.PeerID]bool)
	for _, s := range m.cfg.Names.holders(name) {
		at, here := connected[s.Holder]
		switch {
		case s.Holder == m.cfg.Self || !meant(s.Holder, s.HolderName) && (!here || !meant(s.Holder, at.name)):
		case here:
			asked[s.Holder] = true
			found = append(found, at.holder)
		default:
			away = append(away, s)
		}
	}
	if len(found) == 0 {
		found = m.askUnnamed(ctx, name, connected, asked, meant)
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return holder{}, protocol.Errorf(protocol.CodeInvalid, "several devices hold a stack %s: name %s", name, refs(name, found))
	case len(away) > 0:
		return holder{}, m.awayError(&away[0])
	}
	return holder{}, noStack(name)
}

func refs(name protocol.StackName, found []holder) string {
	var texts []string
	for _, f := range found {
		texts = append(texts, fmt.Sprintf("%s@%s", name, f.name))
	}
	slices.Sort(texts)
	return strings.Join(texts, " or ")
}

func (m *Mesh) awayError(s *sighting) error {
	return protocol.Errorf(protocol.CodeNodeLost, "the stack %s is held by %s, which is away; it was last seen %s", s.Name, s.HolderName, m.ago(s.Seen))
}

// ago says when something was, for people.
func (m *Mesh) ago(t time.Time) string {
	d := m.cfg.Now().Sub(t)
	if d < 0 {
		return "at " + t.Local().Format("2006-01-02 15:04")
	}
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d seconds ago", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

// connectedDevice is a device that can be asked.
type connectedDevice struct {
	holder
	status *protocol.Status
}

// connected lists the other devices.
func (m *Mesh) connected() map[protocol.PeerID]connectedDevice {
	all := make(map[protocol.PeerID]connectedDevice)
	for _, d := range m.cfg.Devices() {
		if !d.Self {
			s := d.Status
			all[s.Node] = connectedDevice{holder{id: s.Node, name: s.Name, stacks: m.cfg.At(s.Node)}, &s}
		}
	}
	return all
}

// askUnnamed asks those that hold more stacks than their status names.
func (m *Mesh) askUnnamed(ctx context.Context, name protocol.StackName, connected map[protocol.PeerID]connectedDevice, asked map[protocol.PeerID]bool, meant func(protocol.PeerID, string) bool) []holder {
	var mu sync.Mutex // guards found
	var found []holder
	m.askAll(ctx, connected, func(ctx context.Context, d *connectedDevice) error {
		if d.status.UnnamedStacks == 0 || asked[d.id] || !meant(d.id, d.name) {
			return nil
		}
		return d.stacks.ListStacks(ctx, protocol.ListStacks{Name: name, All: true}, func(list []protocol.StackStatus) error {
			mu.Lock()
			defer mu.Unlock()
			if len(list) > 0 {
				found = append(found, d.holder)
			}
			return nil
		})
	})
	return found
}

// askAll asks all at the same time, and returns when each has answered or used up
// its time. It returns those that did not.
func (m *Mesh) askAll(ctx context.Context, all map[protocol.PeerID]connectedDevice, ask func(context.Context, *connectedDevice) error) (silent []protocol.PeerID) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex // guards silent
	var asking sync.WaitGroup
	for _, d := range all {
		asking.Go(func() {
			if err := ask(ctx, &d); err != nil {
				m.cfg.Log.Debug("a device did not tell its stacks", "peer", d.id, "err", err)
				mu.Lock()
				defer mu.Unlock()
				silent = append(silent, d.id)
			}
		})
	}
	asking.Wait()
	return silent
}

// ListStacks implements protocol.Stacks. Of a stack whose holder is away only
// that is told.
func (m *Mesh) ListStacks(ctx context.Context, l protocol.ListStacks, yield func([]protocol.StackStatus) error) error {
	if !l.Watch {
		list, err := m.list(ctx, l)
		if err != nil {
			return err
		}
		return yield(list)
	}
	return m.watch(ctx, l, yield)
}

func (m *Mesh) list(ctx context.Context, l protocol.ListStacks) ([]protocol.StackStatus, error) {
	var name protocol.StackName
	var device string
	if l.Name != "" {
		var err error
		if name, device, err = protocol.ParseStackRef(string(l.Name)); err != nil {
			return nil, err
		}
	}
	connected := m.connected()
	var mu sync.Mutex // guards told
	told := map[protocol.PeerID][]protocol.StackStatus{m.cfg.Self: m.cfg.Own.list(name, l.All)}
	silent := m.askAll(ctx, connected, func(ctx context.Context, d *connectedDevice) error {
		if len(d.status.Stacks) == 0 && d.status.UnnamedStacks == 0 && !m.knownToHold(d.id) {
			return nil
		}
		return d.stacks.ListStacks(ctx, protocol.ListStacks{Name: name, All: l.All}, func(list []protocol.StackStatus) error {
			for i := range list {
				list[i].Holder, list[i].HolderName = d.id, d.name // as it is called here
			}
			mu.Lock()
			defer mu.Unlock()
			told[d.id] = list
			return nil
		})
	})
	list := m.together(told, connected, silent, name, l.All)
	if device != "" {
		list = slices.DeleteFunc(list, func(s protocol.StackStatus) bool {
			return s.HolderName != device && string(s.Holder) != device
		})
	}
	if l.Name != "" && len(list) == 0 {
		return nil, noStack(name)
	}
	return list, ctx.Err()
}

func (m *Mesh) knownToHold(id protocol.PeerID) bool {
	return slices.ContainsFunc(m.cfg.Names.holders(""), func(s sighting) bool { return s.Holder == id })
}

// together adds those whose holder is away or did not answer.
func (m *Mesh) together(told map[protocol.PeerID][]protocol.StackStatus, connected map[protocol.PeerID]connectedDevice, silent []protocol.PeerID, name protocol.StackName, all bool) []protocol.StackStatus {
	list := []protocol.StackStatus{}
	for _, l := range told {
		list = append(list, l...)
	}
	for _, s := range m.cfg.Names.holders(name) {
		d, here := connected[s.Holder]
		if s.Holder == m.cfg.Self || here && !slices.Contains(silent, s.Holder) {
			continue
		}
		gone := m.cfg.Now().Sub(s.Seen)
		status := protocol.StackStatus{
			Name: s.Name, Version: s.Version, Holder: s.Holder, HolderName: s.HolderName, State: protocol.StackAway,
			Reason: "its holder is away; it was last seen " + m.ago(s.Seen), Instances: []protocol.InstanceStatus{},
			Unreachable: protocol.Milliseconds(max(gone.Milliseconds(), 1)),
		}
		if here {
			status.HolderName, status.Reason = d.name, "its holder does not answer"
		}
		list = append(list, status)
	}
	if !all {
		list = slices.DeleteFunc(list, func(s protocol.StackStatus) bool { return s.State == protocol.StackGone })
	}
	slices.SortFunc(list, func(a, b protocol.StackStatus) int {
		if c := strings.Compare(string(a.Name), string(b.Name)); c != 0 {
			return c
		}
		return strings.Compare(a.HolderName, b.HolderName)
	})
	return list
}

// listPause is the least time between two lists of a watch.
const listPause = 200 * time.Millisecond

// watch lists anew whenever a device tells that a stack changed, or one comes or
// goes.
func (m *Mesh) watch(ctx context.Context, l protocol.ListStacks, yield func([]protocol.StackStatus) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	news := make(chan struct{}, 1)
	var mu sync.Mutex // guards watched
	watched := make(map[protocol.PeerID]bool)
	follow := func(at holder) {
		mu.Lock()
		defer mu.Unlock()
		if watched[at.id] {
			return
		}
		watched[at.id] = true
		watchers.Go(func() {
			_ = at.stacks.ListStacks(ctx, protocol.ListStacks{All: true, Watch: true}, func([]protocol.StackStatus) error {
				poke(news)
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			delete(watched, at.id) // with the next list it is followed again
		})
	}
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		changed := m.cfg.Changed()
		follow(m.own())
		for _, d := range m.connected() {
			if len(d.status.Stacks) > 0 || d.status.UnnamedStacks > 0 {
				follow(d.holder)
			}
		}
		list, err := m.list(ctx, l)
		if err != nil {
			return err
		}
		if err := yield(list); err != nil {
			return err
		}
		// After a quiet time a change is told at once; a burst is one list.
		pause.Reset(listPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-news:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ControlStack implements protocol.Stacks.
func (m *Mesh) ControlStack(ctx context.Context, c protocol.ControlStack) error {
	at, err := m.find(ctx, c.Name)
	if err != nil {
		return err
	}
	c.Name, _, _ = protocol.ParseStackRef(string(c.Name))
	return m.reached(ctx, at, at.stacks.ControlStack(ctx, c), nil)
}

// StackLogs implements protocol.Stacks.
func (m *Mesh) StackLogs(ctx context.Context, l protocol.StackLogs, yield func(protocol.LogLine) error) error {
	at, err := m.find(ctx, l.Name)
	if err != nil {
		return err
	}
	l.Name, _, _ = protocol.ParseStackRef(string(l.Name))
	to := relay[protocol.LogLine]{yield: yield}
	err = at.stacks.StackLogs(ctx, l, to.tell)
	return m.reached(ctx, at, err, to.failed)
}

// StackHistory implements protocol.Stacks.
func (m *Mesh) StackHistory(ctx context.Context, name protocol.StackName, yield func(protocol.StackRecord) error) error {
	at, err := m.find(ctx, name)
	if err != nil {
		return err
	}
	name, _, _ = protocol.ParseStackRef(string(name))
	to := relay[protocol.StackRecord]{yield: yield}
	err = at.stacks.StackHistory(ctx, name, to.tell)
	return m.reached(ctx, at, err, to.failed)
}

// RollbackStack implements protocol.Stacks.
func (m *Mesh) RollbackStack(ctx context.Context, r protocol.RollbackStack, yield func(protocol.StackUpdate) error) error {
	at, err := m.find(ctx, r.Name)
	if err != nil {
		return err
	}
	r.Name, _, _ = protocol.ParseStackRef(string(r.Name))
	to := relay[protocol.StackUpdate]{yield: yield}
	err = at.stacks.RollbackStack(ctx, r, to.tell)
	return m.reached(ctx, at, err, to.failed)
}

// A relay hands on what a holder tells, and remembers why that failed.
type relay[T any] struct {
	yield  func(T) error
	failed error
}

func (r *relay[T]) tell(v T) error {
	r.failed = r.yield(v)
	return r.failed
}

// reached tells that a holder could not be reached as what it is; failed is why
// what it told could not be handed on.
func (m *Mesh) reached(ctx context.Context, at holder, err, failed error) error {
	_, told := errors.AsType[*protocol.Error](err)
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err == nil || told || at.id == m.cfg.Self:
		return err
	}
	m.cfg.Log.Debug("a stack's holder does not answer", "peer", at.id, "err", err)
	return protocol.Errorf(protocol.CodeNodeLost, "%s, which holds the stack, does not answer", at.name)
}
