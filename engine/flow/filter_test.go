package flow

import (
	"math/rand"
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
	every := Filter{AllHelpers: true, own: map[Host]bool{{Addr: key.Dst, L3: IPv4}: true}}
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

// TestRangesEqualPrefixes: what is compared fast says what the prefixes and the map would say.
func TestRangesEqualPrefixes(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	near := func(four bool) netip.Addr { // few bits differ, so that many match
		var b [16]byte
		for i := range b {
			b[i] = byte(rng.Intn(2))
		}
		if four {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16(b)
	}
	met := map[bool]int{}
	for range 300 {
		f := Filter{own: map[Host]bool{}}
		for range rng.Intn(4) {
			a := near(rng.Intn(2) == 0)
			f.Ignore = append(f.Ignore, netip.PrefixFrom(a, rng.Intn(a.BitLen()+1)))
			f.own[HostFrom(near(rng.Intn(2) == 0))] = rng.Intn(4) > 0
		}
		for range 100 {
			h := HostFrom(near(rng.Intn(2) == 0))
			want := f.own[h]
			for _, p := range f.Ignore {
				want = want || p.Contains(h.Addr.Netip(h.L3))
			}
			met[want]++
			k, v := Key{L3: h.L3}, Value{}
			k.Src = h.Addr
			v.Reply.Src = h.Addr
			if got := !f.Accepts(&k, &v); got != want {
				t.Fatalf("%v in %v and %v: %v", h.Addr.Netip(h.L3), f.Ignore, f.own, got)
			}
		}
	}
	if met[true] < 1000 || met[false] < 1000 {
		t.Errorf("met %v", met)
	}
}
