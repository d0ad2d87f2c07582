package iso

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// smallImage is an image of one file in a folder in a folder.
func smallImage(t testing.TB, args ...string) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "dir", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "dir", "sub", "file"), bytes.Repeat([]byte("0123456789abcdef"), 1000), 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "x.iso")
	run(t, "genisoimage", append(append([]string{"-quiet"}, args...), "-o", file, dir)...)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// retag makes the tag of a changed descriptor right again.
func retag(b []byte) {
	n := int(le.Uint16(b[10:]))
	if tagSize+n > len(b) {
		n = len(b) - tagSize
	}
	le.PutUint16(b[8:], crc16(b[tagSize:tagSize+n]))
	b[4] = 0
	var sum byte
	for _, c := range b[:tagSize] {
		sum += c
	}
	b[4] = sum
}

// entries finds the file entries of an image of UDF in their order: root, dir,
// sub, file.
func fileEntries(b []byte) (found [][]byte) {
	for at := 0; at+sector <= len(b); at += sector {
		if checkTag(b[at:at+sector], tagFileEntry, le.Uint32(b[at+12:])) == nil {
			found = append(found, b[at:at+sector])
		}
	}
	return found
}

// find finds the sector of a descriptor.
func find(t *testing.T, b []byte, tag uint16) []byte {
	t.Helper()
	for at := 0; at+sector <= len(b); at += sector {
		if checkTag(b[at:at+sector], tag, le.Uint32(b[at+12:])) == nil {
			return b[at : at+sector]
		}
	}
	t.Fatalf("no descriptor of type %d", tag)
	return nil
}

// ads are the allocation descriptors of a file entry.
func ads(entry []byte) []byte { return entry[176+le.Uint32(entry[168:]):] }

// everyDescriptor applies f to all copies of a volume descriptor.
func everyDescriptor(b []byte, tag uint16, f func([]byte)) {
	for at := 0; at+sector <= len(b); at += sector {
		if d := b[at : at+sector]; checkTag(d, tag, le.Uint32(d[12:])) == nil {
			f(d)
			retag(d)
		}
	}
}

