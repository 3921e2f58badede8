package flow

import (
	"net/netip"
	"testing"
)

func TestExpects(t *testing.T) {
	key := Key{L3: IPv4, L4: TCP, Tuple: Tuple{Src: Addr{10, 0, 0, 1}, Dst: Addr{203, 0, 113, 1}}}
	expectation := func(helper string) *Flow {
		x := &Extra{HasMaster: true, Master: key}
		copy(x.Helper[:], helper)
		return &Flow{Key: Key{Kind: KindExpect}, Extra: x}
	}
	ftp := Filter{Helpers: []string{"ftp", "Q.931"}}
	ignoring := ftp
	ignoring.Ignore = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	for _, c := range []struct {
		name   string
		filter Filter
		helper string
		want   bool
	}{
		{"off", Filter{}, "ftp", false},
		{"all", Filter{AllHelpers: true}, "anything", true},
		{"meant", ftp, "ftp", true},
		{"on another port", ftp, "ftp-2121", true},
		{"another that begins alike", ftp, "ftpx", false},
		{"another", ftp, "tftp", false},
		{"of an ignored master", ignoring, "ftp", false},
	} {
		if got := c.filter.Expects(expectation(c.helper), key.Inverse()); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	every := Filter{AllHelpers: true, Own: map[Host]bool{{Addr: key.Dst, L3: IPv4}: true}}
	if every.Expects(&Flow{}, Tuple{}) {
		t.Error("one without a master")
	}
	if every.Expects(expectation("ftp"), key.Inverse()) {
		t.Error("of a connection to this node")
	}
	if reply := (Tuple{Src: Addr{10, 0, 0, 80}, Dst: key.Src}); !every.Expects(expectation("ftp"), reply) {
		t.Error("of one to a virtual address that is translated on")
	}
}
