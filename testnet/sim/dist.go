package main

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// A Dist is a distribution of numbers: see the package comment.
type Dist struct {
	Kind   string    `json:"dist"`
	Mean   float64   `json:"mean"`
	Sigma  float64   `json:"sigma"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"`
}

// most bounds every number of a scenario.
const most = 1e6

func finite(x, low, high float64) bool { return x >= low && x <= high }

// check returns what is wrong with d, whose numbers must be at least low.
func (d *Dist) check(where string, low, high float64) error {
	within := func(name string, x float64) error {
		if !finite(x, low, high) {
			return fmt.Errorf("%s: %s is %v, and must be from %v to %v", where, name, x, low, high)
		}
		return nil
	}
	switch d.Kind {
	case "fixed", "exp":
		return within("mean", d.Mean)
	case "lognormal":
		if !finite(d.Sigma, 0, 4) {
			return fmt.Errorf("%s: sigma is %v, and must be from 0 to 4", where, d.Sigma)
		}
		return within("mean", d.Mean)
	case "uniform", "loguniform":
		if err := within("min", d.Min); err != nil {
			return err
		}
		if d.Max < d.Min {
			return fmt.Errorf("%s: max is %v, below min, which is %v", where, d.Max, d.Min)
		}
		return within("max", d.Max)
	case "choice":
		if len(d.Values) == 0 || len(d.Values) > 1000 {
			return fmt.Errorf("%s: %d values, and there must be from 1 to 1000", where, len(d.Values))
		}
		for _, v := range d.Values {
			if err := within("a value", v); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("%s: dist is %q, and must be fixed, exp, lognormal, uniform, loguniform or choice", where, d.Kind)
}

// draw returns a number of the distribution.
func (d *Dist) draw(rng *rand.Rand) float64 {
	switch d.Kind {
	case "exp":
		return d.Mean * rng.ExpFloat64()
	case "lognormal":
		// The mean of exp(σ·N) is exp(σ²/2).
		return d.Mean * math.Exp(d.Sigma*rng.NormFloat64()-d.Sigma*d.Sigma/2)
	case "uniform":
		return d.Min + (d.Max-d.Min)*rng.Float64()
	case "loguniform":
		return d.Min * math.Pow(d.Max/d.Min, rng.Float64())
	case "choice":
		return d.Values[rng.IntN(len(d.Values))]
	}
	return d.Mean
}

// mean returns the mean of the distribution.
func (d *Dist) mean() float64 {
	switch d.Kind {
	case "uniform":
		return (d.Min + d.Max) / 2
	case "loguniform":
		if d.Max == d.Min {
			return d.Min
		}
		return (d.Max - d.Min) / math.Log(d.Max/d.Min)
	case "choice":
		sum := 0.0
		for _, v := range d.Values {
			sum += v
		}
		return sum / float64(len(d.Values))
	}
	return d.Mean
}
