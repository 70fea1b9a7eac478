package p2p

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/hearth-edge/hearth/protocol"
)

// What devices tell each other of names, and who is called what.

// NameOf returns the name that a connected device has; empty where it is not
// connected, or where the name that it claims is another's.
func (m *Mesh) NameOf(id protocol.PeerID) string {
	p, err := peer.Decode(string(id))
	if err != nil {
		return ""
	}
	if claim := m.members.claimOf(p); claim != "" && m.names.holder(claim) == p {
		return claim
	}
	return ""
}

// Conflicts returns the connected devices that claim a name which is another's.
func (m *Mesh) Conflicts() (all []Conflict) {
	for _, p := range m.members.list() {
		if p.Name == p.Claim {
			continue
		}
		c := Conflict{Name: p.Claim, Claimant: p.ID, Shown: p.Name, Address: p.Address}
		if holder := m.names.holder(p.Claim); holder != "" {
			c.Holder = node(holder)
		}
		all = append(all, c)
	}
	return all
}

// Copies returns the devices that were lately seen to run with a copy of another's
// state folder.
func (m *Mesh) Copies() []Copy { return m.report.seenCopies() }

// NamesFull reports whether so many names have a holder that newcomers get none.
func (m *Mesh) NamesFull() bool { return m.names.full() }

// Forget frees a name whose holder is no more, on this device at once. Others are told,
// and heed it once they have not seen the holder for an hour. It is a *protocol.Error
// where nobody has the name, or its holder is connected.
func (m *Mesh) Forget(name string) error {
	if holder := m.names.holder(name); holder != "" && m.members.claimOf(holder) == name {
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
		l.pulse.freed(name)
		l.pulse.tellForgotten()
	}
	return nil
}

// freed gives a name that has no holder any more to the device that claims it and
// connected first, and says so.
func (l *liveness) freed(name string) {
	ids := l.members.claimants(name)
	if len(ids) > 0 {
		l.names.claim(name, ids[0])
	}
	l.members.renamed(ids)
	for _, id := range ids {
		if c := l.members.conn(id); c != nil {
			if w := l.of(c); w != nil {
				go w.send(frameName, w.rival())
			}
		}
	}
}

// repeatForgotten tells others from time to time which names were forgotten here,
// until ctx ends: those that saw a holder lately did not heed it.
func (l *liveness) repeatForgotten(ctx context.Context) {
	tick := time.NewTicker(forgetInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.tellForgotten()
		case <-ctx.Done():
			return
		}
	}
}

func (l *liveness) tellForgotten() {
	if body := l.names.told(); body != nil {
		for _, w := range l.all() {
			go w.send(frameForget, body)
		}
	}
}

// tellNames tells the other side which names were forgotten here, and, where its name
// is another's here, whose.
func (w *watched) tellNames() {
	if rival := w.rival(); len(rival) > 0 {
		w.send(frameName, rival)
	}
	if body := w.l.names.told(); body != nil {
		w.send(frameForget, body)
	}
}

// rival is the body of a frame that tells whose the other side's name is; empty where
// it has it, or nobody.
func (w *watched) rival() []byte {
	if holder := w.l.names.holder(w.line.member.name); holder != w.conn.RemotePeer() {
		return []byte(holder)
	}
	return nil
}

// heedName notes whose this device's name is for the other side.
func (w *watched) heedName(body []byte) {
	if _, err := peer.IDFromBytes(body); err == nil || len(body) == 0 {
		w.l.members.rivals(w.conn, peer.ID(body))
	}
}

// heedForgotten frees the names that the owner of the other side forgot, where nothing
// speaks against it.
func (w *watched) heedForgotten(body []byte) {
	pins, err := parseForgotten(body)
	if err != nil {
		w.l.gossip.drop("malformed")
		return
	}
	for _, p := range pins {
		if w.l.members.claimOf(p.ID) != p.Name && w.l.names.heed(p) {
			w.l.log.Info("a name is free, as the owner of another device said", "name", p.Name, "holder", p.ID, "by", w.conn.RemotePeer())
			w.l.freed(p.Name)
		}
	}
}

// admit reports whether a connection may be: not where another device with the same ID,
// but of another start, is connected and answers. That one came first. A device that
// was started anew has no connection left that answers.
func (l *liveness) admit(c *memberConn) (other string, ok bool) {
	old := l.members.conn(c.RemotePeer())
	if old == nil {
		return "", true
	}
	w := l.of(old)
	if w == nil || w.line.member.start == c.start || !w.lives() {
		return "", true
	}
	first, second := w.line.member.raw.RemoteAddr().String(), c.raw.RemoteAddr().String()
	l.report.copied(c.RemotePeer(), second, first)
	go w.send(frameCopy, copyBody(false, second))
	return first, false
}