func TestUDFAttacks(t *testing.T) {
	whole := smallImage(t, "-udf")
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    error
		words  string
	}{
		{"nothing", func([]byte) {}, nil, ""},
		{"folder in itself", func(b []byte) { // dir's only piece is root's, which names dir
			e := fileEntries(b)
			copy(ads(e[1]), ads(e[0])[:8])
			le.PutUint64(e[1][56:], le.Uint64(e[0][56:]))
			retag(e[1])
		}, ErrCorrupt, "inside itself"},
		{"file of another size than its pieces", func(b []byte) {
			e := fileEntries(b)[3]
			le.PutUint64(e[56:], 1<<40)
			retag(e)
		}, ErrCorrupt, "lacks"},
		{"file of 2^63 bytes", func(b []byte) {
			e := fileEntries(b)[3]
			le.PutUint64(e[56:], 1<<63)
			retag(e)
		}, ErrCorrupt, "bytes"},
		{"piece beyond the partition", func(b []byte) {
			e := fileEntries(b)[3]
			le.PutUint32(ads(e)[4:], 1<<31)
			retag(e)
		}, ErrCorrupt, "beyond its partition"},
		{"partition beyond the image", func(b []byte) {
			everyDescriptor(b, tagPartition, func(d []byte) { le.PutUint32(d[192:], 1<<31) })
			e := fileEntries(b)[3]
			le.PutUint32(ads(e)[4:], 1<<30)
			retag(e)
		}, ErrCorrupt, "beyond the end"},
		{"folder of 2^40 bytes", func(b []byte) {
			e := fileEntries(b)[1]
			le.PutUint64(e[56:], 1<<40)
			retag(e)
		}, ErrCorrupt, "more than"},
		{"allocation that does not fit", func(b []byte) {
			e := fileEntries(b)[3]
			le.PutUint32(e[172:], 1<<31)
			retag(e)
		}, ErrCorrupt, "do not fit"},
		{"allocation that goes on in itself", func(b []byte) {
			e := fileEntries(b)
			a := ads(e[3])
			block := le.Uint32(a[4:])
			le.PutUint32(a, pieceNext<<30|sector)
			retag(e[3])
			// The file's first block becomes an allocation extent of one piece: itself.
			start := int64(le.Uint32(find(t, b, tagPartition)[188:])) * sector
			d := b[start+int64(block)*sector:][:sector]
			clear(d)
			le.PutUint16(d, tagAllocationExtent)
			le.PutUint16(d[10:], 24)
			le.PutUint32(d[12:], block)
			le.PutUint32(d[20:], 8)
			le.PutUint32(d[24:], pieceNext<<30|sector)
			le.PutUint32(d[28:], block)
			retag(d)
		}, ErrCorrupt, "goes on for ever"},
		{"strategy 4096", func(b []byte) {
			e := fileEntries(b)[3]
			le.PutUint16(e[20:], 4096)
			retag(e)
		}, ErrUnsupported, "strategy 4096"},
		{"wrong checksum", func(b []byte) { fileEntries(b)[3][60] ^= 1 }, ErrCorrupt, "checksum"},
		{"metadata partition", func(b []byte) {
			everyDescriptor(b, tagLogicalVolume, func(d []byte) {
				le.PutUint32(d[264:], 64)
				d[440], d[441] = 2, 64
				copy(d[445:], "*UDF Metadata Partition")
			})
		}, ErrUnsupported, "*UDF Metadata Partition"},
		{"2^32 partition maps", func(b []byte) {
			everyDescriptor(b, tagLogicalVolume, func(d []byte) { le.PutUint32(d[268:], 1<<32-1) })
		}, ErrCorrupt, "do not fit"},
		{"volume descriptors for ever", func(b []byte) {
			everyDescriptor(b, tagTerminating, func(d []byte) {
				le.PutUint16(d, tagPointer)
				le.PutUint32(d[20:], 1<<20)
				le.PutUint32(d[24:], le.Uint32(d[12:]))
			})
		}, ErrCorrupt, "more than"},
		{"no anchor", func(b []byte) {
			for at := 0; at+sector <= len(b); at += sector {
				if le.Uint16(b[at:]) == tagAnchor {
					clear(b[at : at+sector])
				}
			}
		}, ErrCorrupt, "anchor"},
		{"name with a slash", func(b []byte) {
			i := bytes.Index(b, []byte("\x08sub"))
			b[i+2] = '/'
			d := b[i-38:]
			retag(d)
		}, ErrCorrupt, "holds the name"},
		{"name ..", func(b []byte) {
			i := bytes.Index(b, []byte("\x08sub"))
			copy(b[i:], "\x10\x00.\x00.")
			d := b[i-38:]
			d[19] = 5
			retag(d[:44])
		}, ErrCorrupt, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(whole)
			c.change(b)
			expect(t, b, c.err, c.words)
		})
	}
}

// expect opens an image and wants an error, in memory that has to do with the
// size of the image.
func expect(t *testing.T, b []byte, want error, words string) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Open(bytes.NewReader(b), int64(len(b)))
	runtime.ReadMemStats(&after)
	if want == nil && err != nil || want != nil && (!errors.Is(err, want) || !strings.Contains(err.Error(), words)) {
		t.Errorf("%v, want %v with %q", err, want, words)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d bytes of memory", used)
	}
}

