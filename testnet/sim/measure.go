package main

import (
	"math"
	"slices"

	"github.com/hearth-edge/hearth/sched"
)

// figures are what is measured of one run, or of several on average. Times are
// response times in seconds: from a request's coming to the news of its end.
type figures struct {
	Mean float64 `json:"mean_s"`
	P50  float64 `json:"p50_s"`
	P95  float64 `json:"p95_s"`
	P99  float64 `json:"p99_s"`
	// Offers (dispatches), all messages (an offer or a question, with its
	// answer, is one), and refusals, a request.
	Offers   float64 `json:"offers"`
	Messages float64 `json:"messages"`
	Refusals float64 `json:"refusals"`
	// Overload is the most executions a slot that a node had at any time.
	Overload float64 `json:"overload"`
	// GivenBack is how often a request left a node's queue unstarted, a request.
	GivenBack float64 `json:"given_back"`
	// Fairness is Jain's index of the orchestrators' mean response times: 1
	// where all are served alike.
	Fairness float64 `json:"fairness"`
	// Growth is by how much the backlog grew in the second half, as a share
	// of all slots: well above 0 means that the fleet falls behind.
	Growth float64 `json:"growth"`
	// Failed is the share of requests that no node could run, or that were
	// lost with their orchestrators.
	Failed float64 `json:"failed"`
}

// fields lists all figures, for those who treat them alike.
func (f *figures) fields() []*float64 {
	return []*float64{
		&f.Mean, &f.P50, &f.P95, &f.P99, &f.Offers, &f.Messages, &f.Refusals,
		&f.Overload, &f.GivenBack, &f.Fairness, &f.Growth, &f.Failed,
	}
}

// stableGrowth is the growth below which a run counts as stable.
const stableGrowth = 0.5

// ratio is the quotient of two policies' figures on the same random numbers.
type ratio struct {
	Value float64 `json:"value"`
	// CI is half the width of the 95 % confidence interval over replications.
	CI float64 `json:"ci95"`
}

// A result is what one policy did in one scenario.
type result struct {
	Policy string  `json:"policy"`
	About  string  `json:"about"`
	Avg    figures `json:"average"`
	CI     figures `json:"ci95"`
	Stable bool    `json:"stable"`
	// Against the reference, replication by replication.
	MeanRatio ratio `json:"mean_ratio"`
	P50Ratio  ratio `json:"p50_ratio"`
	P95Ratio  ratio `json:"p95_ratio"`
	P99Ratio  ratio `json:"p99_ratio"`
	// Quantiles of the response time at 1 %, 2 % … 99 %, of all replications.
	Quantiles []float64 `json:"quantiles_s"`
	runs      []figures
}

// A report is the outcome of one scenario.
type report struct {
	Scenario  string   `json:"scenario"`
	About     string   `json:"about"`
	Nodes     int      `json:"nodes"`
	Requests  float64  `json:"requests"` // measured ones, in a replication
	Reference string   `json:"reference"`
	Results   []result `json:"policies"`
}

// simulate runs every replication of s under each of the policies.
func simulate(s *Scenario, all []named, params sched.Params) (*report, error) {
	out := &report{Scenario: s.Name, About: s.About, Reference: reference}
	samples := make([][]float64, len(all))
	for _, p := range all {
		out.Results = append(out.Results, result{Policy: p.name, About: p.about})
	}
	for r := range s.Replications {
		pl, err := newPlan(s, r)
		if err != nil {
			return nil, err
		}
		out.Nodes = len(pl.nodes)
		for i, p := range all {
			m := newMesh(s, pl, r, p.policy, params)
			m.run()
			f, times := m.measure()
			out.Results[i].runs = append(out.Results[i].runs, f)
			samples[i] = append(samples[i], times...)
			if i == 0 {
				out.Requests += float64(len(times)) / float64(s.Replications)
			}
		}
	}
	for i := range out.Results {
		out.Results[i].sum(out.Results[0].runs, samples[i])
	}
	return out, nil
}

