package decompress

import "encoding/binary"

const (
	lzmsMaxCode = 15 // bits of the longest code

	// Widths of the tables, in bits: nearly all codes of each kind are shorter.
	lzmsLiteralBits = 10
	lzmsLengthBits  = 9
	lzmsOffsetBits  = 11
	lzmsPowerBits   = 7
	lzmsTableBits   = lzmsOffsetBits // the widest

	// Room for the number of a symbol in what is sorted.
	lzmsSymbolBits = 10
	lzmsSymbols    = 1 << lzmsSymbolBits

	// Counts from lzmsMany on are sorted one by one. All counts of a code together
	// are at most twice its symbols and twice what is met between two rebuilds, so
	// these are 58 at most, and nearly always a few.
	lzmsMany = 63
)

// lzmsCode is a Huffman code that follows the symbols it is used for. All count
// once at the start; after every so many symbols the code is made anew and the
// counts are halved, so that what was met long ago weighs less.
//
// The table has an entry for every row of as many bits as it is wide: the symbol
// << 4 and the length of its code, or 0 when the code is longer than that. Those
// are found by comparing: in a canonical code the codes of one length are
// consecutive numbers, and smaller than the beginnings of all longer ones. The table
// is of bytes, as several entries are written at a time.
type lzmsCode struct {
	table  [2<<lzmsTableBits + lzmsTableRoom]byte
	counts [lzmsSymbols]uint16
	left   int // symbols until the code is made anew

	n     int  // symbols
	bits  uint // width of the table
	every int

	order  [lzmsSymbols]uint16     // the symbols by length of their codes, then by number
	behind [lzmsMaxCode + 1]uint16 // for each length, where in order the longer ones begin
	ends   [lzmsMaxCode + 1]uint32 // and where their codes begin, of 15 bits

	first  [2<<lzmsTableBits + lzmsTableRoom]byte // the table of the first code, for firstN symbols
	firstN int

	lengths [lzmsSymbols]uint8
	sorted  [lzmsSymbols]uint32 // count << lzmsSymbolBits | symbol
	weights [lzmsSymbols]uint32 // of the tree's inner nodes, in the order they are made
	parents [lzmsSymbols]uint16 // of the inner nodes
}

// lzmsTableRoom is the room behind a table for what is written with its last entry.
const lzmsTableRoom = 6

// reset begins anew with n symbols.
func (c *lzmsCode) reset(n int) {
	c.n = n
	for i := range c.counts[:n] {
		c.counts[i] = 1
	}
	if c.firstN == n {
		// None of the codes is longer than the table is wide: all count the same.
		c.left = c.every
		size := 2 << c.bits
		copy(c.table[:size], c.first[:size])
		return
	}
	c.rebuild() // which leaves the counts at 1
	c.first, c.firstN = c.table, n
}

// entry is that of the table for the next bits.
func (c *lzmsCode) entry(i uint64) uint16 {
	return binary.LittleEndian.Uint16(c.table[2*(i%(1<<lzmsTableBits)):])
}

// long finds the symbol of a code that is longer than the table is wide; 0 when
// there is none.
func (c *lzmsCode) long(buf uint64) uint16 {
	v := uint32(buf >> (64 - lzmsMaxCode))
	for l := c.bits + 1; l <= lzmsMaxCode; l++ {
		if end := c.ends[l]; v < end {
			i := c.behind[l] - 1 - uint16((end-1-v)>>(lzmsMaxCode-l))
			return c.order[i%lzmsSymbols]<<4 | uint16(l)
		}
	}
	return 0
}

// rebuild makes the code that fits the counts.
func (c *lzmsCode) rebuild() {
	c.left = c.every
	if c.n < 2 { // no code at all
		clear(c.table[:])
		clear(c.ends[:])
		return
	}
	count := c.setLengths()
	var at [lzmsMaxCode + 1]uint16
	place, code := uint16(0), uint32(0)
	for l := 1; l <= lzmsMaxCode; l++ {
		at[l] = place
		place += count[l]
		code += uint32(count[l]) << (lzmsMaxCode - l)
		c.behind[l], c.ends[l] = place, code
	}
	for sym, l := range c.lengths[:c.n] {
		p := &at[l%(lzmsMaxCode+1)]
		c.order[*p%lzmsSymbols] = uint16(sym)
		*p++
		c.counts[sym] = c.counts[sym]>>1 + 1
	}
	c.fill(&count)
}

