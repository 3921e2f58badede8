package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// settleLimit bounds the wait for the router that should be master after a fault.
const settleLimit = 30 * time.Second

// PowerCut takes a router away in one step: all of its cables lose their light and everything that runs on it
// is killed. The cables go first: a keepalived whose parent is killed says goodbye if it still can.
func (l *Lab) PowerCut(r *Router) error {
	return errors.Join(l.cables(r, false), r.kill9())
}

// PowerOn starts a router whose power was cut, with an empty table and without the addresses it held: the
// daemon first, then keepalived. It does not wait for a role.
func (l *Lab) PowerOn(r *Router) error {
	r.Keepalived.Kill9()
	if err := r.forget(); err != nil {
		return err
	}
	if err := l.cables(r, true); err != nil {
		return err
	}
	if err := r.startBus(); err != nil {
		return err
	}
	if err := r.Daemon.Start(); err != nil {
		return err
	}
	return r.StartKeepalived()
}

// forget loses what a machine without power loses: its connections, its neighbours, its virtual addresses, and
// what its processes had left in /run.
func (r *Router) forget() error {
	if err := errors.Join(os.RemoveAll(r.Folder), os.Mkdir(r.Folder, 0o755)); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if _, err := r.Run("conntrack", "-F"); err != nil {
		return err
	}
	commands := "neighbour flush all\n"
	for _, i := range r.instances() {
		for _, a := range i.addresses {
			commands += fmt.Sprintf("address flush dev %s to %s\n", i.link, netip.PrefixFrom(netip.MustParsePrefix(a).Addr(), netip.MustParsePrefix(a).Addr().BitLen()))
		}
	}
	_, err := r.RunInput(commands, "ip", "-batch", "-")
	return err
}

// cables gives light to, or takes it from, every cable of r, at both ends of a direct one.
func (l *Lab) cables(r *Router, light bool) error {
	var errs []error
	for _, sync := range r.Syncs() {
		errs = append(errs, l.cable(r, sync, light), l.cable(r.Peer, sync, light))
	}
	errs = append(errs, l.cable(r, WAN, light), l.cable(r, LAN, light))
	return errors.Join(errs...)
}

// cable sets the carrier of one interface, from the other end.
func (l *Lab) cable(r *Router, link string, light bool) error {
	return l.Switches.setLink(r.port(link), light)
}

// CutLink pulls the cable of one interface.
func (l *Lab) CutLink(r *Router, link string) error { return l.cable(r, link, false) }

// JoinLink plugs the cable in again. Neighbours that the router asked for in vain are forgotten first, as they
// would be after three seconds without a cable: the kernel asks for such a one again only each full second,
// and a test does not want to wait for either.
func (l *Lab) JoinLink(r *Router, link string) error {
	if _, err := r.Run("ip", "neighbour", "flush", "dev", link); err != nil {
		return err
	}
	return l.cable(r, link, true)
}

// SetLink sets an interface administratively up or down on the router itself.
func (l *Lab) SetLink(r *Router, link string, up bool) error { return r.setLink(link, up) }

// CutSync pulls the sync cable of that number: both routers lose carrier. JoinSync plugs it in again.
func (l *Lab) CutSync(number int) error  { return l.syncCable(number, false) }
func (l *Lab) JoinSync(number int) error { return l.syncCable(number, true) }

func (l *Lab) syncCable(number int, light bool) error {
	link := l.R1.Syncs()[number]
	return errors.Join(l.cable(l.R1, link, light), l.cable(l.R2, link, light))
}

// Lose makes so many in 100 of the datagrams that come to the router by its sync links disappear before anybody has
// them, each by a throw of the kernel's dice; 0 ends that.
func (r *Router) Lose(percent int) error {
	rules := "table inet lossy\ndelete table inet lossy\n"
	if percent > 0 {
		dice := fmt.Sprintf("numgen random mod 100 < %d", percent)
		if percent >= 100 {
			dice = ""
		}
		rules += fmt.Sprintf(lossy, dice)
	}
	_, err := r.RunInput(rules, "nft", "-f", "-")
	return err
}

const lossy = `table inet lossy {
	chain input {
		type filter hook input priority -10; policy accept;
		iifname "sync*" meta l4proto udp %s counter drop
	}
}
`

// Restart starts the daemon again after it was killed or stopped.
func (r *Router) Restart() error { return r.Daemon.Start() }

// Fault is a step that should make Taker the master.
type Fault struct {
	Name  string
	Taker *Router
	Do    func() error
}

// Cycle is each way in which a master fails, each followed by its return.
func (l *Lab) Cycle() []Fault {
	r1, r2 := l.R1, l.R2
	return []Fault{
		{"power cut of the master", r2, func() error { return l.PowerCut(r1) }},
		{"failback after the power cut", r1, func() error { return l.PowerOn(r1) }},
		{"graceful stop of keepalived", r2, r1.StopKeepalived},
		{"failback after the stop", r1, r1.StartKeepalived},
		{"WAN link of the master cut", r2, func() error { return l.CutLink(r1, WAN) }},
		{"failback after the link cut", r1, func() error { return l.JoinLink(r1, WAN) }},
	}
}
