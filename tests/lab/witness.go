package lab

import (
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"
)

// A witness reads a kernel's table without our own code: the ti-mo/conntrack library, and conntrack(8). Both
// yield entries as text by field, so that one comparison serves both.

// entry is one connection: the value of each field, by the field's name.
type entry map[string]string

// Difference is a field in which two tables differ. An empty A or B with the field "entry" says that the
// connection is missing there.
type Difference struct {
	Witness string
	Flow    string
	Field   string
	A, B    string
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: %s: %s is %q and %q", d.Witness, d.Flow, d.Field, d.A, d.B)
}

// Comparison says how tables are compared.
type Comparison struct {
	Own    []netip.Addr      // connections that begin or end at one of these are left out
	Slack  int               // seconds by which timeouts may differ; 0: timeouts are not compared
	Ignore map[string]string // fields that are not compared, by the reason
}

// CompareTables reads both tables with both witnesses and tells every difference, in the order of the flows.
func CompareTables(a, b *Namespace, c Comparison) ([]Difference, error) {
	var all []Difference
	for _, w := range []struct {
		name string
		read func(*Namespace, Comparison) (map[string]entry, error)
	}{{"ti-mo/conntrack", readLibrary}, {"conntrack(8)", readProgram}} {
		ta, err := w.read(a, c)
		if err != nil {
			return nil, err
		}
		tb, err := w.read(b, c)
		if err != nil {
			return nil, err
		}
		for _, d := range compare(ta, tb, c) {
			d.Witness = w.name
			all = append(all, d)
		}
	}
	return all, nil
}

// Compare is CompareTables for the routers, without what is theirs alone.
func (l *Lab) Compare(c Comparison) ([]Difference, error) {
	c.Own = append(c.Own, WANVIP, LANVIP, WANVIP6, LANVIP6)
	for _, r := range l.Routers() {
		c.Own = append(c.Own, r.WANAddress().Addr(), r.LANAddress().Addr(), r.WANAddress6().Addr(), r.LANAddress6().Addr())
		for i := range r.Syncs() {
			c.Own = append(c.Own, r.SyncAddress(i).Addr())
		}
	}
	return CompareTables(l.R1.Namespace, l.R2.Namespace, c)
}

func (c *Comparison) own(a netip.Addr) bool {
	for _, own := range c.Own {
		if own == a {
			return true
		}
	}
	return false
}

func compare(a, b map[string]entry, c Comparison) []Difference {
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	sorted := make([]string, 0, len(keys))
	for k := range keys {
		sorted = append(sorted, k)
	}
	sort.Strings(sorted)
	var all []Difference
	for _, k := range sorted {
		ea, eb := a[k], b[k]
		if ea == nil || eb == nil {
			all = append(all, Difference{Flow: k, Field: "entry", A: ea.presence(), B: eb.presence()})
			continue
		}
		all = append(all, compareEntry(k, ea, eb, c)...)
	}
	return all
}

func (e entry) presence() string {
	if e == nil {
		return ""
	}
	return "present"
}

func compareEntry(key string, a, b entry, c Comparison) []Difference {
	fields := map[string]bool{}
	for f := range a {
		fields[f] = true
	}
	for f := range b {
		fields[f] = true
	}
	sorted := make([]string, 0, len(fields))
	for f := range fields {
		sorted = append(sorted, f)
	}
	sort.Strings(sorted)
	var all []Difference
	for _, f := range sorted {
		_, ignored := c.Ignore[f]
		if ignored || a[f] == b[f] || f == "timeout" && c.near(a[f], b[f]) {
			continue
		}
		all = append(all, Difference{Flow: key, Field: f, A: a[f], B: b[f]})
	}
	return all
}

func (c *Comparison) near(a, b string) bool {
	if c.Slack == 0 {
		return true
	}
	x, errA := strconv.Atoi(a)
	y, errB := strconv.Atoi(b)
	return errA == nil && errB == nil && max(x-y, y-x) <= c.Slack
}

