package api

import "github.com/hearth-edge/hearth/protocol"

// Decision is one placement in `hearth explain --json`; the keys are stable.
type Decision struct {
	LevelMS    float64     `json:"level_ms"`
	Places     float64     `json:"places"`
	Candidates []Candidate `json:"candidates"`
	Unnamed    int         `json:"unnamed,omitempty"`
}

// Candidate is one node of a placement: ranked, or left out for Excluded.
type Candidate struct {
	Node       protocol.PeerID `json:"node"`
	Name       string          `json:"name"`
	Self       bool            `json:"self"`
	Score      float64         `json:"score"`
	EstimateMS float64         `json:"estimate_ms"`
	WorkMS     float64         `json:"work_ms"`
	NetworkMS  float64         `json:"network_ms"`
	ColdMS     float64         `json:"cold_ms"`
	Chance     float64         `json:"chance"`
	Chosen     bool            `json:"chosen"`
	Guess      bool            `json:"guess"`
	Code       string          `json:"code,omitempty"`
	Excluded   string          `json:"excluded,omitempty"`
}

// NewDecisions returns the placements of a request, in their order.
func NewDecisions(ds []protocol.Decision) []Decision {
	out := make([]Decision, 0, len(ds))
	for _, d := range ds {
		j := Decision{LevelMS: milliseconds(d.Level), Places: d.Places, Candidates: []Candidate{}, Unnamed: d.Unnamed}
		for _, c := range d.Candidates {
			k := Candidate{
				Node: c.Node, Name: c.Name, Self: c.Self, Score: c.Score, EstimateMS: milliseconds(c.Estimate), WorkMS: milliseconds(c.Work),
				NetworkMS: milliseconds(c.Network), ColdMS: milliseconds(c.Cold), Chance: c.Chance, Chosen: c.Chosen, Excluded: c.Excluded, Guess: c.Guess,
			}
			if c.Code != protocol.CodeNone {
				k.Code = c.Code.String()
			}
			j.Candidates = append(j.Candidates, k)
		}
		out = append(out, j)
	}
	return out
}
