package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// family names the family of a for people.
func family(a netip.Addr) string {
	if a.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// address reads an address without zone; IPv4-mapped ones become IPv4.
func address(word string) (netip.Addr, error) {
	a, err := netip.ParseAddr(word)
	switch {
	case err != nil && strings.Contains(word, "/"):
		return a, errors.New("a prefix, where an address is wanted")
	case err != nil:
		return a, errors.New("not an IPv4 or IPv6 address")
	case a.Zone() != "":
		return a, errors.New("the zone is not wanted: write the address without %" + a.Zone())
	}
	return a.Unmap(), nil
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// host reads an address that one host can have.
func host(word string) (netip.Addr, error) {
	a, err := address(word)
	switch {
	case err != nil:
		return a, err
	case a.IsUnspecified():
		return a, errors.New("the unspecified address is no host's")
	case a.IsMulticast():
		return a, errors.New("a multicast address is no host's")
	case a == broadcast:
		return a, errors.New("the broadcast address is no host's")
	}
	return a, nil
}

// VRRP's own groups (RFC 9568, 1.2): every router on the link would get what keepalived must answer for.
var vrrpGroups = []netip.Addr{netip.MustParseAddr("224.0.0.18"), netip.MustParseAddr("ff02::12")}

// group reads a multicast group that can be heard on another host.
func group(word string) (netip.Addr, error) {
	a, err := address(word)
	switch {
	case err != nil:
		return a, err
	case !a.IsMulticast():
		return a, errors.New("not a multicast address")
	case a.IsInterfaceLocalMulticast():
		return a, errors.New("an interface-local group never leaves this host")
	case slices.Contains(vrrpGroups, a):
		return a, errors.New("the group of VRRP itself")
	}
	return a, nil
}

// ignored reads an address, or a prefix without host bits.
func ignored(word string) (netip.Prefix, error) {
	if !strings.Contains(word, "/") {
		a, err := address(word)
		return netip.PrefixFrom(a, a.BitLen()), err
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return p, errors.New("not an IPv4 or IPv6 prefix")
	}
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("the prefix has host bits: write %v for the network, or %v for the one address", p.Masked(), p.Addr())
	}
	return p, nil
}

// readIgnored reads `ignore-address A`, and the older `ignore-address ipv4 A`.
func readIgnored(p *parser, args []string) {
	want := ""
	if len(args) > 0 {
		switch args[0] {
		case "ipv4":
			want, args = "IPv4", args[1:]
		case "ipv6":
			want, args = "IPv6", args[1:]
		}
	}
	list(func(p *parser, word string) {
		prefix, err := ignored(word)
		if err == nil && want != "" && family(prefix.Addr()) != want {
			err = fmt.Errorf("not %s, as the word before it says", want)
		}
		if err != nil {
			p.refuse(word, err)
			return
		}
		p.cfg.IgnoreAddress = append(p.cfg.IgnoreAddress, prefix)
	})(p, args)
}

// finishIgnored: the addresses are a set.
func (p *parser) finishIgnored() {
	slices.SortFunc(p.cfg.IgnoreAddress, netip.Prefix.Compare)
	p.cfg.IgnoreAddress = slices.Compact(p.cfg.IgnoreAddress)
}

// readListen reads `listen-address A`.
func readListen(p *parser, word string) {
	a, err := host(word)
	if err != nil {
		p.refuse(word, err)
		return
	}
	p.once("listen-address "+a.String(), a.String(), word)
	if !slices.Contains(p.cfg.ListenAddress, a) {
		p.cfg.ListenAddress = append(p.cfg.ListenAddress, a)
	}
}

func prefixWord(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
