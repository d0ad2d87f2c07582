package wim

// ParseXML is for the fuzz test of the XML data alone.
var ParseXML = parseXML

// TotalSize is what VerifyBlobs would read.
func (r *Reader) TotalSize() int64 {
	total := int64(0)
	for _, i := range append(r.byHash, r.images...) {
		total += r.entrySize(i)
	}
	return total
}

// Solids is the number of solid resources.
func (r *Reader) Solids() int { return len(r.solids) }
