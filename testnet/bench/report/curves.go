package report

import (
	"bytes"
	"fmt"
	"math"
	"slices"
)

// A curve's measures, in pixels.
const (
	curveRow  = 240 // of two curves side by side
	curveHigh = 150
	curveWide = 440
)

// A curve is one figure over the size of the mesh.
type curve struct {
	name    string
	figures []*Figure
}

// curves returns what was measured in meshes of several sizes.
func (r *Report) curves() []curve {
	var all []curve
	for _, f := range r.Figures {
		name := f.Group + ": " + f.Name + ", " + f.Unit
		i := slices.IndexFunc(all, func(c curve) bool { return c.name == name })
		if i < 0 {
			i, all = len(all), append(all, curve{name: name})
		}
		if f.Nodes > 0 && f.Stats.Count > 0 {
			all[i].figures = append(all[i].figures, f)
		}
	}
	return slices.DeleteFunc(all, func(c curve) bool { return len(c.figures) < 3 })
}

func (c curve) draw(b *bytes.Buffer) {
	high := 0.0
	first, last := c.figures[0], c.figures[len(c.figures)-1]
	for _, f := range c.figures {
		high = max(high, f.Stats.P95)
		if f.Reference != nil {
			high = max(high, f.Reference.Stats.Median)
		}
	}
	high = max(high, 1e-9) * 1.05
	from, span := math.Log(float64(first.Nodes)), math.Log(float64(last.Nodes)/float64(first.Nodes))
	x := func(n int) float64 { return (math.Log(float64(n)) - from) / span * curveWide }
	y := func(v float64) float64 { return 20 + curveHigh*(1-v/high) }
	text(b, 0, 8, `font-weight="bold"`, c.name)
	for _, v := range []float64{0, high / 2, high} {
		line(b, 0, y(v), curveWide, y(v), `stroke="#ddd"`)
		text(b, -6, y(v)+4, `text-anchor="end" fill="#666"`, short(v))
	}
	for _, f := range c.figures {
		text(b, x(f.Nodes), curveHigh+36, `text-anchor="middle" fill="#666"`, fmt.Sprint(f.Nodes))
		for _, l := range f.Limits {
			if l.Of == "median" && l.Bound <= high {
				line(b, x(f.Nodes)-14, y(l.Bound), x(f.Nodes)+14, y(l.Bound), `stroke="`+bound+`" stroke-dasharray="3,2"`)
			}
		}
	}
	path := func(attributes string, value func(*Figure) (float64, bool)) {
		fmt.Fprintf(b, `<polyline fill="none" %s points="`, attributes)
		for _, f := range c.figures {
			if v, ok := value(f); ok {
				fmt.Fprintf(b, "%.1f,%.1f ", x(f.Nodes), y(v))
			}
		}
		fmt.Fprintln(b, `"/>`)
	}
	path(`stroke="`+ours+`" stroke-width="2.5"`, func(f *Figure) (float64, bool) { return f.Stats.Median, true })
	path(`stroke="`+ours+`" opacity="0.4"`, func(f *Figure) (float64, bool) { return f.Stats.P95, true })
	path(`stroke="`+others+`" stroke-width="1.5"`, func(f *Figure) (float64, bool) {
		if f.Reference == nil {
			return 0, false
		}
		return f.Reference.Stats.Median, true
	})
}
