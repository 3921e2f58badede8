package sim

import (
	"math/rand"
	"time"

	"ctsync/engine"
	"ctsync/engine/wire"
)

// rotation is an operator who gives the nodes another key while everything goes on: the new one beside the old one, on
// one node after the other, in either order, and later the new one alone. Where there was no key the nodes hear, in
// between, what is not sealed as well (`seal permissive`). A daemon that starts anew finds what its node was given. It
// draws from a source of its own, so that the lives of the seeds without it stay what they are.
type rotation struct {
	w   *world
	rng *rand.Rand
	key wire.Key // the new one
}

func newRotation(w *world) *rotation {
	r := &rotation{w: w, rng: rand.New(rand.NewSource(w.seed ^ 0x6b6579))}
	for {
		var secret [wire.KeySize]byte
		r.rng.Read(secret[:])
		r.key = wire.NewKey(secret)
		if len(w.keys) == 0 || w.keys[0].ID != r.key.ID { // the daemon refuses two keys with one id
			return r
		}
	}
}

// Every node is given the new key within oneByOne; the old one goes keptFor after the last of them may have got it.
const (
	oneByOne = 6 * time.Second
	keptFor  = 8 * time.Second
)

func (r *rotation) begin() {
	first := r.between(4*time.Second, 15*time.Second)
	for _, n := range r.w.nodes {
		r.w.after(first+r.between(0, oneByOne), func() { r.give(n, r.both(), len(r.w.keys) == 0) })
		r.w.after(first+oneByOne+keptFor+r.between(0, oneByOne), func() { r.give(n, []wire.Key{r.key}, false) })
	}
}

// both are the new key and the old one, if there is one, in either order.
func (r *rotation) both() []wire.Key {
	keys := append([]wire.Key{r.key}, r.w.keys...)
	if len(keys) == 2 && r.rng.Intn(2) == 0 {
		keys[0], keys[1] = keys[1], keys[0]
	}
	return keys
}

func (r *rotation) give(n *node, keys []wire.Key, permissive bool) {
	r.w.trace(n, "is given %d keys, permissive %v", len(keys), permissive)
	r.w.count("key step")
	n.keys, n.permissive = keys, permissive
	n.input(&engine.Keys{Keys: keys, Permissive: permissive})
}

func (r *rotation) between(a, b time.Duration) time.Duration {
	return a + time.Duration(r.rng.Int63n(int64(b-a)+1))
}
