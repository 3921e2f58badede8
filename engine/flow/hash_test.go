package flow

import (
	"encoding/binary"
	"math"
	"math/bits"
	"testing"
)

// families are tuples that traffic makes: each gives its n-th, n up to 65536.
var families = map[string]func(n int) Key{
	"ports of one client": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", uint16(n), "192.0.2.1", 443)
		k.L3, k.L4 = IPv4, TCP
		return k
	},
	"clients of one server": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", 5000, "192.0.2.1", 443)
		k.L3, k.L4, k.Src[2], k.Src[3] = IPv4, TCP, byte(n>>8), byte(n)
		return k
	},
	"a scan of addresses": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", 5000, "192.0.2.1", 23)
		k.L3, k.L4, k.Dst[2], k.Dst[3] = IPv4, TCP, byte(n>>8), byte(n)
		return k
	},
	"a scan of ports": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", 5000, "192.0.2.1", uint16(n))
		k.L3, k.L4 = IPv4, UDP
		return k
	},
	"clients and ports together": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", uint16(n&255), "192.0.2.1", 443)
		k.L3, k.L4, k.Src[3] = IPv4, TCP, byte(n>>8)
		return k
	},
	"IPv6 hosts of one network": func(n int) (k Key) {
		k.Tuple = tuple("2001:db8::1", 5000, "2001:db8:f::1", 443)
		k.L3, k.L4, k.Src[14], k.Src[15] = IPv6, TCP, byte(n>>8), byte(n)
		return k
	},
	"IPv6 networks": func(n int) (k Key) {
		k.Tuple = tuple("2001:db8::1", 5000, "2001:db8:f::1", 443)
		k.L3, k.L4, k.Dst[6], k.Dst[7] = IPv6, TCP, byte(n>>8), byte(n)
		return k
	},
	"zones": func(n int) (k Key) {
		k.Tuple = tuple("10.0.0.1", 5000, "192.0.2.1", 443)
		k.L3, k.L4, k.Zone = IPv4, TCP, uint16(n)
		return k
	},
}

// TestHashSpreads: over buckets taken from the low bits, as a table does, chi-square is near the number of
// buckets, under any seed.
func TestHashSpreads(t *testing.T) {
	const keys, buckets = 1 << 16, 1 << 12
	for name, of := range families {
		for _, seed := range []uint64{0, 1, 0x5eed, 0xa0761d6478bd642f, math.MaxUint64} {
			var count [buckets]int
			for n := range keys {
				k := of(n)
				count[k.Hash(seed)%buckets]++
			}
			chi := 0.0
			for _, c := range count {
				d := float64(c) - keys/buckets
				chi += d * d / (keys / buckets)
			}
			// The deviation of chi-square is sqrt(2*buckets); five of them are one in millions.
			if limit := buckets + 5*math.Sqrt(2*buckets); chi > limit {
				t.Errorf("%s, seed %x: chi-square %.0f over %d buckets, at most %.0f", name, seed, chi, buckets, limit)
			}
		}
	}
}

// TestHashOfEveryBit: a change of any bit of the key changes about half of the hash.
func TestHashOfEveryBit(t *testing.T) {
	const rounds = 200
	for name, flip := range map[string]struct {
		bits int
		do   func(k *Key, bit int)
	}{
		"source":           {128, func(k *Key, bit int) { k.Src[bit/8] ^= 1 << (bit % 8) }},
		"destination":      {128, func(k *Key, bit int) { k.Dst[bit/8] ^= 1 << (bit % 8) }},
		"source port":      {16, func(k *Key, bit int) { k.SrcL4 ^= 1 << bit }},
		"destination port": {16, func(k *Key, bit int) { k.DstL4 ^= 1 << bit }},
		"protocol":         {8, func(k *Key, bit int) { k.L4 ^= 1 << bit }},
		"zone":             {16, func(k *Key, bit int) { k.Zone ^= 1 << bit }},
		"zone direction":   {2, func(k *Key, bit int) { k.ZoneDir ^= 1 << bit }},
	} {
		for bit := range flip.bits {
			changed := 0
			for n := range rounds {
				k := families["IPv6 hosts of one network"](n * 31)
				before := k.Hash(uint64(n))
				flip.do(&k, bit)
				changed += bits.OnesCount64(before ^ k.Hash(uint64(n)))
			}
			if per := float64(changed) / rounds; per < 24 || per > 40 {
				t.Errorf("bit %d of the %s changes %.1f bits of 64", bit, name, per)
			}
		}
	}
}

// TestHashHasNoCollisions of 64 bits in what traffic makes: a digest would not see one.
func TestHashHasNoCollisions(t *testing.T) {
	seen := map[uint64]Key{}
	for name, of := range families {
		for n := range 1 << 16 {
			k := of(n)
			h := k.Hash(0xd19e57)
			if other, ok := seen[h]; ok && other != k {
				t.Fatalf("%s: %v and %v have hash %x", name, k, other, h)
			}
			seen[h] = k
		}
	}
}

// TestHashIsTheSameEverywhere: nodes compare digests, so a change of this number is another protocol.
func TestHashIsTheSameEverywhere(t *testing.T) {
	k := families["IPv6 hosts of one network"](258)
	if got, want := Mix(Mix(k.Hash(1), 2), 3), uint64(0xe89d8a2dd26e8e59); got != want {
		t.Errorf("%#x, was %#x", got, want)
	}
}

// TestHashOfChosenAddresses: an address that is equal to a constant of the hash, in any place, does not make
// the rest of the key disappear. Who has a network of their own and a target that takes any address behind
// the firewall could else fill one bucket, whatever the seed.
func TestHashOfChosenAddresses(t *testing.T) {
	constants := []uint64{0, 0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3, 0x589965cc75374cc3,
		0xa0761d6478bd642f ^ 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3 ^ 0x589965cc75374cc3}
	for _, seed := range []uint64{0x5eed, 0xa0761d6478bd642f} {
		for _, c := range append(constants, seed) {
			for place := range 4 {
				fixed := func(k *Key) []byte { return [][]byte{k.Src[:8], k.Src[8:], k.Dst[:8], k.Dst[8:]}[place] }
				seen := map[uint64]bool{}
				for n := range 1000 {
					k := families["IPv6 hosts of one network"](n)
					k.Src[0], k.Dst[0], k.Dst[15] = byte(n), byte(n), byte(n)
					binary.LittleEndian.PutUint64(fixed(&k), c)
					k.Src[7], k.Dst[7] = k.Src[7]^byte(n>>8)*b2(place != 0), k.Dst[7]^byte(n>>8)*b2(place != 2)
					seen[k.Hash(seed)%(1<<40)] = true
				}
				if len(seen) < 999 {
					t.Errorf("constant %x in place %d, seed %x: %d hashes of 1000 keys", c, place, seed, len(seen))
				}
			}
		}
	}
}

func b2(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func BenchmarkHash(b *testing.B) {
	for _, name := range []string{"ports of one client", "IPv6 hosts of one network"} {
		b.Run(name, func(b *testing.B) {
			k, sum := families[name](1), uint64(0)
			for i := range b.N {
				k.SrcL4 = uint16(i)
				sum += k.Hash(sum)
			}
		})
	}
}
