package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// solidFixture is a solid WIM put together in memory, to be damaged on purpose.
// Its chunks are as long as what they stand for, so they are not compressed.
type solidFixture struct {
	size      uint64 // when decompressed
	chunkSize uint32
	method    uint32
	lengths   []uint32 // of the chunks
	data      []byte   // the contents one behind the other
	resource  resourceDisk
	places    []resourceDisk // of the blobs
	hashes    []Hash
	root      *node
}

func newSolidFixture() *solidFixture {
	big := bytes.Repeat([]byte("a content that spans three chunks "), 2500)
	return packSolid(folder("",
		&node{name: "first", data: []byte("the first")}, &node{name: "big", data: big}, &node{name: "last", data: []byte("the last")}))
}

// smallSolidFixture has one chunk: for fuzzers, and to be cut at every byte.
func smallSolidFixture() *solidFixture {
	return packSolid(folder("", &node{name: "a", data: []byte("abcdefgh")}, &node{name: "b", data: bytes.Repeat([]byte("xyz"), 40)}))
}

func packSolid(root *node) *solidFixture {
	s := &solidFixture{chunkSize: 1 << 15, method: 2, root: root}
	for _, b := range contents(s.root) {
		s.places = append(s.places, resourceDisk{SizeFlags: uint64(len(b)) | resourceSolid<<56, Offset: uint64(len(s.data))})
		s.hashes = append(s.hashes, sha1.Sum(b))
		s.data = append(s.data, b...)
	}
	s.size = uint64(len(s.data))
	for left := len(s.data); left > 0; left -= 1 << 15 {
		s.lengths = append(s.lengths, uint32(min(left, 1<<15)))
	}
	return s
}

// bytes puts the file together: metadata, solid resource, tables.
func (s *solidFixture) bytes(change func(*solidFixture)) []byte {
	f := imageFile(metadata(s.root, nil))
	f.header.Version = versionSolid
	f.header.Flags = flagCompression | flagLZMS
	f.header.ChunkSize = 1 << 17
	s.resource = resourceDisk{
		SizeFlags:    uint64(solidHeaderSize+4*len(s.lengths)+len(s.data)) | (resourceSolid|resourceCompressed)<<56,
		Offset:       uint64(headerSize + len(f.data)),
		OriginalSize: solidMark,
	}
	if change != nil {
		change(s)
	}
	f.data = binary.LittleEndian.AppendUint64(f.data, s.size)
	f.data = binary.LittleEndian.AppendUint32(f.data, s.chunkSize)
	f.data = binary.LittleEndian.AppendUint32(f.data, s.method)
	for _, l := range s.lengths {
		f.data = binary.LittleEndian.AppendUint32(f.data, l)
	}
	f.data = append(f.data, s.data...)
	f.blobs = append(f.blobs, blobEntry(s.resource, 1)...)
	for i, p := range s.places {
		e := blobEntry(p, 1)
		copy(e[blobEntryHash:], s.hashes[i][:])
		f.blobs = append(f.blobs, e...)
	}
	return f.bytes(nil)
}

func TestSolidFixtureIsGood(t *testing.T) {
	s := newSolidFixture()
	r, err := openBytes(s.bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := image(t, r, 1)
	for _, n := range s.root.children {
		compareFile(t, tree, n.name, n.data)
	}
	if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
		t.Fatal(err)
	}
	// Nobody may lay an overlay over it.
	b := s.bytes(nil)
	if _, err := NewBase(bytes.NewReader(b), int64(len(b)), 1); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
}