func Test9660Attacks(t *testing.T) {
	whole := smallImage(t, "-R")
	// record finds the directory record of a name in capitals.
	record := func(b []byte, name string) []byte {
		i := bytes.Index(b, append([]byte{byte(len(name))}, name...))
		if i < 0 {
			t.Fatal(name)
		}
		return b[i-32:]
	}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		err    error
		words  string
	}{
		{"nothing", func([]byte) {}, nil, ""},
		{"folder in itself", func(b []byte) { copy(record(b, "SUB")[2:18], record(b, "DIR")[2:18]) }, ErrCorrupt, "inside itself"},
		{"file beyond the end", func(b []byte) { le.PutUint32(record(b, "FILE.;1")[10:], 1<<32-1) }, ErrCorrupt, "beyond the end"},
		{"folder beyond the end", func(b []byte) { le.PutUint32(record(b, "SUB")[10:], 1<<24) }, ErrCorrupt, "beyond the end"},
		{"folder of 4 GiB", func(b []byte) { le.PutUint32(record(b, "SUB")[10:], 1<<32-1) }, ErrCorrupt, "more than"},
		{"record that does not fit", func(b []byte) { record(b, "SUB")[0] = 34 }, ErrCorrupt, "does not fit"},
		{"file without its end", func(b []byte) { record(b, "FILE.;1")[25] |= recordMore }, ErrCorrupt, "last piece"},
		{"interleaved", func(b []byte) { record(b, "FILE.;1")[26] = 1 }, ErrUnsupported, "interleaved"},
		{"blocks of 3 bytes", func(b []byte) { le.PutUint16(b[16*sector+128:], 3) }, ErrCorrupt, "blocks of 3"},
		{"name with a slash", func(b []byte) {
			i := bytes.Index(b, []byte("NM\x08\x01\x00sub"))
			b[i+6] = '/'
		}, ErrCorrupt, "holds the name"},
		{"name that goes on in itself", func(b []byte) {
			i := bytes.Index(b, []byte("NM\x08\x01\x00sub"))
			at := i - 32
			copy(b[at:], "CE\x1c\x01")
			le.PutUint32(b[at+4:], uint32(at/sector))
			le.PutUint32(b[at+12:], uint32(at%sector))
			le.PutUint32(b[at+20:], 28)
		}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "name that goes on in itself" {
				continuations(t)
				return
			}
			b := bytes.Clone(whole)
			c.change(b)
			expect(t, b, c.err, c.words)
		})
	}
}

// continuations makes a continuation area that continues in itself.
func continuations(t *testing.T) {
	b := make([]byte, sector)
	copy(b, "CE\x1c\x01")
	le.PutUint32(b[20:], 28)
	v := volume9660{tree: &tree{r: bytes.NewReader(b), size: sector, entered: map[int64]bool{}}, block: sector}
	if err := v.entries("dir", b[:28], func(string, []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want %v", err, ErrCorrupt)
	}
}

// An image that was cut anywhere is refused or, where only data or padding is
// missing that nobody needs, read.
func TestTruncated(t *testing.T) {
	for _, args := range [][]string{{"-udf"}, {"-R"}, {"-J"}} {
		whole := smallImage(t, args...)
		for n := 0; n < len(whole); n += 512 {
			img, err := Open(bytes.NewReader(whole[:n]), int64(n))
			switch {
			case err == nil:
				for _, f := range img.Files {
					if _, err := io.Copy(io.Discard, f.Open(bytes.NewReader(whole[:n]))); err != nil {
						t.Errorf("%v cut at %d: %s: %v", args, n, f.Path, err)
					}
				}
			case !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotISO):
				t.Errorf("%v cut at %d: %v", args, n, err)
			}
		}
	}
}

