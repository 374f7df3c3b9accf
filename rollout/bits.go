package rollout

import "math/bits"

// bitset is a set of slots of one rollout. Finding the next member costs a word per 64 slots, which keeps a set of
// 100,000 within 12.5 KB and its order that of the slots.
type bitset []uint64

func newBitset(n int) bitset { return make(bitset, (n+63)/64) }

func (b bitset) set(i int)      { b[i>>6] |= 1 << (i & 63) }
func (b bitset) clear(i int)    { b[i>>6] &^= 1 << (i & 63) }
func (b bitset) has(i int) bool { return b[i>>6]&(1<<(i&63)) != 0 }

func (b bitset) put(i int, in bool) {
	if in {
		b.set(i)
		return
	}
	b.clear(i)
}

// next returns the first member at or behind i and before end, -1 if there is none.
func (b bitset) next(i, end int) int {
	for w := i >> 6; w < len(b) && w<<6 < end; w++ {
		word := b[w]
		if w == i>>6 {
			word &= ^uint64(0) << (i & 63)
		}
		if word != 0 {
			if at := w<<6 + bits.TrailingZeros64(word); at < end {
				return at
			}
			return -1
		}
	}
	return -1
}

// nextInBoth returns the first member of both at or behind i, -1 if there is none. b and other are of one length.
func (b bitset) nextInBoth(other bitset, i int) int {
	for w := i >> 6; w < len(b); w++ {
		word := b[w] & other[w]
		if w == i>>6 {
			word &= ^uint64(0) << (i & 63)
		}
		if word != 0 {
			return w<<6 + bits.TrailingZeros64(word)
		}
	}
	return -1
}

// add puts every member of other into b.
func (b bitset) add(other bitset) {
	for i, w := range other {
		b[i] |= w
	}
}
