package lab

import (
	"fmt"
	"time"
)

// Ports of the server.
const (
	portTCP   = 7000
	portUDP   = 7001
	portProbe = 7002
)

// Plan says how many conversations of each kind run through the pair.
type Plan struct {
	TCP  int // mostly idle: a message and its echo every 100 to 250 ms
	Bulk int // TCP too, both ends send all the time
	UDP  int // a request and its answer every 100 ms
	Ping int // ICMP echo every 100 ms
}

// count is how many by Talk.
func (p Plan) count() [Ping + 1]int {
	return [...]int{TCP: p.TCP, Bulk: p.Bulk, UDP: p.UDP, Ping: p.Ping}
}

// Traffic is the client's conversations with the server, and their judge. One goroutine at a time calls its
// methods.
type Traffic struct {
	lab     *Lab
	server  *server
	pings   *pinger
	probe   *probe
	serial  uint32 // the last conversation's id
	talking []*Conversation
}

// StartTraffic opens every conversation of the plan and waits until each has had an answer.
func (l *Lab) StartTraffic(p Plan) (*Traffic, error) {
	t := &Traffic{lab: l}
	if err := t.start(p); err != nil {
		t.Stop()
		return nil, err
	}
	return t, nil
}

func (t *Traffic) start(p Plan) (err error) {
	if t.server, err = startServer(t.lab); err != nil {
		return err
	}
	if t.pings, err = startPinger(t.lab); err != nil {
		return err
	}
	for kind, count := range p.count() {
		for i := range count {
			if err := t.open(Talk(kind), t.lab.options.IPv6 && i%2 == 1); err != nil {
				return err
			}
		}
	}
	if t.probe, err = startProbe(t.lab, t.server); err != nil {
		return err
	}
	return t.settle()
}

// settle waits until every conversation has had an answer and the server knows where each comes from.
func (t *Traffic) settle() error {
	if r := Judge("start", t.Check(settleLimit)); r.Lost() != 0 {
		return fmt.Errorf("lab: traffic did not start: %s", r.Reasons())
	}
	return waitFor("a probe to be answered", settleLimit, t.probe.known)
}

// open adds a conversation.
func (t *Traffic) open(kind Talk, ipv6 bool) error {
	t.serial++
	c := &Conversation{Kind: kind, IPv6: ipv6, id: t.serial}
	t.server.register(c)
	if err := t.dial(c); err != nil {
		return fmt.Errorf("lab: open %s conversation: %w", kind, err)
	}
	t.talking = append(t.talking, c)
	return nil
}

func (t *Traffic) dial(c *Conversation) error {
	switch c.Kind {
	case TCP, Bulk:
		return dialTCP(t.lab.Client, c)
	case UDP:
		return dialUDP(t.lab.Client, c)
	}
	return t.pings.add(c)
}

// Forget starts a new measurement: stalls so far do not count any more.
func (t *Traffic) Forget() {
	for _, c := range t.talking {
		c.forget()
	}
	t.probe.forget()
}

// Check says of each conversation whether it is alive now: something sent after the call was answered within
// the limit.
func (t *Traffic) Check(limit time.Duration) []Verdict {
	for _, c := range t.talking {
		c.remark()
	}
	decided := func() bool {
		for _, c := range t.talking {
			if !c.active() && !c.ended() {
				return false
			}
		}
		return true
	}
	_ = waitFor("every conversation", limit, decided)
	verdicts := make([]Verdict, 0, len(t.talking))
	for _, c := range t.talking {
		verdicts = append(verdicts, c.verdict(c.active()))
	}
	return verdicts
}

// Renew replaces the conversations that Check found lost, so that the next fault has as many to spare, and
// every second one of the others, and the probes: a connection that the present master began itself meets
// other rules in the kernel than one that it was given, so each fault meets both.
func (t *Traffic) Renew() error {
	old := t.talking
	t.talking = nil
	for i, c := range old {
		if i/2%2 == 0 && c.active() { // in pairs, so that both families are among either
			t.talking = append(t.talking, c)
			continue
		}
		c.end.Close()
		t.server.forget(c)
		t.pings.forget(c)
		if err := t.open(c.Kind, c.IPv6); err != nil {
			return err
		}
	}
	if err := t.probe.restart(); err != nil {
		return err
	}
	return t.settle()
}

// Gap is the longest time since the last Forget in which no probe was forwarded.
func (t *Traffic) Gap() Gap { return t.probe.gap() }

// Stop ends all conversations and the server.
func (t *Traffic) Stop() {
	for _, c := range t.talking {
		c.end.Close()
	}
	t.talking = nil
	if t.probe != nil {
		t.probe.Close()
	}
	if t.pings != nil {
		t.pings.Close()
	}
	if t.server != nil {
		t.server.Close()
	}
}
