package resource

import "sync"

const (
	// solidCacheSize is how many bytes of decompressed chunks a Reader keeps
	// for random access, besides the one read last: two of the common ones.
	solidCacheSize = 128 << 20
)

// Cache keeps the chunks of solid resources that were read last: what is
// read of one is likely to be followed by more of it, and each is large. One
// chunk is decompressed at a time, so that memory stays bounded whatever the
// number of readers.
type Cache struct {
	mu      sync.Mutex
	entries []cachedChunk // the latest last
	scratch Scratch
}

type cachedChunk struct {
	packed *Resource
	number int64
	data   []byte
}

// read copies from a chunk, from its byte skip on, and returns how many bytes.
func (c *Cache) read(p *Resource, i int64, dst []byte, skip int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := len(c.entries) - 1; k >= 0; k-- {
		if e := c.entries[k]; e.packed == p && e.number == i {
			copy(c.entries[k:], c.entries[k+1:])
			c.entries[len(c.entries)-1] = e
			return copy(dst, e.data[skip:]), nil
		}
	}
	_, size := p.chunk(i)
	data := c.room(size)
	if err := p.decompress(data, i, &c.scratch); err != nil {
		return 0, err
	}
	c.entries = append(c.entries, cachedChunk{p, i, data})
	return copy(dst, data[skip:]), nil
}

// room makes room for a chunk, if it can out of the oldest.
func (c *Cache) room(size int64) []byte {
	total := size
	for _, e := range c.entries {
		total += int64(cap(e.data))
	}
	for total > solidCacheSize && len(c.entries) > 0 {
		old := c.entries[0].data
		c.entries = append(c.entries[:0], c.entries[1:]...)
		if int64(cap(old)) >= size && int64(cap(old)) < 2*size+1<<20 {
			return old[:size]
		}
		total -= int64(cap(old))
	}
	return make([]byte, size)
}
