package decompress

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
	// are at most twice its symbols and what is met between two rebuilds, so these
	// are 28 at most.
	lzmsMany = 127
)

// lzmsCode is a Huffman code that follows the symbols it is used for. All count
// once at the start; after every so many symbols the code is made anew and the
// counts are halved, so that what was met long ago weighs less.
//
// The table has an entry for every row of as many bits as it is wide: the symbol
// << 4 and the length of its code, or 0 when the code is longer than that. Those
// are found by comparing: in a canonical code the codes of one length are
// consecutive numbers, and smaller than the beginnings of all longer ones.
type lzmsCode struct {
	table  [1 << lzmsTableBits]uint16
	counts [lzmsSymbols]uint16
	left   int // symbols until the code is made anew

	n     int  // symbols
	bits  uint // width of the table
	every int

	order  [lzmsSymbols]uint16     // the symbols by length of their codes, then by number
	behind [lzmsMaxCode + 1]uint16 // for each length, where in order the longer ones begin
	ends   [lzmsMaxCode + 1]uint32 // and where their codes begin, of 15 bits

	first  [1 << lzmsTableBits]uint16 // the table of the first code, for firstN symbols
	firstN int

	lengths [lzmsSymbols]uint8
	sorted  [lzmsSymbols]uint32 // count << lzmsSymbolBits | symbol
	weights [lzmsSymbols]uint32 // of the tree's inner nodes, in the order they are made
	parents [lzmsSymbols]uint16 // of the inner nodes; on the way the depth of each
}

// reset begins anew with n symbols.
func (c *lzmsCode) reset(n int) {
	c.n = n
	for i := range c.counts[:n] {
		c.counts[i] = 1
	}
	if c.firstN == n {
		// None of the codes is longer than the table is wide: all count the same.
		c.left = c.every
		c.table = c.first
		return
	}
	c.rebuild() // which leaves the counts at 1
	c.first, c.firstN = c.table, n
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
	order, rest := c.order[:c.n], c.table[:1<<c.bits]
	for l := uint(1); l <= c.bits; l++ {
		size := 1 << (c.bits - l)
		for _, sym := range order[:count[l]] {
			entry := sym<<4 | uint16(l)
			row := rest[:size]
			for i := range row {
				row[i] = entry
			}
			rest = rest[size:]
		}
		order = order[count[l]:]
	}
	clear(rest)
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
	n := c.n
	sorted := c.sort()
	weights, parents := c.weights[:n-1], c.parents[:n-1]
	leaf, inner := 0, 0
	for made := range weights {
		weight := uint32(0)
		for range 2 {
			if leaf < n && (inner == made || sorted[leaf]>>lzmsSymbolBits <= weights[inner]) {
				weight += sorted[leaf] >> lzmsSymbolBits
				leaf++
			} else {
				weight += weights[inner]
				parents[inner] = uint16(made)
				inner++
			}
		}
		weights[made] = weight
	}
	// From the root down: every inner node turns a code of its length into two
	// that are longer by one.
	count[1] = 2
	depths := parents
	depths[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		depth := depths[parents[i]] + 1
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
	at := 0
	for l := lzmsMaxCode; l > 0; l-- {
		for range count[l] {
			c.lengths[sorted[at]%lzmsSymbols] = uint8(l)
			at++
		}
	}
	return count
}
