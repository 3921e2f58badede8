package fidelity

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/FIDELITY.md from what is seen")

const documentPath = "../../docs/FIDELITY.md"

// columns of the document; the rest of the fields is in its notes.
var columns = []string{fReply, fZone, fStatus, fTimeout, fState, fTags, fScale, fFlags, fMark, fLabels, fHelper, fMaster,
	fSeqAdj, fSynProxy, fDone, fCounters, fTime}

// seen is what the tests of this run saw, of all kinds.
var seen = newRecord()

// TestMain looks at the document last: it needs what all tests saw.
func TestMain(m *testing.M) {
	flag.Parse()
	tidy()
	code := m.Run()
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""; code == 0 && whole {
		if err := document(preamble + table() + notes() + closing); err != nil {
			fmt.Println("FAIL:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// document compares docs/FIDELITY.md with the text, or writes it.
func document(text string) error {
	if *update {
		return os.WriteFile(documentPath, []byte(text), 0o644)
	}
	if was, err := os.ReadFile(documentPath); err != nil || string(was) != text {
		return errors.New("docs/FIDELITY.md does not say what was seen: go test ./tests/fidelity -update, and read the difference")
	}
	return nil
}

const preamble = `# What of a connection is carried

Written by a test (tests/fidelity) from what it saw: every kind of flow below was made in the kernel of one firewall, through ctsync, and its
copy in the other's was compared field by field by programs that are not ours.

- **carried**: the field had a value that is not the kernel's default, which the witness saw in the first kernel as it was asked for, and the copy
  had the same, at a hot standby and after the commit of a warm one; after every change, at the node that led first and at the one that took over.
  What the kernel lets be changed (marks, labels, state, window scales, flags, tags, sequence adjustments, SYN proxy) was changed twice, and
  marks, labels, window scales, sequence adjustments and SYN proxy were then cleared, but in flows of packets. Timeouts differ by the
  seconds on the way; a hot standby's copy has some to spare (ctsync.conf(5), Timeouts), since packets refresh the original without a word.
- **·**: the flow has no such thing.
- **n**: not carried; the note says which rule of the kernel forbids it.

"Status" is the bits that say what the flow is: seen reply, assured, confirmed, expected, source and destination NAT, sequence adjustment, fixed
timeout, helper. "Reply tuple" is the whole of a translation: what a packet of the other direction looks like.
Flows whose name begins with "packets" were made by packets and rules; the others over netlink.
`

const closing = `
## Expectations

What a helper announced (expect-sync) is carried with its tuple and mask, master, class, flags, translation, function and time: tested over
netlink for FTP, SIP and H.323, IPv4 and IPv6; and by dialogues (tests/dialogues) whose connections are announced at one node and opened at the
next, after a takeover by keepalived, which are announced once more there and opened after the failback; with masquerade as with source NAT, and at
a warm standby as at a hot one:

| dialogue | translated | announced | opened after a takeover |
|---|---|---|---|
| FTP active (PORT, EPRT), passive (PASV) | source, destination; IPv6 source | the data connection | yes |
| FTP passive (EPSV) | IPv6 destination | the data connection | yes |
| TFTP | source, destination | the transfer | yes |
| IRC (DCC) | source, destination | the peer's connection | yes |
| Amanda | source, destination | data, messages, index | yes |
| SIP call (INVITE with SDP) | source, destination | RTP and RTCP of both ends | yes |
| SIP registration | source | calls to the phone, for the time that the registrar gave | yes |
| PPTP | none, source, destination | the tunnel of a call | yes; what goes on in a translated control connection: no |
| H.323 call (Q.931 SETUP, CONNECT) | source; destination | the H.245 connection | yes; what H.245 announces in one that was opened after it: no |
| H.323 media (H.245 OpenLogicalChannel) | source | RTP and RTCP | yes |
| H.323 discovery (RAS GRQ, GCF) | source | the gatekeeper's other port | yes |
| H.323 registration (RAS RRQ, RCF) | none, source | calls to the endpoint (Q.931), and the registration's time | yes |
| H.323 admission (RAS ARQ, ACF) | source | the call to where the gatekeeper sends it (Q.931) | yes |

The master's sequence adjustment comes with it, although no event tells of it; nor does one tell that a registrar agreed, which makes SIP's
expectation active: ctsync asks the kernel.

- PPTP's tunnel: the kernel that heard the call being made finds its packets by both ends' call ids, of which a packet has one. No other
  kernel can be told, so that the expectation is carried with the other one open, for as long as the control connection lives.
- PPTP's control connection, translated: the kernel's helper drops what goes on in one that was not begun through the same kernel (it lacks what
  only the first packet gives an entry), so that a call ends when its ends ask each other whether they are there.
- The zone of the master: the kernel does not report it with an expectation, so that one in a zone is not carried.
- The helper of the announced connection itself (SIP's of a call to a registered phone, H.245's): the kernel does not report it, and takes one only
  before the corrections of 2026.
- H.245's helper: the kernel knows it for UDP and uses it for TCP, so that no connection can be given it by name. A copy has Q.931's instead, which lets
  what was announced before be expected and reads nothing in H.245.
- IPS_HELPER: the copy of a connection whose helper came with its expectation has it, since its helper is set by name. It keeps the kernel from
  choosing another.
- A registrar's answer that comes after a takeover which the question preceded: the helper does not know the question. The next registration counts.

## Live traffic

tests/dialogues has these flows live through two takeovers and two failbacks, hot and warm, with rules that drop what is invalid and let nothing begin anew: TCP without
NAT, with source, destination, both, masquerade, and prefix NAT of source and destination, IPv4 and IPv6, in bulk both ways, half closed, idle until
the end, and reset by either end; through a hairpin (from the LAN to a server of the LAN by its public address); with source NAT and a zone of both
directions, and of one; UDP with the same translations, in three fragments too; what ICMP answers to it; ICMP and ICMPv6 echo, with a translated id, and in three fragments; GRE
and ESP, IPv4 and IPv6, and AH, with and without source NAT; and a protocol that the kernel knows nothing about, for three times the generic timeout.

And four TCP connections that send both ways as fast as the machine goes, IPv4 and IPv6, with and without source NAT, while one packet in 100 is lost, half of
them before the firewall has seen them and half behind it. Through a takeover and a failback, on two processors: 18.6 Gbit/s in all with a hot standby,
17.7 with a warm one; nothing for 0.2 s, which is TCP's retransmission timeout, at the worst 0.64 s; windows up to 29 MB, 2000 recoveries by selective
acknowledgements. Every end received what the other had sent, by length and checksum.

Connections behind a SYN proxy (nftables' synproxy), whose sequence numbers and timestamps the firewall adjusts, go on too, hot and warm.

## Not in the table

- Labels at a standby whose rules do not use labels: its kernel has no room for them in a flow, and everything else is carried (tested).
- A related flow whose master a filter leaves out: it is carried without a master (tested).
- Labels that Open vSwitch or tc clear, without a netlink request: the kernel's event does not say so. Those that a netlink request clears are cleared; a rule of nftables can only set them.
- A helper that is taken from a flow: the kernel gives a flow its helper only when it is made.
- The interface that a masqueraded flow goes with: ctnetlink has no attribute for it. The copy is translated all the same, and stays when that interface goes down.
- Security marks: ctnetlink shows them and takes none.
- Changes of a flow that was made before anybody listened (nf_conntrack_events=2, the kernel's default, and no daemon on the machine; or 0): it emits
  no event, ever. ctsync sets 1 when it starts. What only the table has told of is compared with the table every 5 minutes, until an event
  has told of each such flow or the last has ended, and no longer; the status counts them as silent (tested).
- GRE's timeout: the kernel keeps it in an entry that a packet made, and would end a copy at its first packet. So a copy's is fixed: packets do not
  extend it, a standby renews it, and after a takeover it runs out; the next packet from where the rules let one begin makes the next entry.
- Flowtables (nftables' flow add): each firewall's rules put a connection into its own. While it is in one, the kernel shows neither its state nor its
  timeout when asked; what was known of it before is carried on (tested with what such a kernel shows; the one of this document has no flowtables).
- DCCP: kernels from 6.17 on do not track it.
- Flows that begin or end at a firewall itself (a redirect to a proxy on it, for one), and link-local ones: left out on purpose.
`

func table() string {
	var b strings.Builder
	b.WriteString("\n| flow | " + strings.Join(columns, " | ") + " |\n|---|" + strings.Repeat("---|", len(columns)) + "\n")
	for _, kind := range seen.kinds() {
		b.WriteString("| " + kind)
		for _, c := range columns {
			b.WriteString(" | " + seen.cell(kind, c))
		}
		b.WriteString(" |\n")
	}
	return b.String()
}

func notes() string {
	var b strings.Builder
	b.WriteString("\n## Notes\n\n")
	for i, n := range notCarriedFields {
		fmt.Fprintf(&b, "%d. %s: %s.\n", i+1, n.field, n.why)
	}
	return b.String()
}

// kinds are in the order of the catalogue, then those of packets.
func (r *record) kinds() (names []string) {
	for _, k := range catalogue() {
		names = append(names, k.name)
	}
	for _, t := range talks() {
		names = append(names, "packets: "+t.name)
	}
	return slices.DeleteFunc(names, func(kind string) bool { return !r.has(kind, fReply) })
}

// cell is what the document says of a field of a kind.
func (r *record) cell(kind, field string) string {
	at := [2]string{kind, field}
	switch {
	case r.lost[at] != 0:
		return fmt.Sprint(r.lost[at])
	case !r.has(kind, field):
		return "·"
	case !r.enough(kind, field):
		return "not changed often enough"
	}
	return "carried"
}

// has says that there was a value other than the default.
func (r *record) has(kind, field string) bool {
	for v := range r.values[[2]string{kind, field}] {
		if v != "" {
			return true
		}
	}
	return false
}

// changing says of the fields that the kernel lets be changed in an entry how many values make two changes (there and
// back again, or three), and which can be cleared too.
var changing = map[string]struct {
	values int
	clears bool
}{fState: {2, false}, fFlags: {2, false}, fTags: {3, false}, fScale: {3, true}, fMark: {3, true}, fLabels: {3, true},
	fSeqAdj: {3, true}, fSynProxy: {3, true}}

// enough says that what can be changed was changed twice, and cleared if it can be. Packets change a flow as it comes.
func (r *record) enough(kind, field string) bool {
	want, can := changing[field]
	if !can || strings.HasPrefix(kind, "packets") {
		return true
	}
	values := r.values[[2]string{kind, field}]
	cleared := 0
	if values[""] {
		cleared = 1
	}
	return len(values)-cleared >= want.values && (cleared == 1 || !want.clears)
}
