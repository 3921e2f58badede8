package engine

// window refuses datagrams that came before, over whichever link (the idea of RFC 6479: a bitmap behind the
// highest counter).
type window struct {
	top  uint64
	bits [windowWords]uint64
}

const (
	windowWords = 32
	windowSize  = (windowWords - 1) * 64 // one word is being cleared
)

// fresh says whether counter was not seen, and notes it.
func (w *window) fresh(counter uint64) bool {
	if counter+windowSize <= w.top {
		return false
	}
	for top := w.top/64 + 1; counter > w.top && top <= counter/64 && top <= w.top/64+windowWords; top++ {
		w.bits[top%windowWords] = 0
	}
	w.top = max(w.top, counter)
	word, bit := &w.bits[counter/64%windowWords], uint64(1)<<(counter%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return true
}

// reset has everything up to counter count as seen.
func (w *window) reset(counter uint64) {
	*w = window{top: counter}
	for i := range w.bits {
		w.bits[i] = ^uint64(0)
	}
	// In the word of counter only what is up to it was seen.
	w.bits[counter/64%windowWords] = ^uint64(0) >> (63 - counter%64)
}
