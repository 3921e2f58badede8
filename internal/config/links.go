package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const (
	allowedPeer = "an IPv4 or IPv6 address of the other firewall"
	allowedPort = "1 to 65535"
)

// readLink reads `interface IF [peer A] [port N]`. Lines about one interface add up, as VyOS writes them.
func readLink(p *parser, args []string) {
	if len(args) == 0 || args[0] == "" {
		p.missing()
		return
	}
	name, args := args[0], args[1:]
	if err := interfaceName(name); err != nil {
		p.refuse(name, err)
		return
	}
	p.once("interface "+name, name, name)
	link := p.link(name)
	for len(args) > 0 {
		if len(args) == 1 && (args[0] == "peer" || args[0] == "port") {
			args = append(args, "")
		}
		switch args[0] {
		case "peer":
			p.peer(link, args[1])
		case "port":
			p.port(link, args[1])
		default:
			p.fault(args[0], unknown(args[0], []string{"peer", "port"}).Error(), "peer ADDRESS, port NUMBER")
			return
		}
		args = args[2:]
	}
}

// interfaceName applies the kernel's rule (dev_valid_name, net/core/dev.c).
func interfaceName(name string) error {
	switch {
	case len(name) > 15:
		return errors.New("longer than the 15 bytes of an interface name")
	case name == "." || name == ".." || strings.ContainsAny(name, "/:"):
		return errors.New("not an interface name")
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return errors.New("not an interface name")
	}
	_, err := text(name)
	return err
}

// link is the link of that interface, made if it is new.
func (p *parser) link(name string) *Link {
	i := slices.IndexFunc(p.cfg.Links, func(l Link) bool { return l.Interface == name })
	if i < 0 {
		i = len(p.cfg.Links)
		p.cfg.Links = append(p.cfg.Links, Link{Interface: name, Port: defaultPort})
	}
	return &p.cfg.Links[i]
}

func (p *parser) peer(link *Link, word string) {
	p.tried["interface "+link.Interface+" peer"] = true
	if word == "" {
		p.fault("peer", "the address is missing", allowedPeer)
		return
	}
	a, err := host(strings.TrimSuffix(word, "%"+link.Interface))
	if err != nil {
		p.fault(word, err.Error(), allowedPeer)
		return
	}
	p.once("interface "+link.Interface+" peer "+a.String(), a.String(), word)
	if !slices.Contains(link.Peers, a) {
		link.Peers = append(link.Peers, a)
	}
}

func (p *parser) port(link *Link, word string) {
	if word == "" {
		p.fault("port", "the number is missing", allowedPort)
		return
	}
	n, err := number(word, 1, 65535)
	if err != nil {
		p.fault(word, err.Error(), allowedPort)
		return
	}
	if p.once("interface "+link.Interface+" port", strconv.FormatInt(n, 10), word) {
		link.Port = uint16(n)
	}
}

// finishLinks checks what holds between links, peers and addresses.
func (p *parser) finishLinks() {
	c := &p.cfg
	if len(c.Links) == 0 {
		if !p.tried["interface"] {
			p.fault("interface", "required, and missing: name the interface of the sync link", "interface IF [peer ADDRESS] [port NUMBER]")
		}
		return
	}
	if !slices.ContainsFunc(c.Links, p.triedPeer) {
		p.finishMulticast()
		return
	}
	if !p.tried["mcast-group"] {
		c.MulticastGroup = netip.Addr{}
	}
	p.finishPeers()
}

// triedPeer says whether the file gives the link a peer, rightly or not.
func (p *parser) triedPeer(l Link) bool { return p.tried["interface "+l.Interface+" peer"] }

// finishPeers: with one peer, every interface needs one, and local and remote addresses must fit.
func (p *parser) finishPeers() {
	var with string
	var peers []netip.Addr
	for _, l := range p.cfg.Links {
		if with == "" && p.triedPeer(l) {
			with = l.Interface
		}
		peers = append(peers, l.Peers...)
	}
	for _, l := range p.cfg.Links {
		if !p.triedPeer(l) {
			p.faultAt(p.said["interface "+l.Interface].line, l.Interface,
				fmt.Sprintf("no peer, while interface %s has one: unicast and multicast cannot be mixed", with),
				"a peer for every interface, or for none")
		}
		p.finishLink(l)
	}
	for _, local := range p.cfg.ListenAddress {
		fits := func(peer netip.Addr) bool { return peer.Is4() == local.Is4() }
		if !slices.ContainsFunc(peers, fits) {
			p.listenFault(local, fmt.Sprintf("an %s address, and no peer is", family(local)))
		}
	}
}

// finishLink checks the peers of one link.
func (p *parser) finishLink(l Link) {
	for _, peer := range l.Peers {
		line := p.said["interface "+l.Interface+" peer "+peer.String()].line
		if slices.Contains(p.cfg.ListenAddress, peer) {
			p.faultAt(line, peer.String(), "is a listen-address too: a node is not its own peer", "an address of the other firewall")
			continue
		}
		fits := func(local netip.Addr) bool { return peer.Is4() == local.Is4() }
		if len(p.cfg.ListenAddress) > 0 && !slices.ContainsFunc(p.cfg.ListenAddress, fits) {
			p.faultAt(line, peer.String(), fmt.Sprintf("an %s address, and no listen-address is", family(peer)),
				"a peer of the family of a listen-address")
		}
	}
}

func (p *parser) finishMulticast() {
	group := p.cfg.MulticastGroup
	for _, local := range p.cfg.ListenAddress {
		if local.Is4() != group.Is4() {
			p.listenFault(local, fmt.Sprintf("an %s address, but mcast-group %v is %s", family(local), group, family(group)))
		}
	}
}

func (p *parser) listenFault(a netip.Addr, problem string) {
	p.faultAt(p.said["listen-address "+a.String()].line, a.String(), problem, "addresses of the same family at both ends")
}
