package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A link says what happens to packets, each way.
type link struct {
	delay, jitter time.Duration
	loss          float64
	rate          int64
}

// The packet queues of the two ways.
const (
	queueIn  = 7711
	queueOut = 7712
)

// serveLink makes the network interface's link be as l says until SIGTERM. It
// holds packets back in queues of the kernel's packet filter and never changes
// them. Should it be killed, packets pass as ever (--queue-bypass).
func serveLink(nic string, l link) error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	failed := make(chan error, 4)
	var ways []*way
	for _, number := range []uint16{queueIn, queueOut} {
		q, err := openQueue(number)
		if err != nil {
			return err
		}
		w := &way{link: l, queue: q, held: make(chan heldPacket, queueLength)}
		ways = append(ways, w)
		go func() { failed <- w.receive() }() // these end with the process
		go func() { failed <- w.release() }()
	}
	clearRules(nic)
	err := setRules(nic)
	defer clearRules(nic)
	if err != nil {
		return err
	}
	fmt.Println("READY")
	select {
	case err = <-failed:
	case <-end:
	}
	// What is held now is let go at once, so that ending it loses nothing.
	clearRules(nic)
	for _, w := range ways {
		w.open.Store(true)
		for w.waiting.Load() > 0 && len(failed) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return err
}

// A way is one direction of a link.
type way struct {
	link    link
	queue   *queue
	held    chan heldPacket // in the order in which they came
	waiting atomic.Int64    // packets without a verdict
	open    atomic.Bool     // nothing is held back any more
}

type heldPacket struct {
	id  uint32
	due time.Time
}

// receive decides what becomes of each packet when it comes.
func (w *way) receive() error {
	var free time.Time // when the link has sent all that came before
	for {
		packets, err := w.queue.next()
		if err != nil {
			return err
		}
		now := time.Now()
		for _, p := range packets {
			if rand.Float64() < w.link.loss {
				if err := w.queue.verdict(p.id, false); err != nil {
					return err
				}
				continue
			}
			if free.Before(now) {
				free = now
			}
			if w.link.rate > 0 {
				free = free.Add(time.Duration(float64(p.size) / float64(w.link.rate) * float64(time.Second)))
			}
			jitter := time.Duration((2*rand.Float64() - 1) * float64(w.link.jitter))
			w.waiting.Add(1)
			w.held <- heldPacket{p.id, free.Add(w.link.delay + jitter)}
		}
	}
}

// release lets packets go when they are due, in order.
func (w *way) release() error {
	for p := range w.held {
		for wait := time.Until(p.due); wait > 0 && !w.open.Load(); wait = time.Until(p.due) {
			time.Sleep(min(wait, 10*time.Millisecond))
		}
		if err := w.queue.verdict(p.id, true); err != nil {
			return err
		}
		w.waiting.Add(-1)
	}
	return nil
}

// rules are the arguments of iptables that send all packets through the queues.
func rules(nic string) [][]string {
	return [][]string{
		{"PREROUTING", "-i", nic, "-j", "NFQUEUE", "--queue-bypass", "--queue-num", strconv.Itoa(queueIn)},
		{"POSTROUTING", "-o", nic, "-j", "NFQUEUE", "--queue-bypass", "--queue-num", strconv.Itoa(queueOut)},
	}
}

// filters are the packet filters of the address families that there are.
func filters() []string {
	if _, err := os.Stat("/proc/net/if_inet6"); errors.Is(err, os.ErrNotExist) {
		return []string{"iptables"}
	}
	return []string{"iptables", "ip6tables"}
}

func setRules(nic string) error {
	for _, filter := range filters() {
		for _, rule := range rules(nic) {
			if err := table(filter, append([]string{"-A"}, rule...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// clearRules removes what setRules set, now or in a process that was killed.
func clearRules(nic string) {
	for _, filter := range filters() {
		for _, rule := range rules(nic) {
			for table(filter, append([]string{"-D"}, rule...)) == nil {
			}
		}
	}
}

func table(filter string, args []string) error {
	args = append([]string{"-w", "-t", "mangle"}, args...)
	if out, err := exec.Command(filter, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", filter, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
