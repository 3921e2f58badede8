package flow

import (
	"encoding/binary"
	"math/bits"
)

// Hash is a 64-bit hash of the key under seed (multiply and fold, as wyhash does). It is the same on every
// machine. With a secret seed it is for tables whose keys attackers choose; with a public one for digests.
//
// Each factor of each product has the seed in it, and no product forgets its factors: with a constant in
// their place an address that cancels it would make all flows to it collide, whatever the seed.
func (k *Key) Hash(seed uint64) uint64 {
	le := binary.LittleEndian
	second := Mix(seed, 0xa0761d6478bd642f)
	h := fold(seed^le.Uint64(k.Src[:8]), second^le.Uint64(k.Dst[:8]))
	if k.L3 == IPv6 {
		h = fold(h^le.Uint64(k.Src[8:]), second^0xe7037ed1a0b428db^le.Uint64(k.Dst[8:]))
	}
	l4 := uint64(k.SrcL4)<<48 | uint64(k.DstL4)<<32 | uint64(k.Zone)<<16 | uint64(k.L4)<<8 | uint64(k.L3)<<2 | uint64(k.Kind)<<7 | uint64(k.ZoneDir)
	return Mix(fold(h, second^l4), seed)
}

// Mix folds v into the hash h.
func Mix(h, v uint64) uint64 { return fold(h^0x8ebc6af09c88c6e3, v^0x589965cc75374cc3) }

// fold multiplies a and b into 64 bits; should one of them be zero, the other is left.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo ^ a ^ b
}
