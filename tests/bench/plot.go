package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// The figures of growth as pictures and tables: bench plot. Everything in docs that comes from docs/growth.json is made
// here, and a test compares it.

// charts are the pictures.
var charts = []chart{
	{file: "growth-cpu", along: alongFlows, title: "CPU per event", y: "microseconds of CPU per event",
		keys: []string{"fill-active", "churn-active", "fill-warm", "churn-warm", "fill-hot", "churn-hot"}},
	{file: "growth-memory", along: alongFlows, title: "Memory", y: "megabytes in use (RSS)", logY: true,
		keys: []string{"rss-active", "rss-warm", "rss-hot"}},
	{file: "growth-takeover", along: alongFlows, title: "Takeover", y: "milliseconds", logY: true,
		keys: []string{"commit", "takenover", "takeover"}},
	{file: "growth-sync", along: alongFlows, title: "First sync, and start", y: "milliseconds", logY: true,
		keys: []string{"sync-hot", "sync-warm", "start"}},
	{file: "growth-peers", along: alongPeers, title: "CPU per event, by peers", y: "microseconds of CPU per event",
		keys: []string{"fill-active-unicast", "fill-active", "fill-standby-unicast", "fill-standby"}},
	{file: "growth-idle", along: alongPeers, title: "CPU of idle nodes, by peers", y: "per cent of a core",
		keys: []string{"idle-active", "idle-standby"}},
}

// axisTitles are those of the horizontal axes.
var axisTitles = map[string]string{alongFlows: "flows in the table", alongPeers: "peers"}

// plot writes the pictures, and the tables into the document, of a folder that has growth.json.
func plot(folder string) error {
	r, err := readGrowth(filepath.Join(folder, "growth.json"))
	if err != nil {
		return err
	}
	for name, text := range r.pictures() {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o644); err != nil {
			return err
		}
	}
	path := filepath.Join(folder, growthDocument)
	doc, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	doc, err = r.into(doc)
	if err != nil {
		return err
	}
	return os.WriteFile(path, doc, 0o644)
}

func readGrowth(path string) (r growthReport, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}

// pictures are all of them, by the name of their file.
func (r *growthReport) pictures() map[string][]byte {
	out := map[string][]byte{}
	for _, c := range charts {
		out[c.file+".svg"] = c.draw(r.find(c.along, c.keys))
	}
	return out
}

func (r *growthReport) find(along string, keys []string) (out []curve) {
	for _, key := range keys {
		for _, c := range r.Curves {
			if c.Along == along && c.Key == key {
				out = append(out, c)
			}
		}
	}
	return out
}

const (
	growthDocument = "GROWTH.md"
	tablesBegin    = "<!-- tables: written by bench plot -->\n"
	tablesEnd      = "<!-- end of the tables -->\n"
)

// into puts the tables between their marks.
func (r *growthReport) into(doc []byte) ([]byte, error) {
	before, rest, ok := bytes.Cut(doc, []byte(tablesBegin))
	_, after, found := bytes.Cut(rest, []byte(tablesEnd))
	if !ok || !found {
		return nil, fmt.Errorf("bench: %s has no place for tables: %q to %q", growthDocument, tablesBegin, tablesEnd)
	}
	return bytes.Join([][]byte{before, []byte(tablesBegin), r.tables(), []byte(tablesEnd), after}, nil), nil
}

// tables are one for each axis, and what they were made with.
func (r *growthReport) tables() []byte {
	var b bytes.Buffer
	quiet := "the machine was quiet before"
	if !r.Quiet {
		quiet = "others used the machine too"
	}
	fmt.Fprintf(&b, "%s, `%s`: medians of the rounds, of which there were %d. %s, %s CPUs, %s; Linux %s, %s; ctsync %s.\nLoad average %s before, %s after: %s.\n",
		r.Date.Format("2006-01-02 15:04"), r.Command, r.Rounds, r.Machine["cpu"], r.Machine["cpus"], r.Machine["memory"], r.Versions["linux"],
		r.Versions["go"], r.Versions["ctsync"], r.Load[0], r.Load[1], quiet)
	for _, along := range []string{alongFlows, alongPeers} {
		r.table(&b, along)
	}
	return b.Bytes()
}

func (r *growthReport) table(b *bytes.Buffer, along string) {
	points := r.points(along)
	fmt.Fprintf(b, "\n| %s | |", axisTitles[along])
	for _, x := range points {
		fmt.Fprintf(b, " %s |", thousands(x))
	}
	fmt.Fprintf(b, "\n|---|---|%s\n", strings.Repeat("---:|", len(points)))
	for _, c := range r.Curves {
		if c.Along != along {
			continue
		}
		fmt.Fprintf(b, "| %s | %s |", c.Title, c.Unit)
		at := map[int]float64{}
		for i, x := range c.X {
			at[x] = c.Y[i]
		}
		for _, x := range points {
			v, ok := at[x]
			if !ok {
				fmt.Fprint(b, " |")
				continue
			}
			fmt.Fprintf(b, " %s |", figure(v))
		}
		fmt.Fprintln(b)
	}
}

// points are where the curves of an axis have figures, of the curve with the most.
func (r *growthReport) points(along string) (points []int) {
	for _, c := range r.Curves {
		if c.Along == along && len(c.X) > len(points) {
			points = c.X
		}
	}
	return points
}

// thousands writes 2000000 as 2,000,000.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