// Pieces of all kinds make the file that they describe: recorded ones apart from
// each other, holes, and descriptors that go on in another block.
func TestPieces(t *testing.T) {
	b := smallImage(t, "-udf")
	e := fileEntries(b)[3]
	a := ads(e)
	block, start := le.Uint32(a[4:]), int64(le.Uint32(find(t, b, tagPartition)[188:]))*sector
	want := bytes.Clone(b[start+int64(block)*sector:][:16000])
	// The image grows by a block for the descriptors, at its end.
	more := uint32((int64(len(b)) - start) / sector)
	everyDescriptor(b, tagPartition, func(d []byte) { le.PutUint32(d[192:], more+1) })
	next := make([]byte, sector)
	le.PutUint16(next, tagAllocationExtent)
	le.PutUint32(next[12:], more)
	put := func(b []byte, i int, kind, length, block uint32) {
		le.PutUint32(b[i*8:], kind<<30|length)
		le.PutUint32(b[i*8+4:], block)
	}
	put(a, 0, pieceRecorded, sector, block+1)
	put(a, 1, pieceHole, sector, 0)
	put(a, 2, pieceNext, sector, more)
	le.PutUint32(e[172:], 24)
	le.PutUint16(e[10:], uint16(176+le.Uint32(e[168:])+24-tagSize))
	put(next[24:], 0, pieceAllocated, 2*sector, block)
	put(next[24:], 1, pieceRecorded, 2*sector, block)
	le.PutUint32(next[20:], 16)
	le.PutUint16(next[10:], 40-tagSize)
	retag(next)
	b = append(b, next...)
	e = fileEntriesRetagged(b, e)
	size := int64(6*sector - 100)
	le.PutUint64(e[56:], uint64(size))
	retag(e)
	img, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, ok := img.Find("dir/sub/file")
	if !ok || f.Size != size {
		t.Fatalf("%+v", img.Files)
	}
	zeros := make([]byte, 3*sector)
	whole := bytes.Join([][]byte{want[sector : 2*sector], zeros, want[:2*sector-100]}, nil)
	if have, err := io.ReadAll(f.Open(bytes.NewReader(b))); err != nil || !bytes.Equal(have, whole) {
		t.Errorf("%d bytes differ from %d: %v", len(have), len(whole), err)
	}
	for off := int64(0); off < size; off += 777 {
		p := make([]byte, 3000)
		n, err := f.Open(bytes.NewReader(b)).ReadAt(p, off)
		if !bytes.Equal(p[:n], whole[off:min(size, off+3000)]) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("at %d: %d bytes, %v", off, n, err)
		}
	}
}

// fileEntriesRetagged finds in b, which has been copied since, the entry that e
// was.
func fileEntriesRetagged(b, e []byte) []byte {
	i := bytes.Index(b, e[12:64])
	return b[i-12:][:sector]
}

func FuzzOpen(f *testing.F) {
	for _, args := range [][]string{{"-udf"}, {"-R"}, {"-J"}, {"-R", "-J", "-udf"}} {
		f.Add(smallImage(f, args...))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		img, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNotISO) && !errors.Is(err, ErrUnsupported) {
				t.Errorf("%v is of no kind", err)
			}
			return
		}
		for _, e := range img.Files {
			n, err := io.Copy(io.Discard, io.LimitReader(e.Open(bytes.NewReader(b)), 1<<20))
			if err != nil || n != min(e.Size, 1<<20) {
				t.Errorf("%s: %d of %d bytes: %v", e.Path, n, e.Size, err)
			}
		}
	})
}

// FuzzDescriptors changes bytes of a UDF volume and makes the checksums right
// again, which a fuzzer would never find.
func FuzzDescriptors(f *testing.F) {
	whole := smallImage(f, "-udf")
	f.Add(uint16(0), uint16(0), []byte{})
	f.Add(uint16(260), uint16(56), []byte{255, 255, 255})
	f.Fuzz(func(t *testing.T, at, offset uint16, change []byte) {
		b := bytes.Clone(whole)
		n := len(b) / sector
		d := b[int(at)%n*sector:][:sector]
		copy(d[int(offset)%sector:], change)
		retag(d)
		img, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, e := range img.Files {
			n, err := io.Copy(io.Discard, io.LimitReader(e.Open(bytes.NewReader(b)), 1<<20))
			if err != nil || n != min(e.Size, 1<<20) {
				t.Error(fmt.Errorf("%s: %d of %d bytes: %w", e.Path, n, e.Size, err))
			}
		}
	})
}
