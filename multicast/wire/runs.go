package wire

// RunList encodes runs, joining those that touch, as far as there is room for them.
type RunList struct {
	b          []byte
	described  int // end of the last encoded run
	start, end int // the open run; empty when equal
	deficit    uint8
	fullUp     bool // the open run found no room
}

// NewRunList appends to buf.
func NewRunList(buf []byte) RunList { return RunList{b: buf} }

// Full reports whether there was no room for a run: none that follows is taken.
func (l *RunList) Full() bool { return l.fullUp }

// Add appends the run of blocks from start to before end, each of which lacks deficit
// symbols. Runs come in order.
func (l *RunList) Add(start, end int, deficit uint8) {
	if l.end == start && l.deficit == deficit && l.end > l.start {
		l.end = end
		return
	}
	l.flush()
	if !l.fullUp {
		l.start, l.end, l.deficit = start, end, deficit
	}
}

func (l *RunList) flush() {
	if l.end == l.start || l.fullUp {
		return
	}
	var ok bool
	l.b, ok = AppendRun(l.b, Run{Gap: uint32(l.start - l.described), Count: uint32(l.end - l.start), Deficit: l.deficit})
	l.fullUp = !ok
	if ok {
		l.described, l.start = l.end, l.end
	}
}

// Close returns the encoded runs, and the block up to which they speak: all of them, or
// the first that had no room.
func (l *RunList) Close(all int) (runs []byte, to int) {
	l.flush()
	if l.fullUp {
		all = l.start
	}
	return l.b, all
}
