package show

import (
	"bufio"
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"ctsync/engine/flow"
)

// Listing streams flows, a line each. One goroutine owns it; Close ends it.
type Listing struct {
	w     *bufio.Writer
	row   func(line []byte, f *flow.Flow) []byte
	takes func(f *flow.Flow) bool
	json  bool
	n     int
	line  []byte
}

// legend is above the table, with a blank line after it.
const legend = "TCP state codes: SS - SYN SENT, SR - SYN RECEIVED, ES - ESTABLISHED,\n" +
	"                 FW - FIN WAIT, CW - CLOSE WAIT, LA - LAST ACK,\n" +
	"                 TW - TIME WAIT, CL - CLOSE, LI - LISTEN\n\n"

// Widths of the columns; the last is padded too, as VyOS does it.
const (
	idWidth        = 10
	endpointWidth4 = 22
	endpointWidth6 = 40
	protocolWidth  = 16
	timeoutWidth   = 20
	cacheEndpoint  = 30
	cacheProtocol  = 18
)

// Table begins `show conntrack table ipv4|ipv6`: l3 is flow.IPv4 or flow.IPv6, and flows of the other family
// are left out. In JSON it is an array of objects.
func Table(w io.Writer, l3 uint8, asJSON bool) *Listing {
	width := endpointWidth4
	if l3 == flow.IPv6 {
		width = endpointWidth6
	}
	l := &Listing{
		w:     bufio.NewWriterSize(w, 32<<10),
		takes: func(f *flow.Flow) bool { return f.L3 == l3 && f.Kind == flow.KindFlow },
		row:   func(b []byte, f *flow.Flow) []byte { return tableRow(b, f, width) },
		json:  asJSON,
	}
	if l.json {
		return l.begin("[")
	}
	head := column(nil, "CONN ID", idWidth)
	head = column(head, "Source", width)
	head = column(head, "Destination", width)
	head = column(head, "Protocol", protocolWidth)
	return l.begin(legend + string(last(head, "TIMEOUT", timeoutWidth)))
}

// Cache begins `show conntrack-sync cache internal|external`. heading, such as "Main Table Entries:", stands
// between blank lines where both tables are listed; empty, there is none.
func Cache(w io.Writer, heading string, asJSON bool) *Listing {
	l := &Listing{
		w:     bufio.NewWriterSize(w, 32<<10),
		takes: func(f *flow.Flow) bool { return f.Kind == flow.KindFlow },
		row:   cacheRow,
		json:  asJSON,
	}
	return l.cacheHead(heading)
}

// Expectations is Cache for the expectations in it. A source port that is left open is shown as any.
func Expectations(w io.Writer, heading string, asJSON bool) *Listing {
	l := &Listing{
		w:     bufio.NewWriterSize(w, 32<<10),
		takes: func(f *flow.Flow) bool { return f.Kind == flow.KindExpect },
		row:   expectRow,
		json:  asJSON,
	}
	return l.cacheHead(heading)
}

func (l *Listing) cacheHead(heading string) *Listing {
	if l.json {
		return l.begin("[")
	}
	if heading != "" {
		heading = "\n" + heading + "\n\n"
	}
	head := column(nil, "Source", cacheEndpoint)
	head = column(head, "Destination", cacheEndpoint)
	return l.begin(heading + string(last(head, "Protocol", cacheProtocol)))
}

// begin keeps its error in the writer, as bufio does: Rows and Close tell it.
func (l *Listing) begin(text string) *Listing {
	_, _ = l.w.WriteString(text)
	return l
}

// Rows lists flows. It keeps nothing of them.
func (l *Listing) Rows(flows []flow.Flow) error {
	for i := range flows {
		if f := &flows[i]; l.takes(f) {
			if err := l.one(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Listing) one(f *flow.Flow) error {
	l.n++
	if l.json {
		return l.oneJSON(f)
	}
	l.line = l.row(l.line[:0], f)
	_, err := l.w.Write(l.line)
	return err
}

func (l *Listing) oneJSON(f *flow.Flow) error {
	separator := "\n"
	if l.n > 1 {
		separator = ",\n"
	}
	text, err := json.Marshal(flowOf(f))
	if err != nil {
		return err
	}
	_, _ = l.w.WriteString(separator)
	_, err = l.w.Write(text)
	return err
}

// Count is how many flows were listed.
func (l *Listing) Count() int { return l.n }

// Close ends the listing and writes what is left of it.
func (l *Listing) Close() error {
	if l.json {
		_, _ = l.w.WriteString("\n]\n")
	}
	return l.w.Flush()
}

func tableRow(b []byte, f *flow.Flow, width int) []byte {
	b = column(b, strconv.FormatUint(uint64(f.ID), 10), idWidth)
	b = column(b, endpoint(f.L3, f.L4, f.Src, f.SrcL4), width)
	b = column(b, endpoint(f.L3, f.L4, f.Dst, f.DstL4), width)
	protocol := protocolText(f.L4)
	if code := stateOf(f.L4, f.State).code; code != "" {
		protocol += " " + code
	}
	b = column(b, protocol, protocolWidth)
	return last(b, strconv.FormatUint(uint64(f.Timeout), 10), timeoutWidth)
}

func cacheRow(b []byte, f *flow.Flow) []byte {
	b = column(b, endpoint(f.L3, f.L4, f.Src, f.SrcL4), cacheEndpoint)
	b = column(b, endpoint(f.L3, f.L4, f.Dst, f.DstL4), cacheEndpoint)
	return last(b, protocolText(f.L4), cacheProtocol)
}

// expectRow: any source port will do where the mask leaves it open.
func expectRow(b []byte, f *flow.Flow) []byte {
	source := endpoint(f.L3, f.L4, f.Src, f.SrcL4)
	if hasPorts(f.L4) && f.SrcL4 == 0 && (f.Extra == nil || f.Extra.Expect.MaskL4 == 0) {
		source = strings.TrimSuffix(source, "0") + "any"
	}
	b = column(b, source, cacheEndpoint)
	b = column(b, endpoint(f.L3, f.L4, f.Dst, f.DstL4), cacheEndpoint)
	return last(b, protocolText(f.L4), cacheProtocol)
}

func protocolText(l4 uint8) string {
	return protocolName(l4) + " [" + strconv.Itoa(int(l4)) + "]"
}

// endpoint is addr:port, [addr]:port for IPv6, or the bare address of a protocol without ports.
func endpoint(l3, l4 uint8, a flow.Addr, port uint16) string {
	addr := a.Netip(l3)
	if !hasPorts(l4) {
		return addr.String()
	}
	return netip.AddrPortFrom(addr, port).String()
}

// column appends text, padded to width, and one space.
func column(b []byte, text string, width int) []byte {
	return append(pad(b, text, width), ' ')
}

// last appends the last column, padded, and ends the line.
func last(b []byte, text string, width int) []byte {
	return append(pad(b, text, width), '\n')
}

func pad(b []byte, text string, width int) []byte {
	b = append(b, text...)
	for n := len(text); n < width; n++ {
		b = append(b, ' ')
	}
	return b
}
