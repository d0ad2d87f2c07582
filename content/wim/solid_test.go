package wim_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/overlay"
	"castpoint/content/wim/resource"
	"castpoint/test/wimfile"
)

func TestSolidFixtureIsGood(t *testing.T) {
	s := wimfile.NewSolid()
	r, err := wimfile.OpenBytes(s.Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := wimfile.Image(t, r, 1)
	for _, n := range s.Root.Children {
		compareFile(t, tree, n.Name, n.Data)
	}
	if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
		t.Fatal(err)
	}
	// Nobody may lay an overlay over it.
	b := s.Bytes(nil)
	if _, err := overlay.NewBase(bytes.NewReader(b), int64(len(b)), 1); !errors.Is(err, wim.ErrUnsupported) {
		t.Error(err)
	}
}

// TestSolidAttacks changes one thing of a good solid WIM.
func TestSolidAttacks(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		change func(*wimfile.Solid)
		want   error
		text   string
		verify bool // is found when it is read, not when it is opened
	}{
		"size 16 EB":            {func(s *wimfile.Solid) { s.Size = math.MaxUint64 }, wim.ErrCorrupt, "beyond any file", false},
		"size 1 PiB":            {func(s *wimfile.Solid) { s.Size = resource.MaxSize }, wim.ErrCorrupt, "cannot hold", false},
		"size 0":                {func(s *wimfile.Solid) { s.Size = 0 }, wim.ErrCorrupt, "have 0 bytes together", false},
		"size too small":        {func(s *wimfile.Solid) { s.Size-- }, wim.ErrCorrupt, "do not lie in", false},
		"size too large":        {func(s *wimfile.Solid) { s.Size++ }, wim.ErrCorrupt, "LZX data", true},
		"a chunk more":          {func(s *wimfile.Solid) { s.Size += 1 << 15 }, wim.ErrCorrupt, "are left", false},
		"method 4":              {func(s *wimfile.Solid) { s.Method = 4 }, wim.ErrCorrupt, "method 4", false},
		"method 4 billion":      {func(s *wimfile.Solid) { s.Method = math.MaxUint32 }, wim.ErrCorrupt, "method", false},
		"chunk size 0":          {func(s *wimfile.Solid) { s.ChunkSize = 0 }, wim.ErrCorrupt, "chunk size 0", false},
		"chunk size 3":          {func(s *wimfile.Solid) { s.ChunkSize = 3 }, wim.ErrCorrupt, "power of two", false},
		"chunk size 4 GiB - 1":  {func(s *wimfile.Solid) { s.ChunkSize = math.MaxUint32 }, wim.ErrCorrupt, "power of two", false},
		"LZX chunk of 4 MiB":    {func(s *wimfile.Solid) { s.ChunkSize = 4 << 20 }, wim.ErrCorrupt, "power of two", false},
		"XPRESS chunk of 1 MiB": {func(s *wimfile.Solid) { s.Method, s.ChunkSize = 1, 1<<20 }, wim.ErrCorrupt, "power of two", false},
		"one chunk of 1 GiB": {func(s *wimfile.Solid) {
			s.Method, s.ChunkSize, s.Size = 3, gib, gib
			s.Lengths = []uint32{uint32(len(s.Data)) + 8}
		}, wim.ErrUnsupported, "at once", false},
		"chunk without bytes":    {func(s *wimfile.Solid) { s.Lengths[0] = 0 }, wim.ErrCorrupt, "chunk 1 has 0 bytes", false},
		"chunk of 4 GiB":         {func(s *wimfile.Solid) { s.Lengths[1] = math.MaxUint32 }, wim.ErrCorrupt, "chunk 2 has", false},
		"chunk too long":         {func(s *wimfile.Solid) { s.Lengths[0]++; s.Lengths[1]-- }, wim.ErrCorrupt, "stands for", true},
		"chunks too short":       {func(s *wimfile.Solid) { s.Lengths[0]-- }, wim.ErrCorrupt, "together", false},
		"resource of 3 bytes":    {func(s *wimfile.Solid) { s.Resource.SizeFlags = 3 | format.ResourceSolid<<56 }, wim.ErrCorrupt, "too short", false},
		"table beyond the end":   {func(s *wimfile.Solid) { s.Resource.SizeFlags = 17 | format.ResourceSolid<<56 }, wim.ErrCorrupt, "cannot hold", false},
		"resource beyond":        {func(s *wimfile.Solid) { s.Resource.Offset = gib }, wim.ErrCorrupt, "ends at", false},
		"resource is metadata":   {func(s *wimfile.Solid) { s.Resource.Offset = format.HeaderSize }, wim.ErrCorrupt, "", false},
		"no resource":            {func(s *wimfile.Solid) { s.Resource.OriginalSize = 1 }, wim.ErrCorrupt, "do not lie in", false},
		"blob beyond":            {func(s *wimfile.Solid) { s.Places[2].Offset++ }, wim.ErrCorrupt, "do not lie in", false},
		"blob far beyond":        {func(s *wimfile.Solid) { s.Places[2].Offset = 1 << 50 }, wim.ErrCorrupt, "do not lie in", false},
		"blob at 16 EB":          {func(s *wimfile.Solid) { s.Places[2].Offset = math.MaxUint64 }, wim.ErrCorrupt, "beyond any file", false},
		"blob of 72 PB":          {func(s *wimfile.Solid) { s.Places[2].SizeFlags |= 1<<56 - 1 }, wim.ErrCorrupt, "beyond any file", false},
		"blobs overlap":          {func(s *wimfile.Solid) { s.Places[1].Offset-- }, wim.ErrCorrupt, "overlap", false},
		"all blobs in one place": {func(s *wimfile.Solid) { s.Places[0].Offset, s.Places[2].Offset = 9, 9 }, wim.ErrCorrupt, "overlap", false},
		"blob of other bytes":    {func(s *wimfile.Solid) { s.Hashes[1][0]++ }, wim.ErrCorrupt, "SHA-1", true},
		"a byte changed":         {func(s *wimfile.Solid) { s.Data[40_000] ^= 1 }, wim.ErrCorrupt, "SHA-1", true},
		"LZX that is none":       {func(s *wimfile.Solid) { s.Lengths[2]--; s.Data = s.Data[:len(s.Data)-1]; s.Resource.SizeFlags-- }, wim.ErrCorrupt, "LZX data", true},
		"LZMS that is none": {func(s *wimfile.Solid) {
			s.Method = 3
			s.Lengths[2] -= 2
			s.Data = s.Data[:len(s.Data)-2]
			s.Resource.SizeFlags -= 2
		}, wim.ErrCorrupt, "LZMS data", true},
		"short without method": {func(s *wimfile.Solid) {
			s.Method = 0
			s.Lengths[2]--
			s.Data = s.Data[:len(s.Data)-1]
			s.Resource.SizeFlags--
		}, wim.ErrCorrupt, "without compression", true},
	} {
		t.Run(name, func(t *testing.T) {
			b := wimfile.NewSolid().Bytes(c.change)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := wimfile.OpenBytes(b)
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
	small := wimfile.SmallSolid()
	files := map[string][]byte{"made here": small.Bytes(nil)}
	tree := wimfile.SourceTree(t)
	for name, args := range map[string][]string{"solid": {"--solid"}, "LZMS": {"--compress=lzms"}} {
		path := filepath.Join(t.TempDir(), "image.wim")
		wimfile.Wimlib(t, append([]string{"capture", filepath.Join(tree, "Windows"), path, "image", "--check"}, args...)...)
		files[name] = wimfile.ReadFile(t, path)
	}
	for name, b := range files {
		for cut := range len(b) {
			if _, err := wimfile.OpenBytes(b[:cut]); err == nil || !errors.Is(err, wim.ErrTruncated) && !errors.Is(err, wim.ErrNotWIM) {
				t.Fatalf("%s: cut at %d of %d: %v", name, cut, len(b), err)
			}
			// The same by a file that becomes shorter while it is read.
			r, err := wim.Open(bytes.NewReader(b[:cut]), int64(len(b)))
			if err == nil {
				_, err = r.Image(1)
			}
			if err == nil {
				err = r.VerifyBlobs(context.Background(), 1, nil)
			}
			if err == nil && cut >= int(wimfile.XMLEnd(b)) {
				continue // only the integrity table is gone
			}
			if !errors.Is(err, wim.ErrTruncated) && !errors.Is(err, wim.ErrNotWIM) {
				t.Fatalf("%s: shrunk to %d of %d: %v", name, cut, len(b), err)
			}
		}
	}
}

// TestPassCancelled ends a pass early, and one whose writers fail.
func TestPassCancelled(t *testing.T) {
	s := wimfile.NewSolid()
	r, err := wimfile.OpenBytes(s.Bytes(nil))
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
	done := 0
	err = r.ReadBlobs(context.Background(), s.Hashes, 1, func(wim.Hash) (wim.BlobWriter, error) { return failingWriter{full, &done}, nil }, nil)
	if !errors.Is(err, full) || done == 0 {
		t.Errorf("%v, %d writers were ended", err, done)
	}
	if err := r.ReadBlobs(context.Background(), []wim.Hash{{1}}, 1, nil, nil); err == nil {
		t.Error("a blob that is not there is read")
	}
}

type failingWriter struct {
	err  error
	done *int
}

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }
func (w failingWriter) Done(err error) error      { *w.done++; return err }

// FuzzSolid reads all that a hostile solid WIM offers.
func FuzzSolid(f *testing.F) {
	f.Add(wimfile.SmallSolid().Bytes(nil), []byte{})
	f.Add(wimfile.SmallSolid().Bytes(func(s *wimfile.Solid) { s.Method = 3 }), []byte{1})
	f.Fuzz(func(t *testing.T, b, patch []byte) {
		// The patch goes where the solid resource and the blob table are.
		if at := len(b) / 2; len(patch) > 0 && at+len(patch) < len(b) {
			b = bytes.Clone(b)
			copy(b[at:], patch)
		}
		r, err := wimfile.OpenBytes(b)
		if err != nil {
			wimfile.KindOf(t, err, wim.ErrNotWIM, wim.ErrTruncated, wim.ErrCorrupt, wim.ErrUnsupported)
			return
		}
		if r.TotalSize() > 1<<24 {
			return
		}
		if tree, err := r.Image(1); err == nil {
			readAllOf(t, tree, int64(len(b)))
		}
		if err := r.VerifyBlobs(context.Background(), 2, nil); err != nil {
			wimfile.KindOf(t, err, wim.ErrTruncated, wim.ErrCorrupt)
		}
	})
}
