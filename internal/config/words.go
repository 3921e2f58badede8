package config

import (
	"slices"
	"strings"
)

// Protocol is a layer-4 protocol number (IANA).
type Protocol uint8

// protocols are the words of accept-protocol. The first four are those of the oldest syntax.
var protocols = []struct {
	word   string
	number Protocol
}{
	{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"sctp", 132}, {"icmp6", 58},
	{"dccp", 33}, {"gre", 47}, {"esp", 50}, {"ah", 51}, {"udplite", 136},
}

// String is the word of accept-protocol, or "unknown".
func (p Protocol) String() string {
	for _, known := range protocols {
		if known.number == p {
			return known.word
		}
	}
	return "unknown"
}

const all = "all"

// tcpStates are the words of accept-tcp-state, with the kernel's numbers (enum tcp_conntrack). SYN_SENT2 is a
// simultaneous open.
var tcpStates = []struct {
	word    string
	numbers []uint8
}{
	{"syn-sent", []uint8{1, 9}}, {"syn-recv", []uint8{2}}, {"established", []uint8{3}}, {"fin-wait", []uint8{4}},
	{"close-wait", []uint8{5}}, {"last-ack", []uint8{6}}, {"time-wait", []uint8{7}}, {"close", []uint8{8}},
}

func tcpStateWords() (words []string) {
	for _, known := range tcpStates {
		words = append(words, known.word)
	}
	return append(words, all)
}

// TCPStates are the replicated states by the kernel's numbers; some is false if all are.
func (c *Config) TCPStates() (states [16]bool, some bool) {
	for _, known := range tcpStates {
		if slices.Contains(c.AcceptTCPState, known.word) {
			for _, n := range known.numbers {
				states[n] = true
			}
		}
	}
	return states, len(c.AcceptTCPState) > 0
}

func protocolWords() (words []string) {
	for _, known := range protocols {
		words = append(words, known.word)
	}
	return append(words, all)
}

// expectations are the words of expect-sync and the names that the kernel (net/netfilter/nf_conntrack_*.c)
// or conntrackd's user-space helpers (rpc, tns) give those helpers.
var expectations = []struct {
	word    string
	helpers []string
}{
	{"ftp", []string{"ftp"}},
	{"h323", []string{"RAS", "Q.931", "H.245"}},
	{"nfs", []string{"rpc"}},
	{"sip", []string{"sip"}},
	{"sqlnet", []string{"tns"}},
}

func expectWords() []string {
	words := []string{all}
	for _, known := range expectations {
		words = append(words, known.word)
	}
	return words
}

// ExpectHelpers are the helpers whose expectations are to be replicated, by their kernel names. The kernel
// appends "-PORT" to the name of a helper on a port that is not its usual one (nf_ct_helper_init), so match
// up to there. all says that every helper is meant.
func (c Config) ExpectHelpers() (names []string, every bool) {
	if slices.Contains(c.ExpectSync, all) {
		return nil, true
	}
	for _, known := range expectations {
		if slices.Contains(c.ExpectSync, known.word) {
			names = append(names, known.helpers...)
		}
	}
	return names, false
}

// nearest is the known word that word may have been meant to be, or "" when none is near.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, least := "", len(word)/3+1
	for _, k := range known {
		if len(k) > 2 && strings.HasPrefix(word, k) || len(word) > 2 && strings.HasPrefix(k, word) {
			return k // warning for warn, ftps for ftp
		}
		if d := distance(word, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, replace or swap with their neighbour to turn a into b
// (optimal string alignment).
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
