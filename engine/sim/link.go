package sim

import (
	"time"

	"ctsync/engine/wire"
)

// What judges of the link: that proof needs both ways of it, and that nothing is sealed twice alike.

// nonceOf is what must not come twice: a nonce under a shared key.
type nonceOf struct {
	key   uint8
	nonce [12]byte
}

// sealed is told of what a node sends. Each run of a daemon has a key of its own, made of the shared one; nonces are random
// all the same, so that nothing depends on that alone (I8).
func (j *judge) sealed(n *node, payload []byte) {
	var h wire.Header
	at, err := wire.Parse(payload, wire.ClusterHash(cluster), &h)
	if err != nil || h.KeyID == 0 {
		return
	}
	is := nonceOf{key: h.KeyID}
	copy(is.nonce[:], payload[at:])
	if j.nonces[is] {
		j.w.fail("I8", "%s seals with a nonce that was used before, counter %d", n, h.Counter)
	}
	j.nonces[is] = true
}

// reached is told that a datagram of epoch, sent at that time, came to n.
func (j *judge) reached(n *node, epoch wire.Epoch, sent time.Time) {
	if n.eng == nil {
		return
	}
	if s := j.of(n); sent.After(s.reached[epoch]) {
		s.reached[epoch] = sent
	}
}

// provenFor is how long ago what a peer had heard may have been said when it proves anything: three seconds, and as much
// again for clocks that jump back.
const provenFor = 6 * time.Second

// bothWays is told that n has proof of epoch's log (I2): whoever proves it has heard n lately.
func (j *judge) bothWays(n *node, epoch wire.Epoch) {
	o := j.logs[epoch].node
	if o.eng == nil || o.epoch != epoch {
		return
	}
	if silent := j.w.now.Sub(j.of(o).reached[n.epoch]); silent > provenFor {
		j.w.fail("I2", "%s has proof of %s, which has not heard it for %v", n, o, silent)
	}
}
