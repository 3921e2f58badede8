package peer

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	for want, c := range map[string]Config{
		"no sync link":            {},
		"not an interface name":   {Links: []Link{{Interface: "averylonginterface"}}},
		"cannot be mixed":         {Links: []Link{{Interface: "a"}, unicast("b", "10.0.0.1")}},
		"named twice":             {Links: []Link{{Interface: "a"}, {Interface: "a", Port: DefaultPort}}},
		"not a multicast address": {Group: netip.MustParseAddr("10.0.0.1"), Links: []Link{{Interface: "a"}}},
		"not a unicast address":   {Links: []Link{unicast("a", "225.0.0.50")}},
		"listen-address":          {Listen: []netip.Addr{netip.MustParseAddr("0.0.0.0")}, Links: []Link{unicast("a", "10.0.0.1")}},
	} {
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q", err, want)
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := Config{Links: []Link{{Interface: "a"}, {Interface: "b", Port: 4000}}}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if c.Group != DefaultGroup || c.Links[0].Port != DefaultPort || c.Links[1].Port != 4000 {
		t.Errorf("%+v", c)
	}
}

// TestUnreadableHost: a look that fails changes nothing, the next one that succeeds does.
func TestUnreadableHost(t *testing.T) {
	tr, err := Open(Config{Links: []Link{{Interface: "nosuch0"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	p := tr.ports[0]
	host, fail := iface{index: 1 << 30, mtu: 1400}, error(nil)
	p.read = func(string) (iface, error) { return host, fail }
	if err := tr.look(); err != nil || tr.Stats()[0].State != stateDown || tr.PayloadLimit() != 1372 {
		t.Fatalf("%v, %+v", err, tr.Stats()[0])
	}
	host, fail = iface{}, errors.New("interrupted")
	if err := tr.look(); !errors.Is(err, fail) || tr.Stats()[0].State != stateDown {
		t.Errorf("%v, %+v", err, tr.Stats()[0])
	}
	fail = nil
	if err := tr.look(); err != nil || tr.Stats()[0].State != stateNoInterface {
		t.Errorf("%v, %+v", err, tr.Stats()[0])
	}
}
