package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocsAreOfTheFigures: the pictures and tables in docs are those of docs/growth.json.
func TestDocsAreOfTheFigures(t *testing.T) {
	const folder, remedy = "../../docs", "run make plot"
	r, err := readGrowth(filepath.Join(folder, "growth.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range r.pictures() {
		if got, err := os.ReadFile(filepath.Join(folder, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not of docs/growth.json (%v): %s", name, err, remedy)
		}
	}
	doc, err := os.ReadFile(filepath.Join(folder, growthDocument))
	if err != nil {
		t.Fatal(err)
	}
	if want, err := r.into(doc); err != nil || !bytes.Equal(doc, want) {
		t.Errorf("the tables of docs/%s are not of docs/growth.json (%v): %s", growthDocument, err, remedy)
	}
	for _, c := range charts {
		if !strings.Contains(string(doc), "("+c.file+".svg)") {
			t.Errorf("docs/%s does not show %s.svg", growthDocument, c.file)
		}
	}
}

// TestEveryCurveIsTaken: each chart's curves exist.
func TestEveryCurveIsTaken(t *testing.T) {
	known := growthReport{Curves: curves()}
	for _, c := range charts {
		if n := len(known.find(c.along, c.keys)); n != len(c.keys) {
			t.Errorf("%s: %d curves of %d", c.file, n, len(c.keys))
		}
	}
}

// TestDraw: a picture is XML, its points are in its area, and what is zero where the scale has none is named.
func TestDraw(t *testing.T) {
	c := chart{title: "A < B", along: alongFlows, y: "ms", logY: true}
	picture := c.draw([]curve{
		{Title: "one", X: []int{10000, 2000000}, Y: []float64{3, 400}, Low: []float64{2, 399}, High: []float64{4, 500}},
		{Title: "none", X: []int{10000, 2000000}, Y: []float64{0, 0}, Low: []float64{0, 0}, High: []float64{0, 0}},
	})
	circles := 0
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := token.(xml.StartElement)
		if !ok || e.Name.Local != "circle" {
			continue
		}
		circles++
		var x, y float64
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "cx":
				_, _ = fmt.Sscan(a.Value, &x)
			case "cy":
				_, _ = fmt.Sscan(a.Value, &y)
			}
		}
		if x < plotLeft || x > plotRight || y < legendTop || y > legendTop+2*legendPitch+plotHeight {
			t.Errorf("a point at %v, %v", x, y)
		}
	}
	if circles != 2 || !bytes.Contains(picture, []byte("none: 0.00 throughout")) || bytes.Contains(picture, []byte("NaN")) {
		t.Errorf("%d points: %s", circles, picture)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		s    scale
		want string
	}{
		{scale{low: 10000, high: 2000000, log: true}, "[10k 20k 50k 100k 200k 500k 1M 2M]"},
		{scale{low: 1, high: 100000, log: true}, "[1 10 100 1000 10k 100k]"},
		{scale{low: 0, high: 7}, "[0 1 2 3 4 5 6 7]"},
		{scale{low: 1, high: 8}, "[1 2 3 4 5 6 7 8]"},
		{scale{low: 0, high: 0.3}, "[0 0.05 0.1 0.15 0.2 0.25 0.3]"},
	} {
		var got []string
		for _, v := range c.s.ticks() {
			got = append(got, short(v))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%v: %v, want %s", c.s, got, c.want)
		}
	}
}

func TestScale(t *testing.T) {
	s := scale{from: 100, to: 200, log: true}
	for _, v := range []float64{0, 10, 1000} {
		s.hold(v)
	}
	if at := s.at(100); math.Abs(at-150) > 1e-9 {
		t.Errorf("the middle is at %v", at)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{7: "7", 1000: "1,000", 2000000: "2,000,000"} {
		if s := thousands(n); s != want {
			t.Errorf("%d: %s", n, s)
		}
	}
}
