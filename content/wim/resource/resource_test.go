package resource

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"testing"

	"castpoint/content/wim/format"
)

// copyDecoder stands for a compression: a chunk is one byte, repeated.
type copyDecoder struct{}

func (copyDecoder) Decode(dst, src []byte) error {
	if len(src) != 1 {
		return format.Corrupt("a chunk of %d bytes", len(src))
	}
	for i := range dst {
		dst[i] = src[0]
	}
	return nil
}

func copyCodec(pipable bool) *Codec {
	return &Codec{chunkSize: 32768, pipable: pipable, decoders: &sync.Pool{New: func() any { return copyDecoder{} }}}
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
			res := format.Resource{Flags: format.ResourceCompressed, Offset: 1000, Size: int64(len(all) - 1000), OriginalSize: uint64(size)}
			b, err := NewBlob(bytes.NewReader(all), int64(len(all)), copyCodec(pipable), res, format.Hash{}, "test")
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
		res  format.Resource
		open bool // is found when the blob is opened
	}{
		"no bytes":             {nil, format.Resource{OriginalSize: 1}, true},
		"ends beyond the file": {nil, format.Resource{Size: 1 << 40, OriginalSize: 1}, true},
		"original of 16 EB":    {table(1, 2), format.Resource{Size: 17, OriginalSize: math.MaxUint64}, true},
		"original of 1 PiB":    {table(1, 2), format.Resource{Size: 17, OriginalSize: MaxSize}, true},
		"table is all":         {table(1, 2), format.Resource{Size: 8, OriginalSize: three}, true},
		"two bytes for three":  {table(1, 2), format.Resource{Size: 10, OriginalSize: three}, true},
		"backwards":            {table(2, 1), format.Resource{Size: 17, OriginalSize: three}, false},
		"chunk without bytes":  {table(1, 1), format.Resource{Size: 17, OriginalSize: three}, false},
		"chunk beyond the end": {table(1, 1000), format.Resource{Size: 17, OriginalSize: three}, false},
		"all beyond the end":   {table(math.MaxUint32, math.MaxUint32), format.Resource{Size: 17, OriginalSize: three}, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pipable := range []bool{false, true} {
				c.res.Flags = format.ResourceCompressed
				b, err := NewBlob(bytes.NewReader(c.data), int64(len(c.data)), copyCodec(pipable), c.res, format.Hash{1}, "test")
				if c.open {
					if !errors.Is(err, format.ErrCorrupt) {
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
				if _, err := io.Copy(io.Discard, b.Reader()); !errors.Is(err, format.ErrCorrupt) {
					t.Error(err)
				}
				if _, err := b.ReadAll(1 << 20); !errors.Is(err, format.ErrCorrupt) {
					t.Error(err)
				}
				if _, err := b.ReadAll(10); !errors.Is(err, format.ErrCorrupt) {
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
	b, err := NewBlob(bytes.NewReader(long), int64(len(long)), copyCodec(false), format.Resource{Flags: format.ResourceCompressed, Size: int64(len(long)), OriginalSize: three}, format.Hash{}, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.ReadAt(make([]byte, 1), 0); !errors.Is(err, format.ErrCorrupt) {
		t.Error(err)
	}
}

// FuzzSolidTable feeds the head of a solid resource and its table alone.
func FuzzSolidTable(f *testing.F) {
	// 128 bytes in one chunk of LZX that is not compressed, and one chunk of LZMS.
	f.Add(append([]byte{128, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 2, 0, 0, 0, 128, 0, 0, 0}, bytes.Repeat([]byte("abcdefgh"), 16)...))
	f.Add(append(make([]byte, 8), 0, 0, 1, 0, 3, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		res := format.Resource{Flags: format.ResourceSolid, Size: int64(len(b)), OriginalSize: format.SolidMark}
		p, err := NewSolid(bytes.NewReader(b), res, "solid")
		if err != nil {
			if !errors.Is(err, format.ErrCorrupt) && !errors.Is(err, format.ErrTruncated) && !errors.Is(err, format.ErrUnsupported) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		var c Cache
		for i := range min(p.chunks, 10) {
			start, size := p.chunk(i)
			if from, to, err := p.bounds(i, nil); err != nil || from >= to || to > p.dataSize || start+size > p.size {
				t.Errorf("chunk %d: %d to %d of %d, %v", i, from, to, p.dataSize, err)
			}
			if size > 1<<20 {
				continue
			}
			if _, err := c.read(p, i, make([]byte, 10), 0); err != nil && !errors.Is(err, format.ErrCorrupt) {
				t.Errorf("error of no kind: %v", err)
			}
		}
	})
}