// TestSolidAttacks changes one thing of a good solid WIM.
func TestSolidAttacks(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		change func(*solidFixture)
		want   error
		text   string
		verify bool // is found when it is read, not when it is opened
	}{
		"size 16 EB":            {func(s *solidFixture) { s.size = math.MaxUint64 }, ErrCorrupt, "beyond any file", false},
		"size 1 PiB":            {func(s *solidFixture) { s.size = maxResource }, ErrCorrupt, "cannot hold", false},
		"size 0":                {func(s *solidFixture) { s.size = 0 }, ErrCorrupt, "have 0 bytes together", false},
		"size too small":        {func(s *solidFixture) { s.size-- }, ErrCorrupt, "do not lie in", false},
		"size too large":        {func(s *solidFixture) { s.size++ }, ErrCorrupt, "LZX data", true},
		"a chunk more":          {func(s *solidFixture) { s.size += 1 << 15 }, ErrCorrupt, "are left", false},
		"method 4":              {func(s *solidFixture) { s.method = 4 }, ErrCorrupt, "method 4", false},
		"method 4 billion":      {func(s *solidFixture) { s.method = math.MaxUint32 }, ErrCorrupt, "method", false},
		"chunk size 0":          {func(s *solidFixture) { s.chunkSize = 0 }, ErrCorrupt, "chunk size 0", false},
		"chunk size 3":          {func(s *solidFixture) { s.chunkSize = 3 }, ErrCorrupt, "power of two", false},
		"chunk size 4 GiB - 1":  {func(s *solidFixture) { s.chunkSize = math.MaxUint32 }, ErrCorrupt, "power of two", false},
		"LZX chunk of 4 MiB":    {func(s *solidFixture) { s.chunkSize = 4 << 20 }, ErrCorrupt, "power of two", false},
		"XPRESS chunk of 1 MiB": {func(s *solidFixture) { s.method, s.chunkSize = 1, 1<<20 }, ErrCorrupt, "power of two", false},
		"one chunk of 1 GiB": {func(s *solidFixture) {
			s.method, s.chunkSize, s.size = 3, gib, gib
			s.lengths = []uint32{uint32(len(s.data)) + 8}
		}, ErrUnsupported, "at once", false},
		"chunk without bytes":    {func(s *solidFixture) { s.lengths[0] = 0 }, ErrCorrupt, "chunk 1 has 0 bytes", false},
		"chunk of 4 GiB":         {func(s *solidFixture) { s.lengths[1] = math.MaxUint32 }, ErrCorrupt, "chunk 2 has", false},
		"chunk too long":         {func(s *solidFixture) { s.lengths[0]++; s.lengths[1]-- }, ErrCorrupt, "stands for", true},
		"chunks too short":       {func(s *solidFixture) { s.lengths[0]-- }, ErrCorrupt, "together", false},
		"resource of 3 bytes":    {func(s *solidFixture) { s.resource.SizeFlags = 3 | resourceSolid<<56 }, ErrCorrupt, "too short", false},
		"table beyond the end":   {func(s *solidFixture) { s.resource.SizeFlags = 17 | resourceSolid<<56 }, ErrCorrupt, "cannot hold", false},
		"resource beyond":        {func(s *solidFixture) { s.resource.Offset = gib }, ErrCorrupt, "ends at", false},
		"resource is metadata":   {func(s *solidFixture) { s.resource.Offset = headerSize }, ErrCorrupt, "", false},
		"no resource":            {func(s *solidFixture) { s.resource.OriginalSize = 1 }, ErrCorrupt, "do not lie in", false},
		"blob beyond":            {func(s *solidFixture) { s.places[2].Offset++ }, ErrCorrupt, "do not lie in", false},
		"blob far beyond":        {func(s *solidFixture) { s.places[2].Offset = maxOffset }, ErrCorrupt, "do not lie in", false},
		"blob at 16 EB":          {func(s *solidFixture) { s.places[2].Offset = math.MaxUint64 }, ErrCorrupt, "beyond any file", false},
		"blob of 72 PB":          {func(s *solidFixture) { s.places[2].SizeFlags |= 1<<56 - 1 }, ErrCorrupt, "beyond any file", false},
		"blobs overlap":          {func(s *solidFixture) { s.places[1].Offset-- }, ErrCorrupt, "overlap", false},
		"all blobs in one place": {func(s *solidFixture) { s.places[0].Offset, s.places[2].Offset = 9, 9 }, ErrCorrupt, "overlap", false},
		"blob of other bytes":    {func(s *solidFixture) { s.hashes[1][0]++ }, ErrCorrupt, "SHA-1", true},
		"a byte changed":         {func(s *solidFixture) { s.data[40_000] ^= 1 }, ErrCorrupt, "SHA-1", true},
		"LZX that is none":       {func(s *solidFixture) { s.lengths[2]--; s.data = s.data[:len(s.data)-1]; s.resource.SizeFlags-- }, ErrCorrupt, "LZX data", true},
		"LZMS that is none": {func(s *solidFixture) {
			s.method = 3
			s.lengths[2] -= 2
			s.data = s.data[:len(s.data)-2]
			s.resource.SizeFlags -= 2
		}, ErrCorrupt, "LZMS data", true},
		"short without method": {func(s *solidFixture) {
			s.method = 0
			s.lengths[2]--
			s.data = s.data[:len(s.data)-1]
			s.resource.SizeFlags--
		}, ErrCorrupt, "without compression", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSolidFixture().bytes(c.change)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := openBytes(b)
			if err == nil && c.verify {
				err = r.VerifyBlobs(context.Background(), 2, nil)
			}
			runtime.ReadMemStats(&after)
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %v with %q", err, c.want, c.text)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
				t.Errorf("%d bytes of memory for a file of %d", took, len(b))
			}
		})
	}
}

