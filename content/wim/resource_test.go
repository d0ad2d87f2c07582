package wim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
)

// copyDecoder stands for a compression: a chunk is one byte, repeated.
type copyDecoder struct{}

func (copyDecoder) Decode(dst, src []byte) error {
	if len(src) != 1 {
		return corrupt("a chunk of %d bytes", len(src))
	}
	for i := range dst {
		dst[i] = src[0]
	}
	return nil
}

func copyCodec(pipable bool) *codec {
	return &codec{chunkSize: 32768, pipable: pipable, decoders: &sync.Pool{New: func() any { return copyDecoder{} }}}
}

// TestChunkTables reads resources below and above 4 GiB, where the entries of
// the chunk table become wider, in the normal and the pipable layout.
func TestChunkTables(t *testing.T) {
	for _, pipable := range []bool{false, true} {
		for _, size := range []int64{1, 32767, 32768, 32769, 20 << 20, 1<<32 - 1, 1 << 32, 1<<32 + 1, 5 << 30} {
			chunks := (size + 32767) / 32768
			var table, data []byte
			for i := range chunks {
				if i > 0 && size < 1<<32 {
					table = binary.LittleEndian.AppendUint32(table, uint32(i))
				} else if i > 0 {
					table = binary.LittleEndian.AppendUint64(table, uint64(i))
				}
				if pipable {
					data = binary.LittleEndian.AppendUint32(data, 1)
				}
				data = append(data, byte(i*7))
			}
			all := append(bytes.Clone(table), data...)
			if pipable {
				all = append(bytes.Clone(data), table...)
			}
			all = append(make([]byte, 1000), all...)
			res := resource{flags: resourceCompressed, offset: 1000, size: int64(len(all) - 1000), originalSize: uint64(size)}
			b, err := newBlob(bytes.NewReader(all), int64(len(all)), copyCodec(pipable), res, Hash{}, "test")
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, 70_000)
			for _, off := range []int64{0, 1, 32767, 32768, 16 << 20, size / 2, 1<<32 - 40_000, size - 1, size - 50_000, 12345} {
				if off < 0 || off >= size {
					continue
				}
				n, err := b.ReadAt(p, off)
				if want := min(size-off, int64(len(p))); int64(n) != want || (err != nil) != (want < int64(len(p))) || err != nil && !errors.Is(err, io.EOF) {
					t.Fatalf("pipable %v, size %d: %d bytes at %d, %v", pipable, size, n, off, err)
				}
				for i, have := range p[:n] {
					if want := byte((off + int64(i)) / 32768 * 7); have != want {
						t.Fatalf("pipable %v, size %d: byte %d is %d, want %d", pipable, size, off+int64(i), have, want)
					}
				}
			}
		}
	}
}

// TestChunkAttacks gives resources impossible sizes and chunk tables.
func TestChunkAttacks(t *testing.T) {
	table := func(entries ...uint32) []byte {
		var b []byte
		for _, e := range entries {
			b = binary.LittleEndian.AppendUint32(b, e)
		}
		return append(b, "123456789"...)
	}
	const three = 3 * 32768
	for name, c := range map[string]struct {
		data []byte
		res  resource
		open bool // is found when the blob is opened
	}{
		"no bytes":             {nil, resource{originalSize: 1}, true},
		"ends beyond the file": {nil, resource{size: 1 << 40, originalSize: 1}, true},
		"original of 16 EB":    {table(1, 2), resource{size: 17, originalSize: math.MaxUint64}, true},
		"original of 1 PiB":    {table(1, 2), resource{size: 17, originalSize: maxResource}, true},
		"table is all":         {table(1, 2), resource{size: 8, originalSize: three}, true},
		"two bytes for three":  {table(1, 2), resource{size: 10, originalSize: three}, true},
		"backwards":            {table(2, 1), resource{size: 17, originalSize: three}, false},
		"chunk without bytes":  {table(1, 1), resource{size: 17, originalSize: three}, false},
		"chunk beyond the end": {table(1, 1000), resource{size: 17, originalSize: three}, false},
		"all beyond the end":   {table(math.MaxUint32, math.MaxUint32), resource{size: 17, originalSize: three}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pipable := range []bool{false, true} {
				c.res.flags = resourceCompressed
				b, err := newBlob(bytes.NewReader(c.data), int64(len(c.data)), copyCodec(pipable), c.res, Hash{1}, "test")
				if c.open {
					if !errors.Is(err, ErrCorrupt) {
						t.Errorf("pipable %v: %v", pipable, err)
					}
					continue
				}
				if pipable {
					continue // another layout, see TestChunkTables
				}
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, b.Reader()); !errors.Is(err, ErrCorrupt) {
					t.Error(err)
				}
				if _, err := b.readAll(1 << 20); !errors.Is(err, ErrCorrupt) {
					t.Error(err)
				}
				if _, err := b.readAll(10); !errors.Is(err, ErrCorrupt) {
					t.Error(err)
				}
				if _, err := b.ReadAt(make([]byte, 1), -1); err == nil {
					t.Error("a negative offset is read")
				}
			}
		})
	}
	// A chunk longer than what it stands for.
	long := append(table(40_000, 40_001), make([]byte, 50_000)...)
	b, err := newBlob(bytes.NewReader(long), int64(len(long)), copyCodec(false), resource{flags: resourceCompressed, size: int64(len(long)), originalSize: three}, Hash{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}