// fill writes the table, in the order of the codes. Four entries are written at a
// time, and what is too much of them is written again with the next code.
func (c *lzmsCode) fill(count *[lzmsMaxCode + 1]uint16) {
	order, at := c.order[:c.n], 0
	for l := uint(1); l <= c.bits; l++ {
		size := 2 << (c.bits - l)
		for _, sym := range order[:count[l]] {
			four := uint64(sym<<4|uint16(l)) * 0x0001_0001_0001_0001
			for k := at; k < at+size; k += 8 {
				binary.LittleEndian.PutUint64(c.table[k:], four)
			}
			at += size
		}
		order = order[count[l]:]
	}
	clear(c.table[at : 2<<c.bits])
}

// sort orders the symbols by count, those with the same count by number.
func (c *lzmsCode) sort() []uint32 {
	var at [lzmsMany + 1]uint16
	counts := c.counts[:c.n]
	for _, k := range counts {
		at[min(k, lzmsMany)]++
	}
	place := uint16(0)
	for i, k := range at {
		at[i] = place
		place += k
	}
	many := at[lzmsMany]
	for sym, k := range counts {
		p := &at[min(k, lzmsMany)]
		c.sorted[*p%lzmsSymbols] = uint32(k)<<lzmsSymbolBits | uint32(sym)
		*p++
	}
	last := c.sorted[many:c.n]
	for i := 1; i < len(last); i++ {
		for k := i; k > 0 && last[k] < last[k-1]; k-- {
			last[k], last[k-1] = last[k-1], last[k]
		}
	}
	return c.sorted[:c.n]
}

// setLengths computes the lengths of Huffman's code, and how many there are of
// each. Which of the many codes of the same size it is, is part of the format: of
// a leaf and an inner node with the same count the leaf is taken first, and
// symbols that are met more seldom get the longer codes.
func (c *lzmsCode) setLengths() (count [lzmsMaxCode + 1]uint16) {
	const none = 1 << 30 // heavier than anything
	n := c.n
	sorted := c.sort()
	c.sorted[n%lzmsSymbols] = ^uint32(0) // lighter than none
	leaf, inner := 0, 0
	for made := range n - 1 {
		c.weights[made%lzmsSymbols] = none
		weight := uint32(0)
		for range 2 {
			if l, w := c.sorted[leaf%lzmsSymbols]>>lzmsSymbolBits, c.weights[inner%lzmsSymbols]; l <= w {
				weight += l
				leaf++
			} else {
				weight += w
				c.parents[inner%lzmsSymbols] = uint16(made)
				inner++
			}
		}
		c.weights[made%lzmsSymbols] = weight
	}
	if !c.countLevels(&count) {
		c.countLimited(&count)
	}
	at := 0
	for l := lzmsMaxCode; l > 0; l-- {
		for range count[l] {
			c.lengths[sorted[at]%lzmsSymbols] = uint8(l)
			at++
		}
	}
	return count
}

// countLevels counts the leaves at every depth. It reports false when there are some
// that are too deep. The inner nodes of one depth lie one behind the other, the root
// is the last, and deeper ones lie before.
func (c *lzmsCode) countLevels(count *[lzmsMaxCode + 1]uint16) bool {
	from, to := c.n-2, c.n-1 // the inner nodes of a depth
	for l := 1; from < to; l++ {
		if l > lzmsMaxCode {
			return false
		}
		next := from
		for next > 0 && int(c.parents[(next-1)%lzmsSymbols]) >= from {
			next--
		}
		count[l] = uint16(2*(to-from) - (from - next))
		from, to = next, from
	}
	return true
}

// countLimited is countLevels where some are too deep.
func (c *lzmsCode) countLimited(count *[lzmsMaxCode + 1]uint16) {
	n := c.n
	depths := c.parents[:n-1] // of each node, in the place of its parent
	// From the root down: every inner node turns a code of its length into two
	// that are longer by one.
	*count = [lzmsMaxCode + 1]uint16{1: 2}
	depths[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		depth := depths[depths[i]] + 1
		depths[i] = depth
		l := int(depth)
		if l >= lzmsMaxCode {
			// Too deep: a shorter code that is there is made longer instead.
			for l = lzmsMaxCode - 1; count[l] == 0; l-- {
			}
		}
		count[l]--
		count[l+1] += 2
	}
}
