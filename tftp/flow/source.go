package flow

import (
	"errors"
	"fmt"
	"io"
)

// chunkLimit bounds the file bytes that a transfer reads at once; it holds twice as
// many in memory. It is two full UDP segmentation batches: more does not make
// sending faster.
const chunkLimit = 128 << 10

// source cuts a file into blocks.
type source interface {
	// read returns the payloads of count blocks from block first (counted from 1)
	// on, one behind the other, count between 1 and limit; last tells that the last
	// of them ends the transfer. Only blocks that are not acknowledged yet, and not
	// further than a window ahead, may be asked for. The bytes are valid until the
	// next call.
	read(first int64, limit int) (data []byte, count int, last bool, err error)
	// ahead prepares for a read that will begin with block next.
	ahead(next int64) error
}

// octets is the source of octet mode. Its buffers are file bytes as they are, so
// that they travel from the page cache to the socket with one copy each way. There
// are two: one is read while the client has the blocks of the other.
type octets struct {
	file     io.ReaderAt
	size     int64
	blk      int64
	blocking func() // called before the file is read

	chunks [2]chunk
	newest int
}

// chunk is a part of the file.
type chunk struct {
	buf   []byte
	off   int64 // file offset of buf[0]
	valid int64 // bytes of buf that are read
}

func (c *chunk) has(off int64) bool { return off >= c.off && off < c.off+c.valid }

func newOctets(f io.ReaderAt, size int64, blockSize, window int, blocking func()) *octets {
	// A whole number of windows, so that flights do not straddle two buffers.
	n := min(window, max(1, chunkLimit/blockSize))
	if n == window {
		n *= max(1, chunkLimit/2/(blockSize*window))
	}
	length := int64(n) * int64(blockSize)
	if size < length {
		length = size + 1 // never 0
	}
	o := &octets{file: f, size: size, blk: int64(blockSize), blocking: blocking}
	o.chunks[0].buf = make([]byte, length)
	return o
}

// load reads the part of the file that begins at start in place of the older one.
func (o *octets) load(start int64) (*chunk, error) {
	o.blocking()
	if o.chunks[o.newest].valid > 0 {
		o.newest = 1 - o.newest
	}
	c := &o.chunks[o.newest]
	if c.buf == nil {
		c.buf = make([]byte, len(o.chunks[0].buf))
	}
	want := min(int64(len(c.buf)), o.size-start)
	c.off, c.valid = start, 0
	n, err := o.file.ReadAt(c.buf[:want], start)
	if int64(n) < want {
		if err == nil || errors.Is(err, io.EOF) {
			err = ErrChanged
		}
		return nil, fmt.Errorf("read %d bytes at %d of %d: %w", want, start, o.size, err)
	}
	c.valid = want
	return c, nil
}

func (o *octets) ahead(next int64) error {
	start := (next - 1) * o.blk
	if start >= o.size || o.chunks[0].has(start) || o.chunks[1].has(start) {
		return nil
	}
	_, err := o.load(start)
	return err
}

func (o *octets) read(first int64, limit int) ([]byte, int, bool, error) {
	start := (first - 1) * o.blk
	if start > o.size || start < 0 {
		return nil, 0, false, fmt.Errorf("block %d lies behind the end of the file", first)
	}
	// The last block is short, or empty when the size is a multiple.
	if start == o.size {
		return nil, 1, true, nil
	}
	c := &o.chunks[o.newest]
	if !c.has(start) {
		c = &o.chunks[1-o.newest]
	}
	if !c.has(start) {
		var err error
		if c, err = o.load(start); err != nil {
			return nil, 0, false, err
		}
	}
	have := c.off + c.valid - start
	full := int(have / o.blk)
	if full >= limit {
		return c.buf[start-c.off:][:int64(limit)*o.blk], limit, false, nil
	}
	if c.off+c.valid == o.size && have%o.blk != 0 {
		return c.buf[start-c.off:][:have], full + 1, true, nil
	}
	return c.buf[start-c.off:][:int64(full)*o.blk], full, false, nil
}

// netasciiSource converts on the way: LF becomes CR LF, a CR becomes CR NUL (RFC
// 764 by way of RFC 1350). A block of it has no fixed place in the file, so the
// places where the blocks of a window start are remembered to go back to.
type netasciiSource struct {
	file     io.ReaderAt
	size     int64
	blk      int
	blocking func()

	starts []asciiPlace // ring, indexed by block number
	buf    []byte

	raw      []byte // read-ahead of the file
	rawOff   int64
	rawValid int64
}

// asciiPlace is a place in converted text: an offset in the file, and the second
// byte of a pair whose first byte ended the block before.
type asciiPlace struct {
	off    int64
	owed   byte
	isOwed bool
}

func newNetascii(f io.ReaderAt, size int64, blockSize, window int, blocking func()) *netasciiSource {
	n := min(window, max(1, chunkLimit/blockSize))
	return &netasciiSource{
		file: f, size: size, blk: blockSize, blocking: blocking,
		starts: make([]asciiPlace, window+2),
		buf:    make([]byte, 0, n*blockSize),
		raw:    make([]byte, 8<<10),
	}
}

func (s *netasciiSource) ahead(int64) error { return nil }

func (s *netasciiSource) read(first int64, limit int) ([]byte, int, bool, error) {
	ring := int64(len(s.starts))
	s.buf = s.buf[:0]
	for count := 1; ; count++ {
		at := s.starts[(first+int64(count)-1)%ring]
		full, err := s.convert(&at)
		if err != nil {
			return nil, 0, false, err
		}
		if !full {
			return s.buf, count, true, nil
		}
		s.starts[(first+int64(count))%ring] = at
		if count == limit || cap(s.buf)-len(s.buf) < s.blk {
			return s.buf, count, false, nil
		}
	}
}

// convert appends one block to buf and moves the place behind it. It returns
// false when the file ended before the block was full.
func (s *netasciiSource) convert(at *asciiPlace) (full bool, err error) {
	for n := 0; n < s.blk; n++ {
		if at.isOwed {
			s.buf = append(s.buf, at.owed)
			at.isOwed = false
			continue
		}
		if at.off == s.size {
			return false, nil
		}
		b, err := s.byteAt(at.off)
		if err != nil {
			return false, err
		}
		at.off++
		switch b {
		case '\n':
			at.owed, at.isOwed, b = '\n', true, '\r'
		case '\r':
			at.owed, at.isOwed = 0, true
		}
		s.buf = append(s.buf, b)
	}
	return true, nil
}

func (s *netasciiSource) byteAt(off int64) (byte, error) {
	if off < s.rawOff || off >= s.rawOff+s.rawValid {
		s.blocking()
		want := min(int64(len(s.raw)), s.size-off)
		s.rawOff, s.rawValid = off, 0
		n, err := s.file.ReadAt(s.raw[:want], off)
		if int64(n) < want {
			if err == nil || errors.Is(err, io.EOF) {
				err = ErrChanged
			}
			return 0, fmt.Errorf("read %d bytes at %d of %d: %w", want, off, s.size, err)
		}
		s.rawValid = want
	}
	return s.raw[off-s.rawOff], nil
}
