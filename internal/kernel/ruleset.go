package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"ctsync/engine/flow"
)

// Ruleset is what of connection tracking is in force in this network namespace. The kernel tracks only where
// a rule asks for it, and translates the packets of an entry only where its NAT hooks are.
type Ruleset struct {
	Tracks  bool           // some rule needs connection tracking
	NAT     map[uint8]bool // families with NAT hooks (flow.IPv4, flow.IPv6)
	Unknown bool           // there are iptables-legacy tables, which say nothing over netlink
}

// Messages and attributes of nf_tables (include/uapi/linux/netfilter/nf_tables.h) and nfnetlink_hook.
const (
	nftGetChain = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETCHAIN
	nftGetRule  = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETRULE
	hookGet     = unix.NFNL_SUBSYS_HOOK << 8 // NFNL_MSG_HOOK_GET

	nftChainType    = 7
	nftRuleExprs    = 4
	nftExprName     = 1
	nftExprData     = 2
	nftXTName       = 1 // NFTA_MATCH_NAME and NFTA_TARGET_NAME
	hookHookNum     = 1
	hookFunction    = 4
	familyInet      = 1 // NFPROTO_INET
	hookPrerouting  = 0 // NF_INET_PRE_ROUTING
	hookPostrouting = 4 // NF_INET_POST_ROUTING
)

// ReadRuleset asks the hooks themselves where the kernel can list them (nfnetlink_hook, Linux 5.14), and
// else reads nftables' rules, iptables' among them.
func ReadRuleset() (Ruleset, error) {
	r := Ruleset{NAT: map[uint8]bool{}}
	fd, _, err := open()
	if err != nil {
		return r, err
	}
	defer unix.Close(fd)
	if err := setReceiveTimeout(fd, dumpWait); err != nil {
		return r, err
	}
	if r.readHooks(fd) {
		return r, nil
	}
	if err := r.readTables(fd); err != nil {
		return r, err
	}
	r.readLegacy()
	return r, nil
}

// readHooks is false if this kernel cannot list its hooks, or names none.
func (r *Ruleset) readHooks(fd int) bool {
	named := false
	for _, family := range []uint8{flow.IPv4, flow.IPv6} {
		for _, hook := range []uint32{hookPrerouting, hookPostrouting} {
			err := list(fd, hookGet, family, put32(nil, hookHookNum, hook), func(m *message, attrs []byte) error {
				return eachAttr(attrs, func(typ uint16, v []byte) error {
					if typ == hookFunction {
						named = true
						r.hook(family, text(v))
					}
					return nil
				})
			})
			if err != nil {
				return false
			}
		}
	}
	return named
}

// hook takes in one hook by the name of its function: ipv4_conntrack_in, nf_nat_ipv6_out and the like.
func (r *Ruleset) hook(family uint8, function string) {
	r.Tracks = r.Tracks || strings.HasSuffix(function, "_conntrack_in")
	r.NAT[family] = r.NAT[family] || strings.HasPrefix(function, "nf_nat_")
}

func (r *Ruleset) readTables(fd int) error {
	err := list(fd, nftGetChain, unix.AF_UNSPEC, nil, func(m *message, attrs []byte) error {
		return r.chain(m.body[0], attrs)
	})
	if errors.Is(err, unix.EINVAL) {
		return nil // this kernel has no nftables
	}
	if err != nil {
		return fmt.Errorf("kernel: read nftables chains: %w", err)
	}
	err = list(fd, nftGetRule, unix.AF_UNSPEC, nil, func(m *message, attrs []byte) error { return r.rule(attrs) })
	if err != nil {
		return fmt.Errorf("kernel: read nftables rules: %w", err)
	}
	return nil
}

// chain: a chain of type nat brings the NAT hooks of its family, even when it is empty.
func (r *Ruleset) chain(family uint8, attrs []byte) error {
	return eachAttr(attrs, func(typ uint16, v []byte) error {
		if typ != nftChainType || text(v) != "nat" {
			return nil
		}
		if family == familyInet {
			r.NAT[flow.IPv4], r.NAT[flow.IPv6] = true, true
		}
		r.NAT[family] = true
		return nil
	})
}

func (r *Ruleset) rule(attrs []byte) error {
	return eachAttr(attrs, func(typ uint16, exprs []byte) error {
		if typ != nftRuleExprs {
			return nil
		}
		return eachAttr(exprs, func(_ uint16, expr []byte) error {
			tracks, err := exprTracks(expr)
			r.Tracks = r.Tracks || tracks
			return err
		})
	})
}

// Expressions and xtables extensions, in nftables' or iptables-nft's rules, with which the kernel turns
// tracking on.
var (
	trackingExprs = map[string]bool{"ct": true, "nat": true, "masq": true, "redir": true, "connlimit": true, "flow_offload": true, "synproxy": true}
	trackingXT    = map[string]bool{
		"conntrack": true, "state": true, "connmark": true, "connlimit": true, "connbytes": true, "connlabel": true, "helper": true, "cluster": true,
		"MASQUERADE": true, "SNAT": true, "DNAT": true, "REDIRECT": true, "NETMAP": true, "CONNMARK": true, "CT": true, "SYNPROXY": true, "CONNSECMARK": true,
	}
)

func exprTracks(expr []byte) (tracks bool, err error) {
	var name string
	err = eachAttr(expr, func(typ uint16, v []byte) error {
		switch typ {
		case nftExprName:
			name = text(v)
			tracks = trackingExprs[name]
		case nftExprData:
			if name != "match" && name != "target" {
				return nil
			}
			return eachAttr(v, func(typ uint16, v []byte) error {
				if typ == nftXTName {
					tracks = trackingXT[text(v)]
				}
				return nil
			})
		}
		return nil
	})
	return tracks, err
}

// readLegacy looks for tables of iptables-legacy: which rules they hold cannot be told from here, but a nat
// table of theirs has its hooks.
func (r *Ruleset) readLegacy() {
	for family, path := range map[uint8]string{flow.IPv4: "ip_tables_names", flow.IPv6: "ip6_tables_names"} {
		b, err := os.ReadFile("/proc/thread-self/net/" + path)
		if err != nil {
			continue // none of it in this kernel
		}
		for _, table := range strings.Fields(string(b)) {
			r.Unknown = true
			r.NAT[family] = r.NAT[family] || table == "nat"
		}
	}
}

// list dumps by one request and hands over each message.
func list(fd int, typ uint16, family uint8, attrs []byte, each func(m *message, attrs []byte) error) error {
	const seq = 1
	req := appendHeader(nil, typ, unix.NLM_F_DUMP, seq, family)
	if err := write(fd, finish(append(req, attrs...), 0)); err != nil {
		return err
	}
	buf := make([]byte, dumpBuffer)
	for {
		n, err := read(fd, buf)
		if err != nil {
			return err
		}
		for b := buf[:n]; len(b) > 0; {
			var m message
			if m, b, err = nextMessage(b); err != nil {
				return err
			}
			if m.typ == unix.NLMSG_DONE || m.typ == unix.NLMSG_ERROR {
				return ended(&m)
			}
			_, attrs, err := m.conntrack()
			if err == nil {
				err = each(&m, attrs)
			}
			if err != nil {
				return err
			}
		}
	}
}

func eachAttr(b []byte, each func(typ uint16, v []byte) error) error {
	for len(b) > 0 {
		typ, v, rest, err := next(b)
		if err == nil {
			err = each(typ, v)
		}
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// text is a string attribute without its NUL.
func text(v []byte) string { return string(bytes.TrimRight(v, "\x00")) }
