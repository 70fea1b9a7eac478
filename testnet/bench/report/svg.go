package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
)

// The drawing's measures, in pixels.
const (
	width     = 1040
	top       = 70
	row       = 34 // of the distribution of one figure
	nameWidth = 330
	plotLeft  = 350
	plotWidth = 560
	curveRow  = 240 // of two curves side by side
	curveHigh = 150
	curveWide = 400
	mostTicks = 200 // of one distribution
)

// The colours of ours, of the reference and of limits.
const ours, others, bound = "#d1495b", "#00798c", "#555555"

// SVG draws the report: for each figure with more than one sample its
// distribution over that of its reference, and for what was measured in meshes of
// several sizes how it grows.
func (r *Report) SVG() []byte {
	var b bytes.Buffer
	var spread []*Figure
	for _, f := range r.Figures {
		if len(f.Samples) > 1 && f.Stats.Max > 0 {
			spread = append(spread, f)
		}
	}
	curves := r.curves()
	height := top + row*len(spread) + 50 + curveRow*((len(curves)+1)/2)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11" fill="#222">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	text(&b, 20, 30, `font-size="18"`, "What hearth costs and how fast it is")
	text(&b, 20, 50, `fill="#666"`, fmt.Sprintf("%s, %d cores, load %.1f to %.1f. Ours red, the reference blue, limits dashed; "+
		"samples are ticks, p5 to p95 a bar, the median bold", r.Machine.Processor, r.Machine.Cores, r.Machine.Load[0], r.Machine.Load[1]))
	for i, f := range spread {
		fmt.Fprintf(&b, `<g transform="translate(0,%d)">`+"\n", top+i*row)
		f.distribution(&b)
		fmt.Fprintln(&b, "</g>")
	}
	for i, c := range curves {
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", 60+(i%2)*(curveWide+100), top+row*len(spread)+50+(i/2)*curveRow)
		c.draw(&b)
		fmt.Fprintln(&b, "</g>")
	}
	fmt.Fprintln(&b, "</svg>")
	return b.Bytes()
}

// text writes escaped text.
func text(b *bytes.Buffer, x, y float64, attributes, s string) {
	fmt.Fprintf(b, `<text x="%.1f" y="%.1f" %s>`, x, y, attributes)
	// A bytes.Buffer takes all.
	_ = xml.EscapeText(b, []byte(s))
	fmt.Fprintln(b, "</text>")
}

func line(b *bytes.Buffer, x1, y1, x2, y2 float64, attributes string) {
	fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, attributes)
}

// distribution draws the samples along a line from 0 to the largest that counts.
func (f *Figure) distribution(b *bytes.Buffer) {
	high := f.Stats.P99
	if f.Reference != nil {
		high = max(high, f.Reference.Stats.P99)
	}
	for _, l := range f.Limits {
		if l.Of == "median" || l.Of == "p99" {
			high = max(high, l.Bound)
		}
	}
	high *= 1.05
	x := func(v float64) float64 { return plotLeft + min(v/high, 1)*plotWidth }
	text(b, nameWidth, 19, `text-anchor="end"`, f.title())
	line(b, plotLeft, 30, plotLeft+plotWidth, 30, `stroke="#ddd"`)
	ticks := func(samples []float64, s Stats, y float64, colour string) {
		for i := 0; i < len(samples); i += 1 + len(samples)/mostTicks {
			v := samples[i]
			line(b, x(v), y, x(v), y+9, `stroke="`+colour+`" opacity="0.35"`)
		}
		low := Summarise(samples)
		sorted := slices.Sorted(slices.Values(samples))
		low.Min = sorted[len(sorted)/20]
		line(b, x(low.Min), y+4.5, x(s.P95), y+4.5, `stroke="`+colour+`" stroke-width="3"`)
		line(b, x(s.Median), y-1, x(s.Median), y+10, `stroke="`+colour+`" stroke-width="3"`)
	}
	ticks(f.Samples, f.Stats, 6, ours)
	if f.Reference != nil && len(f.Reference.Samples) > 0 {
		ticks(f.Reference.Samples, f.Reference.Stats, 18, others)
	}
	for _, l := range f.Limits {
		if l.Of == "median" || l.Of == "p99" {
			line(b, x(l.Bound), 2, x(l.Bound), 30, `stroke="`+bound+`" stroke-dasharray="3,2"`)
		}
	}
	text(b, plotLeft+plotWidth+10, 19, "", fmt.Sprintf("%s of %s %s", short(f.Stats.Median), short(high), f.Unit))
}

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
	last := c.figures[len(c.figures)-1]
	for _, f := range c.figures {
		high = max(high, f.Stats.P95)
		if f.Reference != nil {
			high = max(high, f.Reference.Stats.Median)
		}
	}
	high = max(high, 1e-9) * 1.05
	x := func(n int) float64 { return math.Log(float64(n)) / math.Log(float64(last.Nodes)) * curveWide }
	y := func(v float64) float64 { return 20 + curveHigh*(1-v/high) }
	text(b, 0, 8, `font-weight="bold"`, c.name+" (median, and p95 pale)")
	for _, v := range []float64{0, high / 2, high} {
		line(b, 0, y(v), curveWide, y(v), `stroke="#ddd"`)
		text(b, -6, y(v)+4, `text-anchor="end" fill="#666"`, short(v))
	}
	for _, f := range c.figures {
		text(b, x(f.Nodes), curveHigh+36, `text-anchor="middle" fill="#666"`, fmt.Sprint(f.Nodes))
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
