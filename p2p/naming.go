package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/protocol"
)

// Frames about names, and the Mesh's methods for them.

// NameOf returns the name that a connected device holds. It is empty for other
// devices, and for one whose claimed name another device holds.
func (m *Mesh) NameOf(id protocol.PeerID) string {
	p, err := peer.Decode(string(id))
	if err != nil {
		return ""
	}
	if claim := m.members.claimedNameOf(p); claim != "" && m.names.holder(claim) == p {
		return claim
	}
	return ""
}

// Conflicts returns the connected devices whose claimed name another device
// holds.
func (m *Mesh) Conflicts() (all []Conflict) {
	for _, p := range m.members.list() {
		if p.Name == p.ClaimedName {
			continue
		}
		c := Conflict{Name: p.ClaimedName, Claimant: p.ID, Shown: p.Name, Address: p.Address}
		if holder := m.names.holder(p.ClaimedName); holder != "" {
			c.Holder = peerID(holder)
		}
		all = append(all, c)
	}
	return all
}

// Copies returns the devices that were lately seen to run with a copy of another's
// state folder.
func (m *Mesh) Copies() []Copy { return m.diagnostics.seenCopies() }

// NamesFull reports whether so many names have a holder that newcomers get none.
func (m *Mesh) NamesFull() bool { return m.names.full() }

// Forget frees a name whose holder is no more, on this device at once. Others are told,
// and accept it once they have not seen the holder for an hour. It is a *protocol.Error
// where nobody has the name, or its holder is connected.
func (m *Mesh) Forget(name string) error {
	if holder := m.names.holder(name); holder != "" && m.members.claimedNameOf(holder) == name {
		return protocol.Errorf(protocol.CodeInvalid, "%s is connected under that name, as %s; end it there first, or start one of the two with another --name", name, holder)
	}
	p, err := m.names.forget(name)
	switch {
	case errors.Is(err, errOwnName):
		return protocol.Errorf(protocol.CodeInvalid, "%s is this device's own name; start it with another --name", name)
	case errors.Is(err, errNoHolder):
		return protocol.Errorf(protocol.CodeNotFound, "no device has the name %s; see 'hearth nodes'", name)
	case err != nil:
		return fmt.Errorf("forget %s: %w", name, err)
	}
	m.cfg.Log.Info("a name is free, as this device's owner said", "name", name, "holder", p.ID)
	if l := m.live.Load(); l != nil {
		l.detector.reassignName(name)
		l.detector.sendForgotten()
	}
	return nil
}

// reassignName gives a free name to its earliest connected claimant, and tells
// it.
func (d *detector) reassignName(name string) {
	ids := d.members.claimants(name)
	if len(ids) > 0 {
		d.names.pinName(name, ids[0])
	}
	d.members.queueRenamed(ids)
	for _, id := range ids {
		if c := d.members.conn(id); c != nil {
			if w := d.monitorOf(c); w != nil {
				go w.send(frameName, w.nameHolder())
			}
		}
	}
}

// repeatForgotten sends the forgotten names every forgetInterval until ctx
// ends. A device refuses them while it has seen the holder lately.
func (d *detector) repeatForgotten(ctx context.Context) {
	tick := time.NewTicker(forgetInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.sendForgotten()
		case <-ctx.Done():
			return
		}
	}
}

func (d *detector) sendForgotten() {
	if body := d.names.forgottenBody(); body != nil {
		for _, w := range d.all() {
			go w.send(frameForgotten, body)
		}
	}
}

// sendNames sends the names forgotten here. If another device holds the other
// side's name, it sends the holder too.
func (m *monitor) sendNames() {
	if rival := m.nameHolder(); len(rival) > 0 {
		m.send(frameName, rival)
	}
	if body := m.detector.names.forgottenBody(); body != nil {
		m.send(frameForgotten, body)
	}
}

// nameHolder is the body of a frameName: the holder of the other side's name;
// empty if the other side holds it, or nobody does.
func (m *monitor) nameHolder() []byte {
	if holder := m.detector.names.holder(m.frames.member.name); holder != m.conn.RemotePeer() {
		return []byte(holder)
	}
	return nil
}

// handleName notes whose this device's name is for the other side.
func (m *monitor) handleName(body []byte) {
	if _, err := peer.IDFromBytes(body); err == nil || len(body) == 0 {
		m.detector.members.setRival(m.conn, peer.ID(body))
	}
}

// handleForgotten frees the names that the owner of the other side forgot, where nothing
// speaks against it.
func (m *monitor) handleForgotten(body []byte) {
	pins, err := parseForgotten(body)
	if err != nil {
		m.detector.gossip.countDrop("malformed")
		return
	}
	for _, p := range pins {
		if m.detector.members.claimedNameOf(p.ID) != p.Name && m.detector.names.acceptForgotten(p) {
			m.detector.log.Info("a name is free, as the owner of another device said", "name", p.Name, "holder", p.ID, "by", m.conn.RemotePeer())
			m.detector.reassignName(p.Name)
		}
	}
}

// admitStart reports whether to admit a connection. It refuses a second device
// with the same ID while the first one answers. After a restart the old
// connection no longer answers.
func (d *detector) admitStart(c *memberConn) (other string, ok bool) {
	old := d.members.conn(c.RemotePeer())
	if old == nil {
		return "", true
	}
	w := d.monitorOf(old)
	if w == nil || w.frames.member.start == c.start || !w.probe() {
		return "", true
	}
	first, second := w.frames.member.raw.RemoteAddr().String(), c.raw.RemoteAddr().String()
	d.diagnostics.noteCopy(c.RemotePeer(), second, first)
	go w.send(frameCopy, copyBody(false, second))
	return first, false
}
