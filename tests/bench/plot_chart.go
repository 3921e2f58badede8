package main

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// chart is one picture: curves over flows, which are on a logarithmic scale, or over peers.
type chart struct {
	file, along, title string
	y                  string // what the vertical axis shows
	logY               bool
	keys               []string // of curves, in the order of the legend
}

// Pixels of a picture.
const (
	pictureWidth           = 760
	plotLeft, plotRight    = 72, 740
	plotHeight             = 320
	legendTop, legendPitch = 46, 20
)

// style is for light and for dark backgrounds. Curves differ by their dashes, too.
const style = `<style>
.back{fill:#fff}.ink{fill:#1f2328}.grid{stroke:#d1d9e0}.axis{stroke:#59636e}
text{font:13px system-ui,sans-serif}.title{font-size:16px;font-weight:600}
polyline,.key,.span{fill:none;stroke-width:2}.span{stroke-width:1;opacity:.6}
@media(prefers-color-scheme:dark){.back{fill:#0d1117}.ink{fill:#e6edf3}.grid{stroke:#30363d}.axis{stroke:#8b949e}}
</style>
`

var (
	colours = []string{"#3b82f6", "#e8710a", "#10a37f", "#b569d4", "#d4a012", "#e5484d"}
	dashes  = []string{"none", "7 4", "2 3", "10 3 2 3", "4 2", "1 5"}
)

// draw makes the picture. A curve that is zero throughout is named so and not drawn where the scale is logarithmic.
func (c *chart) draw(curves []curve) []byte {
	top := legendTop + legendPitch*len(curves)
	p := &pen{
		x: scale{from: plotLeft, to: plotRight, log: c.along == alongFlows},
		y: scale{from: float64(top + plotHeight), to: float64(top), log: c.logY},
	}
	p.fit(curves)
	fmt.Fprintf(&p.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", pictureWidth, top+plotHeight+52, html.EscapeString(c.title))
	p.b.WriteString(style)
	fmt.Fprintf(&p.b, `<rect class="back" width="100%%" height="100%%"/>`+"\n")
	p.text(plotLeft, 26, "start", "title", c.title)
	p.axes(c)
	for i, one := range curves {
		p.curve(i, &one)
	}
	p.b.WriteString("</svg>\n")
	return p.b.Bytes()
}

// pen draws a picture.
type pen struct {
	b    bytes.Buffer
	x, y scale
}

// fit makes the scales hold all curves.
func (p *pen) fit(curves []curve) {
	for _, c := range curves {
		for i := range c.X {
			p.x.hold(float64(c.X[i]))
			p.y.hold(c.Low[i])
			p.y.hold(c.High[i])
		}
	}
	p.y.round()
}

func (p *pen) text(x, y float64, anchor, class, text string) {
	fmt.Fprintf(&p.b, `<text x="%.1f" y="%.1f" text-anchor="%s" class="ink %s">%s</text>`+"\n", x, y, anchor, class, html.EscapeString(text))
}

func (p *pen) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&p.b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func (p *pen) axes(c *chart) {
	for _, v := range p.x.ticks() {
		at := p.x.at(v)
		p.line("grid", at, p.y.from, at, p.y.to)
		p.text(at, p.y.from+18, "middle", "", short(v))
	}
	for _, v := range p.y.ticks() {
		at := p.y.at(v)
		p.line("grid", plotLeft, at, plotRight, at)
		p.text(plotLeft-8, at+4, "end", "", short(v))
	}
	p.line("axis", plotLeft, p.y.from, plotRight, p.y.from)
	p.line("axis", plotLeft, p.y.from, plotLeft, p.y.to)
	p.text((plotLeft+plotRight)/2, p.y.from+40, "middle", "", axisTitles[c.along])
	middle := (p.y.from + p.y.to) / 2
	fmt.Fprintf(&p.b, `<text x="18" y="%.1f" transform="rotate(-90 18 %.1f)" text-anchor="middle" class="ink">%s</text>`+"\n", middle, middle, html.EscapeString(c.y))
}

// curve draws the i-th: its line in the legend, its points, and how far the rounds were apart.
func (p *pen) curve(i int, c *curve) {
	look := fmt.Sprintf(`stroke="%s"`, colours[i%len(colours)])
	dash := fmt.Sprintf(`stroke-dasharray="%s"`, dashes[i%len(dashes)])
	y := float64(legendTop + legendPitch*i)
	name, line := c.Title, ""
	for j := range c.X {
		if !p.y.shows(c.Y[j]) {
			continue
		}
		x := p.x.at(float64(c.X[j]))
		line += fmt.Sprintf("%.1f,%.1f ", x, p.y.at(c.Y[j]))
		if p.y.shows(c.Low[j]) {
			fmt.Fprintf(&p.b, `<path class="span" %s d="M%.1f %.1fV%.1f"/>`+"\n", look, x, p.y.at(c.Low[j]), p.y.at(c.High[j]))
		}
		fmt.Fprintf(&p.b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, p.y.at(c.Y[j]), colours[i%len(colours)])
	}
	if line == "" {
		name += ": 0.00 throughout"
	} else {
		fmt.Fprintf(&p.b, `<polyline %s %s points="%s"/>`+"\n", look, dash, line[:len(line)-1])
	}
	fmt.Fprintf(&p.b, `<path class="key" %s %s d="M%d %.1fh34"/>`+"\n", look, dash, plotLeft, y)
	p.text(plotLeft+44, y+4, "start", "", name)
}

// scale maps values to pixels.
type scale struct {
	low, high, from, to float64
	log, any            bool
}

func (s *scale) shows(v float64) bool { return v > 0 || !s.log }

func (s *scale) hold(v float64) {
	if !s.shows(v) {
		return
	}
	if !s.any {
		s.low, s.high, s.any = v, v, true
	}
	s.low, s.high = min(s.low, v), max(s.high, v)
}

// round moves the ends to ticks; a linear scale begins at zero.
func (s *scale) round() {
	if !s.any {
		s.low, s.high = 1, 10
	}
	if s.log {
		s.low, s.high = math.Pow(10, math.Floor(math.Log10(s.low))), math.Pow(10, math.Ceil(math.Log10(s.high)))
		if s.low == s.high {
			s.high *= 10
		}
		return
	}
	step := niceStep(s.high)
	s.low, s.high = 0, step*math.Ceil(s.high/step)
}

func (s *scale) at(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		v, low, high = math.Log10(v), math.Log10(low), math.Log10(high)
	}
	if high == low {
		return s.from
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// ticks of a logarithmic scale are 1, 2 and 5 times a power of ten, if they are not too many; of a linear one, multiples of a step.
func (s *scale) ticks() (out []float64) {
	if !s.log {
		step := niceStep(s.high)
		for i := math.Ceil(s.low / step); i*step <= s.high*1.0001; i++ {
			out = append(out, i*step)
		}
		return out
	}
	factors := []float64{1, 2, 5}
	if s.high/s.low > 5000 {
		factors = factors[:1]
	}
	for e := math.Floor(math.Log10(s.low)); e <= math.Ceil(math.Log10(s.high)); e++ {
		for _, f := range factors {
			if v := f * math.Pow(10, e); v >= s.low*0.9999 && v <= s.high*1.0001 {
				out = append(out, v)
			}
		}
	}
	return out
}

// niceStep is 1, 2 or 5 times a power of ten, of which high has four to ten.
func niceStep(high float64) float64 {
	if high <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(high)))
	switch m := high / power; {
	case m >= 5:
		return power
	case m >= 2:
		return power / 2
	}
	return power / 5
}

// short writes a tick: 2M, 50k, 0.5.
func short(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