// measure returns the run's figures, and the response times, sorted, of what
// came after the warm-up.
func (m *mesh) measure() (figures, []float64) {
	var times []float64
	from := make(map[int][2]float64) // sum and count by orchestrator
	failed, sum := 0, 0.0
	for _, j := range m.jobs {
		switch {
		case j.endless, j.at < seconds(m.scenario.WarmupS):
		case j.failed:
			failed++
		default:
			t := j.took.Seconds()
			times = append(times, t)
			sum += t
			f := from[j.from.index]
			from[j.from.index] = [2]float64{f[0] + t, f[1] + 1}
		}
	}
	slices.Sort(times)
	n := max(1, float64(len(m.jobs)))
	slots := 0
	for _, node := range m.nodes {
		slots += node.plan.slots
	}
	return figures{
		Mean: sum / max(1, float64(len(times))), P50: quantile(times, 0.5), P95: quantile(times, 0.95), P99: quantile(times, 0.99),
		Offers: float64(m.counts.offers) / n, Messages: float64(m.counts.offers+m.counts.probes) / n,
		Refusals: float64(m.counts.refusals) / n, Overload: m.counts.overload, GivenBack: float64(m.counts.givenBack) / n, Fairness: jain(from),
		Growth: float64(m.counts.backlog[1]-m.counts.backlog[0]) / float64(slots),
		Failed: float64(failed) / max(1, float64(failed+len(times))),
	}, times
}

// quantile of sorted times; 0 of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// jain is the fairness index (Σx)²/(n·Σx²) of the orchestrators' means, of those
// with enough requests for a mean to say something.
func jain(from map[int][2]float64) float64 {
	n, sum, squares := 0.0, 0.0, 0.0
	for i := range maxNodes {
		f, ok := from[i]
		if !ok || f[1] < 5 {
			continue
		}
		x := f[0] / f[1]
		n, sum, squares = n+1, sum+x, squares+x*x
	}
	if squares == 0 {
		return 1
	}
	return sum * sum / (n * squares)
}

// sum makes the averages of the runs, and compares them with the reference's.
func (r *result) sum(ref []figures, times []float64) {
	avg, ci := r.Avg.fields(), r.CI.fields()
	for k := range avg {
		var x []float64
		for i := range r.runs {
			x = append(x, *r.runs[i].fields()[k])
		}
		*avg[k], *ci[k] = interval(x)
	}
	for k, to := range []*ratio{&r.MeanRatio, &r.P50Ratio, &r.P95Ratio, &r.P99Ratio} {
		var x []float64
		for i := range r.runs {
			if base := *ref[i].fields()[k]; base > 0 {
				x = append(x, *r.runs[i].fields()[k]/base)
			}
		}
		to.Value, to.CI = interval(x)
	}
	r.Stable = r.Avg.Growth < stableGrowth
	slices.Sort(times)
	for q := 1; q < 100; q++ {
		r.Quantiles = append(r.Quantiles, round(quantile(times, float64(q)/100)))
	}
}

// interval returns the mean of x and half the width of its 95 % confidence
// interval, by Student's t; 0 where x is too short for one.
func interval(x []float64) (mean, half float64) {
	n := float64(len(x))
	if n == 0 {
		return 0, 0
	}
	for _, v := range x {
		mean += v / n
	}
	if n < 2 {
		return mean, 0
	}
	squares := 0.0
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return mean, student(len(x)-1) * math.Sqrt(squares/(n-1)/n)
}

// student is the 97.5 % quantile of Student's t with df degrees of freedom: the
// table for few, Cornish and Fisher's expansion for more.
func student(df int) float64 {
	few := []float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228}
	if df <= len(few) {
		return few[df-1]
	}
	const z = 1.959964
	d := float64(df)
	return z + (z*z*z+z)/(4*d) + (5*z*z*z*z*z+16*z*z*z+3*z)/(96*d*d)
}

func round(x float64) float64 { return math.Round(x*1e4) / 1e4 }