// readLibrary reads a table with ti-mo/conntrack.
func readLibrary(n *Namespace, c Comparison) (map[string]entry, error) {
	conn, err := conntrack.Dial(&netlink.Config{NetNS: int(n.handle)})
	if err != nil {
		return nil, fmt.Errorf("lab: witness in %s: %w", n.Name, err)
	}
	defer conn.Close()
	flows, err := conn.Dump(nil)
	if err != nil {
		return nil, fmt.Errorf("lab: witness in %s: %w", n.Name, err)
	}
	table := make(map[string]entry, len(flows))
	for i := range flows {
		f := &flows[i]
		if c.own(f.TupleOrig.IP.SourceAddress) || c.own(f.TupleReply.IP.SourceAddress) {
			continue
		}
		table[fmt.Sprintf("%s zone %d", tupleText(f.TupleOrig), f.Zone)] = libraryEntry(f)
	}
	return table, nil
}

// transient are status bits that say what the kernel is doing rather than what the connection is
// (IPS_DYING, IPS_OFFLOAD, IPS_HW_OFFLOAD).
const transient = 1<<9 | 1<<14 | 1<<15

// replicatedFlags are the TCP flags that a copy has too (IP_CT_TCP_FLAG_WINDOW_SCALE and SACK_PERM): a copy is
// liberal on purpose, and the rest is about packets that it has not seen.
const replicatedFlags = 0x03

func libraryEntry(f *conntrack.Flow) entry {
	e := entry{
		"reply":    tupleText(f.TupleReply),
		"status":   fmt.Sprintf("%#x", uint32(f.Status)&^transient),
		"timeout":  fmt.Sprint(f.Timeout),
		"mark":     fmt.Sprint(f.Mark),
		"helper":   f.Helper.Name,
		"labels":   fmt.Sprintf("%x", f.Labels),
		"seqadj":   fmt.Sprint(f.SeqAdjOrig, f.SeqAdjReply),
		"synproxy": fmt.Sprint(f.SynProxy),
		"master":   tupleText(f.TupleMaster),
	}
	if t := f.ProtoInfo.TCP; t != nil {
		e["tcp state"] = fmt.Sprint(t.State)
		e["tcp window scale"] = fmt.Sprint(t.OriginalWindowScale, t.ReplyWindowScale)
		// The attribute is two bytes, flags and mask, which the library reads as one big-endian number.
		e["tcp flags"] = fmt.Sprintf("%#x %#x", t.OriginalFlags>>8&replicatedFlags, t.ReplyFlags>>8&replicatedFlags)
	}
	return e
}

func tupleText(t conntrack.Tuple) string {
	p := t.Proto
	if p.ICMPv4 || p.ICMPv6 {
		return fmt.Sprintf("%d %s>%s type %d code %d id %d", p.Protocol, t.IP.SourceAddress, t.IP.DestinationAddress, p.ICMPType, p.ICMPCode, p.ICMPID)
	}
	return fmt.Sprintf("%d %s:%d>%s:%d", p.Protocol, t.IP.SourceAddress, p.SourcePort, t.IP.DestinationAddress, p.DestinationPort)
}

// readProgram reads a table with conntrack(8).
func readProgram(n *Namespace, c Comparison) (map[string]entry, error) {
	table := map[string]entry{}
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := n.Run("conntrack", "-L", "-f", family, "-o", "id,extended")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			if key, e, ok := programEntry(line, c); ok {
				table[key] = e
			}
		}
	}
	return table, nil
}

// programEntry parses one line: family, protocol and its number, the timeout, then words. The words from the
// first src= to the next one are the original direction, which with the zone is the key. What comes from use=
// on is this kernel's own: the references to the entry and its id.
func programEntry(line string, c Comparison) (string, entry, bool) {
	line, _, _ = strings.Cut(line, " use=")
	words := strings.Fields(line)
	if len(words) < 6 {
		return "", nil, false
	}
	key, rest := words[2:4:4], []string{}
	sources := 0
	for _, w := range words[5:] {
		name, value, isField := strings.Cut(w, "=")
		if name == "src" {
			sources++
			if a, err := netip.ParseAddr(value); err == nil && c.own(a) {
				return "", nil, false
			}
		}
		if name == "zone" || isField && sources == 1 {
			key = append(key, w)
		} else {
			rest = append(rest, w)
		}
	}
	return strings.Join(key, " "), entry{"timeout": words[4], "line": strings.Join(rest, " ")}, sources == 2
}
