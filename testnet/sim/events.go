package main

import "time"

// event is something that happens at one moment; of two at the same moment the
// one that was scheduled first comes first.
type event struct {
	at    time.Duration
	order int
	do    func()
}

// events is a heap of what is to come, the next one first.
type events []event

func (e events) before(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].order < e[j].order
}

func (e *events) push(x event) {
	*e = append(*e, x)
	h := *e
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.before(i, up) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (e *events) pop() event {
	h := *e
	first := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h[last] = event{}
	h = h[:last]
	for i := 0; ; {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(h) && h.before(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*e = h
	return first
}

// at lets do happen at the moment t.
func (m *mesh) at(t time.Duration, do func()) {
	m.order++
	m.events.push(event{max(t, m.now), m.order, do})
}

// after lets do happen in a while; at once, where that is no time at all.
func (m *mesh) after(d time.Duration, do func()) {
	if d <= 0 {
		do()
		return
	}
	m.at(m.now+d, do)
}
