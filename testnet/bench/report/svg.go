package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"slices"
)

// The drawing's measures, in pixels.
const (
	width     = 1240
	top       = 70
	heading   = 34 // of a group
	row       = 34 // of the distribution of one figure
	nameWidth = 330
	plotLeft  = 350
	plotWidth = 560
	wordsLeft = plotLeft + plotWidth + 16
	mostTicks = 200 // of one distribution
)

// The colours of ours, of the reference, of limits, and of limits that are kept
// and not.
const ours, others, bound, kept, missed = "#d1495b", "#00798c", "#555555", "#2e7d32", "#c62828"

// SVG draws the report: for each figure with more than one sample its
// distribution over that of its reference, and for what was measured in meshes of
// several sizes how it grows.
func (r *Report) SVG() []byte {
	var body bytes.Buffer
	y, group := top, ""
	for _, f := range r.Figures {
		if len(f.Samples) < 2 || f.Stats.Max <= 0 {
			continue
		}
		if f.Group != group {
			group = f.Group
			text(&body, 20, float64(y+22), `font-size="15" font-weight="bold"`, group)
			y += heading
		}
		fmt.Fprintf(&body, `<g transform="translate(0,%d)">`+"\n", y)
		f.distribution(&body)
		fmt.Fprintln(&body, "</g>")
		y += row
	}
	if curves := r.curves(); len(curves) > 0 {
		y += 20
		text(&body, 20, float64(y+22), `font-size="15" font-weight="bold"`, "By the number of nodes (median, p95 pale, the reference blue)")
		y += heading + 20
		for i, c := range curves {
			fmt.Fprintf(&body, `<g transform="translate(%d,%d)">`+"\n", 70+(i%2)*(curveWide+140), y+(i/2)*curveRow)
			c.draw(&body)
			fmt.Fprintln(&body, "</g>")
		}
		y += curveRow * ((len(curves) + 1) / 2)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11" fill="#222">`+"\n", width, y+20)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	judged, failed := r.Missed()
	text(&b, 20, 30, `font-size="18"`, fmt.Sprintf("What hearth costs and how fast it is: %d of %d limits kept", judged-failed, judged))
	text(&b, 20, 48, `fill="#666"`, r.Machine.String())
	text(&b, 20, 64, `fill="#666"`, "Ours red, the reference blue; samples are ticks, p5 to p95 a bar, the median bold; limits on a median or p99 are dashed")
	b.Write(body.Bytes())
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
	drawn := slices.DeleteFunc(slices.Clone(f.Limits), func(l Limit) bool { return l.Of != "median" && l.Of != "p99" })
	for _, l := range drawn {
		high = max(high, l.Bound)
	}
	high *= 1.05
	x := func(v float64) float64 { return plotLeft + min(v/high, 1)*plotWidth }
	text(b, nameWidth, 19, `text-anchor="end"`, f.inMesh())
	line(b, plotLeft, 30, plotLeft+plotWidth, 30, `stroke="#ddd"`)
	text(b, plotLeft+plotWidth, 29, `text-anchor="end" font-size="8" fill="#888"`, quantity(high, f.Unit))
	strip(b, f.Samples, f.Stats, 6, ours, x)
	if f.Reference != nil && len(f.Reference.Samples) > 0 {
		strip(b, f.Reference.Samples, f.Reference.Stats, 18, others, x)
	}
	for _, l := range drawn {
		line(b, x(l.Bound), 2, x(l.Bound), 30, `stroke="`+bound+`" stroke-dasharray="3,2"`)
	}
	text(b, wordsLeft, 14, "", f.summary())
	if len(f.Limits) > 0 {
		colour, said := kept, ""
		for _, l := range f.Limits {
			said += fmt.Sprintf("%s %s: %s   ", l.Of, l, l.verdict())
			if !l.Met {
				colour = missed
			}
		}
		text(b, wordsLeft, 27, `fill="`+colour+`"`, said)
	}
}

// strip draws samples as ticks, most of them as a bar, and the median.
func strip(b *bytes.Buffer, samples []float64, s Stats, y float64, colour string, x func(float64) float64) {
	for i := 0; i < len(samples); i += 1 + len(samples)/mostTicks {
		line(b, x(samples[i]), y, x(samples[i]), y+9, `stroke="`+colour+`" opacity="0.35"`)
	}
	sorted := slices.Sorted(slices.Values(samples))
	line(b, x(sorted[len(sorted)/20]), y+4.5, x(s.P95), y+4.5, `stroke="`+colour+`" stroke-width="3"`)
	line(b, x(s.Median), y-1, x(s.Median), y+10, `stroke="`+colour+`" stroke-width="3"`)
}

// summary is the median, and what it stands beside.
func (f *Figure) summary() string {
	s := quantity(f.Stats.Median, f.Unit)
	if f.Reference != nil {
		s += fmt.Sprintf(" (%s %s)", f.Reference.Name, short(f.Reference.Stats.Median))
	}
	return s
}
