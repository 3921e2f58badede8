package show

import (
	"fmt"
	"io"
	"strings"

	"ctsync/engine"
)

// Statistics prints `show conntrack-sync statistics` as VyOS does, tabs included, with one block of traffic
// for each link.
func Statistics(w io.Writer, st engine.Status, links []Link) error {
	var b strings.Builder
	b.WriteString("\nMain Table Statistics:\n\n")
	cacheBlock(&b, "internal", st.Internal)
	cacheBlock(&b, "external", st.External)
	// What conntrackd counts here is traffic of flows that ended; ctsync does not account for it.
	fmt.Fprintf(&b, "traffic processed:\n%20d Bytes      %20d Pckts\n\n", 0, 0)
	for _, l := range links {
		linkBlock(&b, l)
	}
	fmt.Fprintf(&b, "message tracking:\n%20d Malformed msgs %20d Lost msgs\n\n", st.Messages.Malformed, st.Messages.Lost)
	return write(w, &b)
}

// ExpectStatistics prints the second part of it, on expectations.
func ExpectStatistics(w io.Writer, st engine.Status) error {
	var b strings.Builder
	b.WriteString("\nExpect Table Statistics:\n\n")
	cacheBlock(&b, "internal", st.ExpectInternal)
	cacheBlock(&b, "external", st.ExpectExternal)
	return write(w, &b)
}

func cacheBlock(b *strings.Builder, name string, c engine.CacheStats) {
	fmt.Fprintf(b, "cache %s:\n", name)
	fmt.Fprintf(b, "current active connections:\t%12d\n", c.Active)
	counterLine(b, "created", c.Created, c.CreateFailed)
	counterLine(b, "updated", c.Updated, c.UpdateFailed)
	counterLine(b, "destroyed", c.Destroyed, c.DestroyFailed)
	b.WriteByte('\n')
}

func counterLine(b *strings.Builder, what string, n, failed uint64) {
	fmt.Fprintf(b, "connections %s:\t\t%12d\tfailed:\t%12d\n", what, n, failed)
}

func linkBlock(b *strings.Builder, l Link) {
	fmt.Fprintf(b, "%s traffic (active device=%s):\n", l.Mode, l.Interface)
	fmt.Fprintf(b, "%20d Bytes sent %20d Bytes recv\n", l.BytesSent, l.BytesReceived)
	fmt.Fprintf(b, "%20d Pckts sent %20d Pckts recv\n", l.PacketsSent, l.PacketsReceived)
	fmt.Fprintf(b, "%20d Error send %20d Error recv\n\n", l.SendErrors, l.ReceiveErrors)
}

type statisticsJSON struct {
	Internal       cacheJSON    `json:"internal"`        // flows of this node's kernel
	External       cacheJSON    `json:"external"`        // flows heard from peers
	ExpectInternal cacheJSON    `json:"expect_internal"` // the same of expectations
	ExpectExternal cacheJSON    `json:"expect_external"`
	Links          []linkJSON   `json:"links"`
	Messages       messagesJSON `json:"messages"` // datagrams of the sync protocol
}

type cacheJSON struct {
	Active        int    `json:"active"`
	Created       uint64 `json:"created"`
	CreateFailed  uint64 `json:"create_failed"`
	Updated       uint64 `json:"updated"`
	UpdateFailed  uint64 `json:"update_failed"`
	Destroyed     uint64 `json:"destroyed"`
	DestroyFailed uint64 `json:"destroy_failed"`
}

type linkJSON struct {
	Interface       string `json:"interface"`
	Mode            string `json:"mode"` // multicast or UDP
	Up              bool   `json:"up"`
	State           string `json:"state"`
	MTU             int    `json:"mtu"`
	BytesSent       uint64 `json:"bytes_sent"`
	BytesReceived   uint64 `json:"bytes_received"`
	PacketsSent     uint64 `json:"packets_sent"`
	PacketsReceived uint64 `json:"packets_received"`
	SendErrors      uint64 `json:"send_errors"`
	ReceiveErrors   uint64 `json:"receive_errors"`
}

type messagesJSON struct {
	Sent      uint64            `json:"sent"`
	Received  uint64            `json:"received"`
	Lost      uint64            `json:"lost"`      // sequence numbers that had to be asked for
	Malformed uint64            `json:"malformed"` // every refused datagram
	Refused   map[string]uint64 `json:"refused"`   // the same by reason
	Wants     uint64            `json:"wants"`
	Repairs   uint64            `json:"repairs"`
}

// StatisticsJSON is Statistics for programs.
func StatisticsJSON(w io.Writer, st engine.Status, links []Link) error {
	return writeJSON(w, statisticsJSON{
		Internal: cacheOf(st.Internal), External: cacheOf(st.External),
		ExpectInternal: cacheOf(st.ExpectInternal), ExpectExternal: cacheOf(st.ExpectExternal),
		Links: linksOf(links), Messages: messagesOf(st.Messages),
	})
}

func cacheOf(c engine.CacheStats) cacheJSON {
	return cacheJSON{
		Active: c.Active, Created: c.Created, CreateFailed: c.CreateFailed, Updated: c.Updated,
		UpdateFailed: c.UpdateFailed, Destroyed: c.Destroyed, DestroyFailed: c.DestroyFailed,
	}
}

func linksOf(links []Link) []linkJSON {
	out := make([]linkJSON, 0, len(links))
	for _, l := range links {
		out = append(out, linkJSON{
			Interface: l.Interface, Mode: l.Mode, Up: l.Up, State: l.State, MTU: l.MTU,
			BytesSent: l.BytesSent, BytesReceived: l.BytesReceived,
			PacketsSent: l.PacketsSent, PacketsReceived: l.PacketsReceived,
			SendErrors: l.SendErrors, ReceiveErrors: l.ReceiveErrors,
		})
	}
	return out
}

func messagesOf(m engine.MessageStats) messagesJSON {
	refused := m.Refused
	if refused == nil {
		refused = map[string]uint64{}
	}
	return messagesJSON{
		Sent: m.Sent, Received: m.Received, Lost: m.Lost, Malformed: m.Malformed,
		Refused: refused, Wants: m.Wants, Repairs: m.Repairs,
	}
}
