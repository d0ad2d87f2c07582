package wim_test

import (
	"bytes"
	"context"
	"io"
	"reflect"
	"strings"
	"testing"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

// FuzzOpen reads all that a hostile file offers.
func FuzzOpen(f *testing.F) {
	root := wimfile.SmallTree()
	good := wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...)
	f.Add(good.Bytes(nil))
	good.Header.Flags |= format.FlagCompression | format.FlagLZX
	good.Header.ChunkSize = 32768
	good.Blobs[format.BlobEntrySize+7] |= format.ResourceCompressed
	f.Add(good.Bytes(nil))
	good.Header.Flags = format.FlagCompression | format.FlagXPRESS
	f.Add(good.Bytes(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := wimfile.OpenBytes(b)
		if err != nil {
			wimfile.KindOf(t, err, wim.ErrNotWIM, wim.ErrTruncated, wim.ErrCorrupt, wim.ErrUnsupported)
			return
		}
		for i := range r.Info().Images {
			tree, err := r.Image(i + 1)
			if err != nil {
				wimfile.KindOf(t, err, wim.ErrTruncated, wim.ErrCorrupt)
				continue
			}
			readAllOf(t, tree, int64(len(b)))
		}
		if total := r.TotalSize(); total < 1<<24 {
			if err := r.VerifyBlobs(context.Background(), 1, nil); err != nil {
				wimfile.KindOf(t, err, wim.ErrTruncated, wim.ErrCorrupt)
			}
		}
	})
}

// readAllOf walks over a tree, finds every entry again by its path, and reads
// every stream.
func readAllOf(t *testing.T, tree *wim.Tree, limit int64) {
	t.Helper()
	err := tree.Walk(func(path string, e wim.Entry) error {
		found, err := tree.Lookup(path)
		if err != nil || !reflect.DeepEqual(found, e) {
			t.Errorf("%q is found as %+v, not %+v: %v", path, found, e, err)
		}
		if strings.Contains(path, "/../") || strings.HasSuffix(path, "/..") {
			t.Errorf("path %q", path)
		}
		tree.Security(e.SecurityID)
		for _, s := range e.Streams {
			b, err := tree.OpenStream(s)
			if err != nil {
				wimfile.KindOf(t, err, wim.ErrCorrupt)
				continue
			}
			if b.Size() > 100*limit {
				continue
			}
			if _, err := io.Copy(io.Discard, b.Reader()); err != nil {
				wimfile.KindOf(t, err, wim.ErrTruncated, wim.ErrCorrupt)
			}
		}
		return nil
	})
	if err != nil {
		wimfile.KindOf(t, err, wim.ErrCorrupt)
	}
}

// FuzzTree feeds the directory tree alone, which the whole-file fuzzer rarely
// reaches past its hash.
func FuzzTree(f *testing.F) {
	root := wimfile.SmallTree()
	f.Add(wimfile.Metadata(root, nil))
	f.Add(wimfile.Metadata(wimfile.Folder("", wimfile.Folder("a", wimfile.Folder("b")), &wimfile.Node{Name: "f", Streams: []metadata.Stream{{Name: []byte{65, 0}}}}), []byte{18, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0}))
	f.Fuzz(func(t *testing.T, meta []byte) {
		if len(meta) == 0 {
			return
		}
		b := wimfile.NewImage(meta, wimfile.Contents(root)...).Bytes(nil)
		r, err := wimfile.OpenBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := r.Image(1)
		if err != nil {
			wimfile.KindOf(t, err, wim.ErrCorrupt)
			return
		}
		readAllOf(t, tree, 1000)
	})
}

// FuzzSet: two files that are said to be the parts of one WIM.
func FuzzSet(f *testing.F) {
	root := wimfile.SmallTree()
	part := func(number uint16, guid byte) []byte {
		return wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(func(h *format.HeaderDisk) {
			h.Part, h.Parts, h.GUID[0] = number, 2, guid
			h.Flags |= format.FlagSpanned
		})
	}
	f.Add(part(1, 1), part(2, 1))
	f.Add(part(1, 1), part(1, 1))
	f.Add(part(2, 1), part(1, 2))
	f.Add(wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(nil), []byte("x"))
	f.Fuzz(func(t *testing.T, one, two []byte) {
		parts := []wim.Part{{Name: "one", R: bytes.NewReader(one), Size: int64(len(one))}, {Name: "two", R: bytes.NewReader(two), Size: int64(len(two))}}
		info, err := wim.DescribeSet(parts)
		if err != nil {
			wimfile.KindOf(t, err, wim.ErrNotWIM, wim.ErrTruncated, wim.ErrCorrupt, wim.ErrUnsupported)
			return
		}
		r, err := wim.OpenSet(parts)
		if err != nil {
			wimfile.KindOf(t, err, wim.ErrTruncated, wim.ErrCorrupt, wim.ErrUnsupported)
			return
		}
		for i := range info.Images {
			if tree, err := r.Image(i + 1); err == nil {
				readAllOf(t, tree, int64(len(one)+len(two)))
			}
		}
	})
}
