package flow

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func addr(s string) Addr { return AddrFrom(netip.MustParseAddr(s)) }

// tuple is "source destination", each address with its layer-4 part after a slash.
func tuple(src string, srcL4 uint16, dst string, dstL4 uint16) Tuple {
	return Tuple{addr(src), addr(dst), srcL4, dstL4}
}

func TestAddrIsItsNetip(t *testing.T) {
	for _, c := range []struct {
		in, out string
		l3      uint8
	}{
		{"192.0.2.1", "192.0.2.1", IPv4},
		{"2001:db8::1", "2001:db8::1", IPv6},
		{"::", "::", IPv6},
		{"0.0.0.0", "0.0.0.0", IPv4},
		{"::ffff:192.0.2.1", "192.0.2.1", IPv4},
		{"fe80::1%eth0", "fe80::1", IPv6},
	} {
		if got := addr(c.in).Netip(c.l3); got != netip.MustParseAddr(c.out) {
			t.Errorf("%s is %s, want %s", c.in, got, c.out)
		}
	}
}

// TestInverse has what nf_ct_invert_tuple gives for each protocol.
func TestInverse(t *testing.T) {
	for _, c := range []struct {
		name     string
		l3, l4   uint8
		from, to Tuple
	}{
		{"tcp", IPv4, TCP, tuple("10.0.0.1", 1000, "192.0.2.1", 80), tuple("192.0.2.1", 80, "10.0.0.1", 1000)},
		{"gre", IPv4, GRE, tuple("10.0.0.1", 0, "192.0.2.1", 7), tuple("192.0.2.1", 7, "10.0.0.1", 0)},
		{"esp", IPv6, ESP, tuple("2001:db8::1", 0, "2001:db8::2", 0), tuple("2001:db8::2", 0, "2001:db8::1", 0)},
		{"echo", IPv4, ICMP, tuple("10.0.0.1", 77, "192.0.2.1", 8<<8), tuple("192.0.2.1", 77, "10.0.0.1", 0)},
		{"echo reply", IPv4, ICMP, tuple("10.0.0.1", 77, "192.0.2.1", 0), tuple("192.0.2.1", 77, "10.0.0.1", 8<<8)},
		{"timestamp", IPv4, ICMP, tuple("10.0.0.1", 1, "192.0.2.1", 13<<8|3), tuple("192.0.2.1", 1, "10.0.0.1", 14<<8|3)},
		{"address mask", IPv4, ICMP, tuple("10.0.0.1", 1, "192.0.2.1", 17<<8), tuple("192.0.2.1", 1, "10.0.0.1", 18<<8)},
		{"unreachable", IPv4, ICMP, tuple("10.0.0.1", 1, "192.0.2.1", 3<<8), tuple("192.0.2.1", 1, "10.0.0.1", 3<<8)},
		{"echo of IPv6", IPv6, ICMPv6, tuple("2001:db8::1", 9, "2001:db8::2", 128<<8), tuple("2001:db8::2", 9, "2001:db8::1", 129<<8)},
		{"node information", IPv6, ICMPv6, tuple("2001:db8::1", 9, "2001:db8::2", 139<<8), tuple("2001:db8::2", 9, "2001:db8::1", 140<<8)},
		{"no IPv4 echo in IPv6", IPv6, ICMPv6, tuple("2001:db8::1", 9, "2001:db8::2", 8<<8), tuple("2001:db8::2", 9, "2001:db8::1", 8<<8)},
	} {
		k := Key{Tuple: c.from, L3: c.l3, L4: c.l4}
		if got := k.Inverse(); got != c.to {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.to)
		}
	}
}

// TestInverseTwice is the tuple itself, for every protocol and type.
func TestInverseTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key{L3: IPv4, L4: rapid.SampledFrom([]uint8{TCP, UDP, ICMP, ICMPv6, GRE, SCTP, ESP}).Draw(t, "l4")}
		k.Src[0], k.Dst[3] = rapid.Byte().Draw(t, "src"), rapid.Byte().Draw(t, "dst")
		k.SrcL4, k.DstL4 = rapid.Uint16().Draw(t, "sport"), rapid.Uint16().Draw(t, "dport")
		back := k
		back.Tuple = k.Inverse()
		if back.Inverse() != k.Tuple {
			t.Fatalf("%+v is %+v after two inversions", k.Tuple, back.Inverse())
		}
	})
}