// TestSolidTruncated cuts a solid WIM, and one that is made by wimlib, at every
// byte.
func TestSolidTruncated(t *testing.T) {
	small := smallSolidFixture()
	files := map[string][]byte{"made here": small.bytes(nil)}
	tree := sourceTree(t)
	for name, args := range map[string][]string{"solid": {"--solid"}, "LZMS": {"--compress=lzms"}} {
		path := filepath.Join(t.TempDir(), "image.wim")
		wimlib(t, append([]string{"capture", filepath.Join(tree, "Windows"), path, "image", "--check"}, args...)...)
		files[name] = readFile(t, path)
	}
	for name, b := range files {
		for cut := range len(b) {
			if _, err := openBytes(b[:cut]); err == nil || !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotWIM) {
				t.Fatalf("%s: cut at %d of %d: %v", name, cut, len(b), err)
			}
			// The same by a file that becomes shorter while it is read.
			r, err := Open(bytes.NewReader(b[:cut]), int64(len(b)))
			if err == nil {
				_, err = r.Image(1)
			}
			if err == nil {
				err = r.VerifyBlobs(context.Background(), 1, nil)
			}
			if err == nil && cut >= int(newFileXMLEnd(b)) {
				continue // only the integrity table is gone
			}
			if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrNotWIM) {
				t.Fatalf("%s: shrunk to %d of %d: %v", name, cut, len(b), err)
			}
		}
	}
}

// TestPassCancelled ends a pass early, and one whose writers fail.
func TestPassCancelled(t *testing.T) {
	r, err := openBytes(newSolidFixture().bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := r.VerifyBlobs(ctx, 2, func(int64, int64) { cancel() }); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := r.VerifyBlobs(ctx, 2, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	full := errors.New("disk full")
	var hashes []Hash
	for _, i := range r.byHash {
		hashes = append(hashes, Hash(r.entry(i).hash()))
	}
	done := 0
	err = r.ReadBlobs(context.Background(), hashes, 1, func(Hash) (BlobWriter, error) { return failingWriter{full, &done}, nil }, nil)
	if !errors.Is(err, full) || done == 0 {
		t.Errorf("%v, %d writers were ended", err, done)
	}
	if err := r.ReadBlobs(context.Background(), []Hash{{1}}, 1, nil, nil); err == nil {
		t.Error("a blob that is not there is read")
	}
}

type failingWriter struct {
	err  error
	done *int
}

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
func (w failingWriter) Done(err error) error      { *w.done++; return err }

// FuzzSolidTable feeds the head of a solid resource and its table alone.
func FuzzSolidTable(f *testing.F) {
	s := smallSolidFixture()
	b := s.bytes(nil)
	f.Add(b[s.resource.Offset:][:100])
	f.Add(append(make([]byte, 8), 0, 0, 1, 0, 3, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		res := resource{flags: resourceSolid, size: int64(len(b)), originalSize: solidMark}
		p, err := newSolid(bytes.NewReader(b), res, "solid")
		if err != nil {
			kindOf(t, err, ErrCorrupt, ErrTruncated, ErrUnsupported)
			return
		}
		var c chunkCache
		for i := range min(p.chunks, 10) {
			start, size := p.chunk(i)
			if from, to, err := p.bounds(i, nil); err != nil || from >= to || to > p.dataSize || start+size > p.size {
				t.Errorf("chunk %d: %d to %d of %d, %v", i, from, to, p.dataSize, err)
			}
			if size > 1<<20 {
				continue
			}
			if _, err := c.read(p, i, make([]byte, 10), 0); err != nil {
				kindOf(t, err, ErrCorrupt)
			}
		}
	})
}

// FuzzSolid reads all that a hostile solid WIM offers.
func FuzzSolid(f *testing.F) {
	f.Add(smallSolidFixture().bytes(nil), []byte{})
	f.Add(smallSolidFixture().bytes(func(s *solidFixture) { s.method = 3 }), []byte{1})
	f.Fuzz(func(t *testing.T, b, patch []byte) {
		// The patch goes where the solid resource and the blob table are.
		if at := len(b) / 2; len(patch) > 0 && at+len(patch) < len(b) {
			b = bytes.Clone(b)
			copy(b[at:], patch)
		}
		r, err := openBytes(b)
		if err != nil {
			kindOf(t, err, ErrNotWIM, ErrTruncated, ErrCorrupt, ErrUnsupported)
			return
		}
		if r.totalSize() > 1<<24 {
			return
		}
		if tree, err := r.Image(1); err == nil {
			readAllOf(t, tree, int64(len(b)))
		}
		if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
			kindOf(t, err, ErrTruncated, ErrCorrupt)
		}
	})
}
