package dialogues

import (
	"fmt"
	"sort"
	"strings"

	"github.com/mdlayher/netlink"
	"github.com/ti-mo/conntrack"

	"ctsync/tests/lab"
)

// rules give each control connection its helper, let those of the WAN in and translate them.
func (ts *talkers) rules() {
	ts.t.Helper()
	var objects, chosen, inward, inward6, plain strings.Builder
	made := map[string]bool{}
	for _, d := range table {
		object := strings.ToLower(strings.ReplaceAll(d.helper, ".", "")) + "-" + d.l4
		family := "ip"
		if d.ipv6 {
			object, family = object+"-6", "ip6"
		}
		if !made[object] {
			fmt.Fprintf(&objects, "\tct helper %s { type \"%s\" protocol %s; l3proto %s; }\n", object, d.helper, d.l4, family)
			made[object] = true
		}
		fmt.Fprintf(&chosen, "\t\tmeta nfproto %s %s dport %d ct helper set \"%s\"\n", map[bool]string{false: "ipv4", true: "ipv6"}[d.ipv6], d.l4, d.port, object)
		if d.plain {
			fmt.Fprintf(&plain, "insert rule ip nat postrouting %s dport %d accept\n", d.l4, d.port)
		}
		if d.inward && d.ipv6 {
			fmt.Fprintf(&inward6, "\t\tiifname wan0 ip6 daddr %s %s dport %d dnat to %s\n", lab.WANVIP6, d.l4, d.port, lab.ClientAddress6)
		} else if d.inward {
			fmt.Fprintf(&inward, "\t\tiifname wan0 ip daddr %s %s dport %d dnat to %s\n", lab.WANVIP, d.l4, d.port, lab.ClientAddress)
		}
	}
	text := "table inet dialogues {\n" + objects.String() +
		"\tchain pre {\n\t\ttype filter hook prerouting priority 0;\n" + chosen.String() + "\t}\n}\n" +
		"table ip dialogues {\n\tchain pre {\n\t\ttype nat hook prerouting priority dstnat;\n" + inward.String() + "\t}\n}\n" +
		"table ip6 dialogues {\n\tchain pre {\n\t\ttype nat hook prerouting priority dstnat;\n" + inward6.String() + "\t}\n}\n" +
		"insert rule inet filter forward ct status dnat ct state new accept\n" +
		plain.String() + "insert rule ip nat postrouting meta l4proto gre accept\n"
	for _, r := range ts.lab.Routers() {
		if _, err := r.RunInput(text, "nft", "-f", "-"); err != nil {
			ts.t.Fatal(err)
		}
	}
}

// route leads the server to the LAN's own addresses.
func (ts *talkers) route() {
	ts.t.Helper()
	if _, err := ts.lab.Server.Run("ip", "route", "add", "10.10.0.0/24", "via", lab.WANVIP.String()); err != nil {
		ts.t.Fatal(err)
	}
}

// conn opens the witness's socket in r.
func (ts *talkers) conn(r *lab.Router) *conntrack.Conn {
	ts.t.Helper()
	var conn *conntrack.Conn
	err := r.Do(func() (err error) {
		conn, err = conntrack.Dial(&netlink.Config{})
		return err
	})
	if err != nil {
		ts.t.Fatal(err)
	}
	return conn
}

// expectation is one as text, the port of its master, and the seconds left.
type expectation struct {
	master  uint16
	text    string
	timeout int
}

func (x expectation) String() string { return fmt.Sprintf("%s for %d s\n\t", x.text, x.timeout) }

// expected is what r's kernel expects, in order.
func (ts *talkers) expected(r *lab.Router) (all []expectation) {
	ts.t.Helper()
	conn := ts.conn(r)
	defer conn.Close()
	list, err := conn.DumpExpect()
	if err != nil {
		ts.t.Fatal(err)
	}
	for _, x := range list {
		all = append(all, expectation{x.TupleMaster.Proto.DestinationPort, fmt.Sprintf(
			"%s mask %s master %s class %d flags %d helper %q function %q nat %v %v", tuple(&x.Tuple), tuple(&x.Mask),
			tuple(&x.TupleMaster), x.Class, x.Flags, strings.Trim(x.HelpName, "\x00"), strings.Trim(x.Function, "\x00"),
			x.NAT.Direction, tuple(&x.NAT.Tuple)), int(x.Timeout)})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].text < all[j].text })
	return all
}

// of are those of one call.
func of(all []expectation, c *call) (mine []expectation) {
	for _, x := range all {
		if x.master == c.master {
			mine = append(mine, x)
		}
	}
	return mine
}

func tuple(t *conntrack.Tuple) string {
	p := &t.Proto
	return fmt.Sprintf("%d %s:%d>%s:%d", p.Protocol, t.IP.SourceAddress, p.SourcePort, t.IP.DestinationAddress, p.DestinationPort)
}

// related wants each open data connection to be known to r's kernel as its control connection's.
func (ts *talkers) related(r *lab.Router) {
	ts.t.Helper()
	conn := ts.conn(r)
	defer conn.Close()
	flows, err := conn.Dump(nil)
	if err != nil {
		ts.t.Fatal(err)
	}
	children := map[uint16][]string{}
	for _, f := range flows {
		if m := f.TupleMaster.Proto.DestinationPort; m != 0 {
			children[m] = append(children[m], fmt.Sprintf("%s, %s, %d s, helper %q", tuple(&f.TupleOrig), tuple(&f.TupleReply), f.Timeout, f.Helper.Name))
		}
	}
	for _, c := range ts.calls {
		if len(children[c.master]) < len(c.open_) {
			ts.fails(c, "at "+r.Name, fmt.Errorf("%d data connections, of which the kernel relates %d: %v", len(c.open_), len(children[c.master]), children[c.master]))
		}
	}
}
