package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// The report's measures, in pixels.
const (
	svgWidth   = 1000
	svgPanel   = 300 // the height of a scenario
	svgTop     = 70
	barsLeft   = 110
	barsWidth  = 330
	curveLeft  = 540
	curveWidth = 420
	plotHeight = 200
)

// palette gives each policy its colour, in the order of policies.
func palette(name string) string {
	colours := map[string]string{
		"oracle": "#555555", "oracle-est": "#9a9a9a", "ours": "#d1495b", "best": "#edae49", "poll-all": "#00798c",
		"power-2": "#66a182", "power-4": "#2e4057", "late": "#8d6a9f", "random": "#b5bd89",
	}
	if c, ok := colours[name]; ok {
		return c
	}
	return "#000000"
}

// barMost is the ratio at which a bar is cut, with its figure beside it.
const barMost = 3.0

// draw makes the report: for each scenario the ratios to the reference as bars,
// and the distributions of the response times.
func draw(all []*report) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="11" fill="#222">`+"\n",
		svgWidth, svgTop+svgPanel*len(all))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#ffffff"/>`+"\n")
	text(&b, 20, 30, "font-size=\"18\"", "Placement beside an all-knowing greedy scheduler")
	text(&b, 20, 50, "fill=\"#666\"", "bars: mean (full) and p99 (pale) response time as multiples of the oracle's, with 95 % confidence; "+
		"curves: share of requests that ended within a time (log scale)")
	for i, r := range all {
		fmt.Fprintf(&b, `<g transform="translate(0,%d)">`+"\n", svgTop+i*svgPanel)
		text(&b, 20, 18, `font-size="14" font-weight="bold"`, fmt.Sprintf("%s: %d nodes. %s", r.Scenario, r.Nodes, r.About))
		r.bars(&b)
		r.curves(&b)
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

func (r *report) bars(b *bytes.Buffer) {
	x := func(v float64) float64 { return barsLeft + min(v, barMost)/barMost*barsWidth }
	height := float64(plotHeight) / float64(len(r.Results))
	for _, v := range []float64{0, 1, 2, 3} {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="30" y2="%d" stroke="#ddd"/>`+"\n", x(v), x(v), 34+plotHeight)
		text(b, x(v)-3, 48+plotHeight, `fill="#666"`, fmt.Sprintf("%.0f", v))
	}
	for i := range r.Results {
		p := &r.Results[i]
		y := 34 + float64(i)*height
		text(b, barsLeft-8, y+height/2+4, `text-anchor="end"`, p.Policy)
		for k, v := range []ratio{p.MeanRatio, p.P99Ratio} {
			top := y + height*(0.1+0.42*float64(k))
			fmt.Fprintf(b, `<rect x="%d" y="%.1f" width="%.1f" height="%.1f" fill="%s" opacity="%.2f"/>`+"\n",
				barsLeft, top, x(v.Value)-barsLeft, height*0.36, palette(p.Policy), 1-0.45*float64(k))
			middle := top + height*0.18
			fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f" stroke="#222"/>`+"\n",
				x(max(0, v.Value-v.CI)), x(v.Value+v.CI), middle, middle)
			text(b, x(v.Value+v.CI)+4, middle+3.5, `font-size="9"`, fmt.Sprintf("%.2f", v.Value))
		}
	}
}

func (r *report) curves(b *bytes.Buffer) {
	low, high := math.Inf(1), 0.0
	for i := range r.Results {
		q := r.Results[i].Quantiles
		if len(q) > 0 && r.Results[i].MeanRatio.Value <= barMost {
			low, high = min(low, max(q[4], 1e-3)), max(high, q[len(q)-1])
		}
	}
	if !(low < high) {
		return
	}
	x := func(t float64) float64 {
		return curveLeft + math.Log(min(max(t, low), high)/low)/math.Log(high/low)*curveWidth
	}
	y := func(q float64) float64 { return 34 + plotHeight*(1-q) }
	for _, q := range []float64{0, 0.5, 0.95} {
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`+"\n", curveLeft, curveLeft+curveWidth, y(q), y(q))
		text(b, curveLeft-30, y(q)+4, `fill="#666"`, fmt.Sprintf("%.0f %%", 100*q))
	}
	for t := math.Pow(10, math.Ceil(math.Log10(low))); t <= high; t *= 10 {
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="34" y2="%d" stroke="#ddd"/>`+"\n", x(t), x(t), 34+plotHeight)
		text(b, x(t)-8, 48+plotHeight, `fill="#666"`, fmt.Sprintf("%g s", t))
	}
	for i := range r.Results {
		p := &r.Results[i]
		if len(p.Quantiles) == 0 {
			continue
		}
		width := 1.2
		if p.Policy == "ours" {
			width = 2.5
		}
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="%.1f" points="`, palette(p.Policy), width)
		for k, t := range p.Quantiles {
			fmt.Fprintf(b, "%.1f,%.1f ", x(t), y(float64(k+1)/100))
		}
		fmt.Fprintln(b, `"/>`)
	}
}
