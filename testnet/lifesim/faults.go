package lifesim

import (
	"time"
)

// haveFaults lets things fail for so long, one after the other and at the same
// time, and then repairs all.
func (w *world) haveFaults(span time.Duration) {
	r := w.chance("faults")
	for w.now() < span {
		pause(w.ctx, between(r, 200*time.Millisecond, 9*time.Second))
		n := w.nodes[r.IntN(len(w.nodes))]
		lasts := between(r, 100*time.Millisecond, 5*time.Second)
		if r.IntN(2) == 0 {
			lasts = between(r, 4*time.Second, 40*time.Second)
		}
		fault, repair := w.fault(r.IntN(12), n)
		if fault == "" {
			continue
		}
		w.log.say("%s, for %v", fault, lasts.Round(time.Millisecond))
		w.running.Go(func() {
			pause(w.ctx, min(lasts, max(span-w.now(), 0)+lasts%time.Second))
			w.log.say("that is over: %s", fault)
			repair()
		})
	}
	pause(w.ctx, 5*time.Second)
	for _, n := range w.nodes { // that was restarted while it shut down
		n.boot(true)
	}
}

// fault brings one about, and returns what it is and how it ends; no name where
// it makes no sense now.
func (w *world) fault(kind int, n *node) (name string, repair func()) {
	if n.id == home {
		return w.faultAtHome(kind)
	}
	l := w.links[n.id]
	switch kind {
	case 0, 1, 2:
		l.sever()
		return string(n.id) + " is cut off", l.heal
	case 3, 4, 5:
		n.halt(false)
		return string(n.id) + "'s process is killed", func() { n.boot(true) }
	case 6:
		n.leave()
		w.running.Go(func() {
			pause(w.ctx, 150*time.Millisecond)
			n.halt(false)
		})
		return string(n.id) + " shuts down", func() { n.boot(true) }
	case 7, 8:
		n.halt(true)
		return string(n.id) + " loses its power", func() { n.boot(true) }
	case 9, 10:
		n.sleep()
		return string(n.id) + " sleeps", n.wake
	}
	l.set(func() { l.lossy = true })
	return "the link to " + string(n.id) + " is bad", func() { l.set(func() { l.lossy = false }) }
}

// faultAtHome is one of the device that has the orchestrator.
func (w *world) faultAtHome(kind int) (name string, repair func()) {
	switch kind % 4 {
	case 0, 1:
		return w.crash(false)
	case 2:
		return w.crash(true)
	}
	for _, l := range w.sorted()[1:] {
		l.sever()
	}
	return "home is cut off", func() {
		for _, l := range w.sorted()[1:] {
			l.heal()
		}
	}
}

// crash ends the process of the orchestrator's device, or the device.
func (w *world) crash(power bool) (name string, repair func()) {
	if !w.powerOff() {
		return "", nil
	}
	name = "home's process is killed"
	if power {
		name = "home loses its power"
	}
	w.nodes[0].halt(power)
	return name, func() {
		w.nodes[0].boot(true)
		w.powerOn()
	}
}

// crashNow crashes the orchestrator's device for a moment.
func (w *world) crashNow() {
	r := w.chance("crash")
	if name, repair := w.crash(r.IntN(4) == 0); repair != nil {
		w.log.say("%s, in the middle of a write", name)
		pause(w.ctx, between(r, time.Millisecond, 10*time.Second))
		repair()
	}
}