// TestTranslation reads from the reply direction what was translated, and to what.
func TestTranslation(t *testing.T) {
	web := Key{Tuple: tuple("10.0.0.1", 1000, "192.0.2.1", 80), L3: IPv4, L4: TCP}
	ping := Key{Tuple: tuple("10.0.0.1", 77, "192.0.2.1", 8<<8), L3: IPv4, L4: ICMP}
	esp := Key{Tuple: tuple("10.0.0.1", 0, "192.0.2.1", 0), L3: IPv4, L4: ESP}
	type nat struct {
		addr string
		l4   uint16
	}
	for _, c := range []struct {
		name     string
		k        Key
		reply    Tuple
		src, dst *nat
	}{
		{"none", web, tuple("192.0.2.1", 80, "10.0.0.1", 1000), nil, nil},
		{"masquerade, port kept", web, tuple("192.0.2.1", 80, "203.0.113.9", 1000), &nat{"203.0.113.9", 1000}, nil},
		{"port only", web, tuple("192.0.2.1", 80, "10.0.0.1", 1024), &nat{"10.0.0.1", 1024}, nil},
		{"port forward", web, tuple("10.9.9.9", 8080, "10.0.0.1", 1000), nil, &nat{"10.9.9.9", 8080}},
		{"redirect", web, tuple("192.0.2.1", 3128, "10.0.0.1", 1000), nil, &nat{"192.0.2.1", 3128}},
		{"hairpin", web, tuple("10.9.9.9", 8080, "203.0.113.9", 5), &nat{"203.0.113.9", 5}, &nat{"10.9.9.9", 8080}},
		{"ping", ping, tuple("192.0.2.1", 77, "10.0.0.1", 0), nil, nil},
		{"ping, another id", ping, tuple("192.0.2.1", 78, "203.0.113.9", 0), &nat{"203.0.113.9", 78}, nil},
		{"ping, the id only", ping, tuple("192.0.2.1", 78, "10.0.0.1", 0), &nat{"10.0.0.1", 78}, nil},
		{"ping forwarded", ping, tuple("10.9.9.9", 77, "10.0.0.1", 0), nil, &nat{"10.9.9.9", 0}},
		{"esp", esp, tuple("192.0.2.1", 0, "203.0.113.9", 0), &nat{"203.0.113.9", 0}, nil},
	} {
		f := Flow{Key: c.k, Value: Value{Reply: c.reply}}
		check := func(what string, want *nat, a Addr, l4 uint16, ok bool) {
			if ok != (want != nil) || want != nil && (a != addr(want.addr) || l4 != want.l4) {
				t.Errorf("%s: %s NAT is %v %s/%d, want %+v", c.name, what, ok, a.Netip(IPv4), l4, want)
			}
		}
		a, l4, ok := f.SourceNAT()
		check("source", c.src, a, l4, ok)
		a, l4, ok = f.DestNAT()
		check("destination", c.dst, a, l4, ok)
	}
}

func TestFilterAccepts(t *testing.T) {
	k := Key{Tuple: tuple("10.0.0.1", 1000, "192.0.2.1", 80), L3: IPv4, L4: TCP}
	plain := Value{Reply: k.Inverse()}
	forwarded := Value{Reply: tuple("10.9.9.9", 8080, "10.0.0.1", 1000)}
	k6 := Key{Tuple: tuple("2001:db8::1", 1, "2001:db8:f::2", 2), L3: IPv6, L4: UDP}
	plain6 := Value{Reply: k6.Inverse()}
	only := func(l4 uint8) (f Filter) { f.Some, f.Protocols[l4] = true, true; return f }
	ignore := func(s string) Filter { return Filter{Ignore: []netip.Prefix{netip.MustParsePrefix(s)}} }
	own := func(s string) Filter { return Filter{own: map[Host]bool{HostFrom(netip.MustParseAddr(s)): true}} }
	for _, c := range []struct {
		name string
		f    Filter
		k    Key
		v    Value
		want bool
	}{
		{"all", Filter{}, k, plain, true},
		{"its protocol", only(TCP), k, plain, true},
		{"another protocol", only(UDP), k, plain, false},
		{"a list that is not in force", Filter{Protocols: only(UDP).Protocols}, k, plain, true},
		{"own source", own("10.0.0.1"), k, plain, false},
		{"own destination", own("192.0.2.1"), k, plain, false},
		{"own address forwarded on", own("192.0.2.1"), k, forwarded, true},
		{"own address that answers", own("10.9.9.9"), k, forwarded, false},
		{"own IPv6 address with the bytes of an IPv4 one", own("a00:1::"), k, plain, true},
		{"own IPv4 address with the bytes of an IPv6 one", own("32.1.13.184"), Key{Tuple: tuple("2001:db8::", 1, "2001:db8:f::2", 2), L3: IPv6, L4: UDP}, plain6, true},
		{"ignored source", ignore("10.0.0.0/24"), k, plain, false},
		{"ignored destination", ignore("192.0.2.1/32"), k, plain, false},
		{"ignored, but forwarded on", ignore("192.0.2.1/32"), k, forwarded, true},
		{"another prefix", ignore("10.0.1.0/24"), k, plain, true},
		{"IPv6 ignored", ignore("2001:db8:f::/48"), k6, plain6, false},
		{"IPv6, another", ignore("2001:db8:e::/48"), k6, plain6, true},
		{"IPv4 of all does not mean IPv6", ignore("0.0.0.0/0"), k6, plain6, true},
		{"IPv6 of all does not mean IPv4", ignore("::/0"), k, plain, true},
	} {
		if got := c.f.Accepts(&c.k, &c.v); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestKeyString(t *testing.T) {
	k := Key{Tuple: tuple("10.0.0.1", 1000, "192.0.2.1", 80), L3: IPv4, L4: TCP, Zone: 3}
	if got, want := k.String(), "6 10.0.0.1:1000>192.0.2.1:80 zone 3"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
