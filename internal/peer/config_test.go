package peer

import (
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
