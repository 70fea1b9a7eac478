package main

import (
	"errors"
	"fmt"
)

// number is a number of a scenario with its bounds.
type number struct {
	name         string
	x, low, high float64
}

func inRange(numbers ...number) error {
	for _, n := range numbers {
		if !finite(n.x, n.low, n.high) {
			return fmt.Errorf("%s is %v, and must be from %v to %v", n.name, n.x, n.low, n.high)
		}
	}
	return nil
}

// check returns the first thing that is wrong with s.
func (s *Scenario) check() error {
	n, l := &s.Network, &s.Load
	lists := []number{
		{"the number of services", float64(len(s.Services)), 1, 100},
		{"the number of load.bursts", float64(len(l.Bursts)), 0, maxListed},
		{"the number of churn", float64(len(s.Churn)), 0, maxListed},
		{"the length of name", float64(len(s.Name)), 1, 100},
	}
	if err := errors.Join(inRange(lists...), inRange(
		number{"warmup_s", s.WarmupS, 0, most},
		number{"duration_s", s.DurationS, 0.001, most},
		number{"replications", float64(s.Replications), 1, maxRepeats},
		number{"network.beat_s", n.BeatS, 0.01, 60},
		number{"network.quiet_beat_s", n.QuietS, 0, 60},
		number{"network.beat_per_device_s", n.DeviceS, 0, 60},
		number{"network.changes_per_beat", n.Changes, 0, 1000},
		number{"network.settle_ms", n.SettleMS, 0, 60_000},
		number{"network.delay_ms", n.DelayMS, 0, 60_000},
		number{"network.rtt_ms", n.RTTMS, 0, 60_000},
		number{"network.loss", n.Loss, 0, 0.99},
		number{"network.detect_s", n.DetectS, 0, 600},
		number{"liars.share", s.Liars.Share, 0, 1},
		number{"boasters.share", s.Boasters.Share, 0, 1},
		number{"boasters.times", s.Boasters.Times, 0.01, 100},
		number{"background.share", s.Background.Share, 0, 1},
		number{"background.cpu", s.Background.CPU, 0, 0.95},
		number{"background.on_s", s.Background.OnS, 0.01, most},
		number{"background.off_s", s.Background.OffS, 0.01, most},
		number{"load.utilisation", l.Utilisation, 0, 10},
		number{"load.rate", l.Rate, 0, most},
		number{"load.orchestrators", float64(l.Orchestrators), 0, maxNodes},
	)); err != nil {
		return err
	}
	if s.WarmupS >= s.DurationS {
		return fmt.Errorf("warmup_s is %v, and must be below duration_s, which is %v", s.WarmupS, s.DurationS)
	}
	if l.Utilisation > 0 && l.Rate > 0 {
		return errors.New("load: give utilisation or rate, not both")
	}
	if err := s.Fleet.check(); err != nil {
		return err
	}
	for i := range s.Services {
		if err := s.checkService(&s.Services[i]); err != nil {
			return err
		}
	}
	return s.checkTimes()
}

func (s *Scenario) checkService(v *Service) error {
	where := fmt.Sprintf("service %q: ", v.Name)
	err := errors.Join(
		v.Work.check(where+"work", 1e-4, most),
		inRange(
			number{where + "share", v.Share, 1e-6, most},
			number{where + "cpus", v.CPUs, 0.001, 1024},
			number{where + "memory_mib", v.MemoryMiB, 0, 1 << 24},
			number{where + "image_mib", v.ImageMiB, 0, 1 << 20},
			number{where + "endless", v.Endless, 0, 1},
		))
	if err == nil && v.Present != nil {
		err = inRange(number{where + "present", *v.Present, 0, 1})
	}
	return err
}

func (s *Scenario) checkTimes() error {
	for i, b := range s.Load.Bursts {
		if err := inRange(
			number{fmt.Sprintf("load.bursts[%d].at_s", i), b.AtS, 0, s.DurationS},
			number{fmt.Sprintf("load.bursts[%d].requests", i), float64(b.Requests), 1, maxRequests},
		); err != nil {
			return err
		}
	}
	for i, c := range s.Churn {
		where := fmt.Sprintf("churn[%d].", i)
		if err := inRange(
			number{where + "at_s", c.AtS, 0, s.DurationS}, number{where + "leave", c.Leave, 0, 1},
			number{where + "crash", c.Crash, 0, 1}, number{where + "join", c.Join, 0, 1},
		); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) check() error {
	ways := 0
	for _, given := range []bool{len(f.Kinds) > 0, len(f.Nodes) > 0, f.Speed != nil || f.Slots != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return errors.New("fleet: give one of kinds, nodes, or speed with slots")
	}
	if err := inRange(
		number{"fleet.count", float64(f.Count), 1, maxNodes},
		number{"fleet.memory_mib", f.MemoryMiB, 1, 1 << 24},
		number{"fleet.pull_mib_s", f.PullMiBS, 0.001, most},
		number{"the number of fleet.kinds", float64(len(f.Kinds)), 0, maxListed},
		number{"the number of fleet.nodes", float64(len(f.Nodes)), 0, maxListed},
	); err != nil {
		return err
	}
	if len(f.Kinds)+len(f.Nodes) == 0 {
		if f.Speed == nil || f.Slots == nil {
			return errors.New("fleet: speed and slots go together")
		}
		return errors.Join(f.Speed.check("fleet.speed", 1e-3, 1e3), f.Slots.check("fleet.slots", 1, 1024))
	}
	total := 0
	for i, k := range f.Kinds {
		if err := k.check(fmt.Sprintf("fleet.kinds[%d].", i), number{"share", k.Share, 1e-6, most}); err != nil {
			return err
		}
	}
	for i, k := range f.Nodes {
		if err := k.check(fmt.Sprintf("fleet.nodes[%d].", i), number{"count", float64(k.Count), 1, maxNodes}); err != nil {
			return err
		}
		total += k.Count
	}
	return inRange(number{"the number of nodes", float64(total), 0, maxNodes})
}

func (k *Kind) check(where string, more number) error {
	more.name = where + more.name
	return inRange(more,
		number{where + "speed", k.Speed, 1e-3, 1e3},
		number{where + "slots", float64(k.Slots), 1, 1024},
		number{where + "memory_mib", k.MemoryMiB, 0, 1 << 24},
		number{where + "the number of images", float64(len(k.Images)), 0, 100})
}
