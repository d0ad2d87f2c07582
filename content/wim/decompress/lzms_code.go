package decompress

const (
	lzmsMaxCode = 15 // bits of the longest code

	// No count gets above 4095: half of it goes at each rebuild, and at most
	// 1024 come. So two passes of six bits sort the counts.
	lzmsSortBits = 6
	// Room for the number of a symbol in what is sorted.
	lzmsSymbolBits = 10
)

// lzmsCode is a Huffman code that follows the symbols it is used for. All count
// once at the start; after every so many symbols the code is made anew and the
// counts are halved, so that what was met long ago weighs less.
type lzmsCode struct {
	code   huffman
	counts []uint32
	left   int // symbols until the code is made anew
	every  int

	first  []uint32 // the table of the first code, for firstN symbols
	firstN int

	lengths []uint8
	sorted  []uint32 // count << lzmsSymbolBits | symbol
	spare   []uint32
	weights []uint32 // of the tree's inner nodes, in the order they are made
	parents []uint16 // of the inner nodes; on the way the depth of each
}

// make takes memory for codes of up to n symbols.
func (c *lzmsCode) make(n, every int) {
	c.every = every
	c.counts = make([]uint32, n)
	c.lengths = make([]uint8, n)
	c.sorted = make([]uint32, n)
	c.spare = make([]uint32, n)
	c.weights = make([]uint32, n)
	c.parents = make([]uint16, n)
}

// reset begins anew with n symbols.
func (c *lzmsCode) reset(n int) {
	c.counts = c.counts[:n]
	c.lengths = c.lengths[:n]
	for i := range c.counts {
		c.counts[i] = 1
	}
	if c.firstN == n {
		c.left = c.every
		c.code.table = append(c.code.table[:0], c.first...)
		return
	}
	c.rebuild() // which leaves the counts at 1
	c.first, c.firstN = append(c.first[:0], c.code.table...), n
}

func (c *lzmsCode) rebuild() {
	c.left = c.every
	c.setLengths()
	c.code.build(c.lengths)
	for i, n := range c.counts {
		c.counts[i] = n>>1 + 1
	}
}

// sort orders the symbols by count, those with the same count by number.
func (c *lzmsCode) sort() []uint32 {
	n := len(c.counts)
	from, to := c.sorted[:n], c.spare[:n]
	for i, count := range c.counts {
		from[i] = count<<lzmsSymbolBits | uint32(i)
	}
	for shift := lzmsSymbolBits; shift < lzmsSymbolBits+2*lzmsSortBits; shift += lzmsSortBits {
		var place [1 << lzmsSortBits]uint32
		for _, v := range from {
			place[v>>shift&(1<<lzmsSortBits-1)]++
		}
		at := uint32(0)
		for i, k := range place {
			place[i] = at
			at += k
		}
		for _, v := range from {
			p := &place[v>>shift&(1<<lzmsSortBits-1)]
			to[*p] = v
			*p++
		}
		from, to = to, from
	}
	return from
}

// setLengths computes the lengths of Huffman's code. Which of the many codes of
// the same size it is, is part of the format: of a leaf and an inner node with
// the same count the leaf is taken first, and symbols that are met more seldom
// get the longer codes.
func (c *lzmsCode) setLengths() {
	n := len(c.counts)
	if n < 2 {
		for i := range c.lengths {
			c.lengths[i] = 1
		}
		return
	}
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
	var count [lzmsMaxCode + 1]int
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
			c.lengths[sorted[at]&(1<<lzmsSymbolBits-1)] = uint8(l)
			at++
		}
	}
}
