package wim_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"testing"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/test/wimfile"
)

func TestImageFixtureIsGood(t *testing.T) {
	root := wimfile.SmallTree()
	r, err := wimfile.OpenBytes(wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := wimfile.Image(t, r, 1)
	var paths []string
	err = tree.Walk(func(path string, _ wim.Entry) error { paths = append(paths, path); return nil })
	want := "/ /Windows /Windows/System32 /Windows/System32/winload.efi /Windows/System32/winpeshl.ini /empty /nothing"
	if err != nil || strings.Join(paths, " ") != want {
		t.Errorf("%v, %v", paths, err)
	}
	data, err := tree.ReadFile(`\WINDOWS\system32\WinLoad.EFI`, 100)
	if err != nil || string(data) != "MZ loader" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestTreeOdd holds what is odd but legal.
func TestTreeOdd(t *testing.T) {
	content, stream := []byte("content"), []byte("stream")
	junction := wimfile.Folder("junction", &wimfile.Node{Name: "hidden"})
	junction.Change = func(b []byte) {
		binary.LittleEndian.PutUint32(b[wimfile.EntryAttributes:], metadata.AttributeDirectory|metadata.AttributeReparsePoint)
		binary.LittleEndian.PutUint32(b[wimfile.EntryReparse:], metadata.ReparseMountPoint)
	}
	junction.Data = []byte("where it leads")
	none := wimfile.Folder("none")
	none.Subdir = func(map[*wimfile.Node]int64) int64 { return 0 }
	fileWithSubdir := &wimfile.Node{Name: "file with entries", Subdir: func(map[*wimfile.Node]int64) int64 { return math.MaxInt64 }}
	lost := wim.Hash{1, 2, 3}
	root := wimfile.Folder("",
		&wimfile.Node{Name: "Name", Data: []byte("upper")},
		&wimfile.Node{Name: "name", Data: []byte("lower")},
		&wimfile.Node{Name: "b"}, &wimfile.Node{Name: "a"}, // not in order
		&wimfile.Node{UTF16: []byte{0, 0xd8}}, &wimfile.Node{UTF16: []byte{1, 0xd8}}, &wimfile.Node{UTF16: []byte{0, 0xdc, 'x', 0}},
		&wimfile.Node{Name: "...", Data: []byte("three dots")},
		&wimfile.Node{Name: "streams", Data: content, Streams: []metadata.Stream{{Name: metadata.AppendName(nil, "Zone.Identifier"), Hash: sha1.Sum(stream)}}},
		&wimfile.Node{Name: "moved", Streams: []metadata.Stream{{Hash: sha1.Sum(content)}, {Name: metadata.AppendName(nil, "s"), Hash: sha1.Sum(stream)}}},
		&wimfile.Node{Name: "encrypted", Data: content, Change: func(b []byte) { b[wimfile.EntryAttributes+1] = metadata.AttributeEncrypted >> 8 }},
		&wimfile.Node{Name: "lost", Hash: &lost},
		&wimfile.Node{Name: "times", Change: func(b []byte) {
			binary.LittleEndian.PutUint64(b[wimfile.EntryCreated:], 0)
			binary.LittleEndian.PutUint64(b[wimfile.EntryModified:], math.MaxUint64)
			binary.LittleEndian.PutUint64(b[wimfile.EntryAccessed:], 116444736000000000)
		}},
		junction, none, fileWithSubdir)
	sec := binary.LittleEndian.AppendUint32(nil, 8+16+5)
	sec = binary.LittleEndian.AppendUint32(sec, 2)
	sec = binary.LittleEndian.AppendUint64(sec, 2)
	sec = binary.LittleEndian.AppendUint64(sec, 3)
	sec = append(sec, "abcdeXXX"...)
	blobs := append(wimfile.Contents(root), stream)
	r, err := wimfile.OpenBytes(wimfile.NewImage(wimfile.Metadata(root, sec), blobs...).Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := wimfile.Image(t, r, 1)
	read := func(path string) string {
		t.Helper()
		b, err := tree.ReadFile(path, 100)
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return string(b)
	}
	if read("Name") != "upper" || read("name") != "lower" || read("NAME") != "upper" || read("...") != "three dots" ||
		read("STREAMS") != "content" || read("moved") != "content" {
		t.Error("contents are mixed up")
	}
	for _, name := range []string{"\xed\xa0\x80", "\xed\xa0\x81", "\xed\xb0\x80x"} {
		if e, err := tree.Lookup(name); err != nil || e.Name != name {
			t.Errorf("%q: %q, %v", name, e.Name, err)
		}
	}
	e, err := tree.Lookup("streams")
	if err != nil || len(e.Streams) != 2 || e.Streams[1].Name != "Zone.Identifier" || e.Streams[1].Size != 6 {
		t.Errorf("%+v, %v", e, err)
	}
	b, err := tree.OpenStream(e.Streams[1])
	if err != nil {
		t.Fatal(err)
	}
	if s, err := io.ReadAll(b.Reader()); err != nil || string(s) != "stream" {
		t.Errorf("%q, %v", s, err)
	}
	e, err = tree.Lookup("junction")
	if err != nil || e.IsDir() || e.ReparseTag != metadata.ReparseMountPoint || e.Streams[0].Kind != metadata.StreamReparsePoint {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = tree.Lookup("encrypted")
	if err != nil || e.Streams[0].Kind != metadata.StreamEncrypted {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = tree.Lookup("times")
	if err != nil || !e.Created.IsZero() || !e.Modified.IsZero() || e.Accessed.Unix() != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for path, want := range map[string]error{
		"junction/hidden": fs.ErrNotExist, "file with entries/x": fs.ErrNotExist, "a/b": fs.ErrNotExist, "missing": fs.ErrNotExist,
		"none": fs.ErrInvalid, "junction": fs.ErrInvalid, "encrypted": fs.ErrInvalid, "/": fs.ErrInvalid,
		"../a": fs.ErrInvalid, "a//b": fs.ErrInvalid, "x\x00": fs.ErrInvalid, "lost": wim.ErrCorrupt,
	} {
		if _, err := tree.Open(path); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", path, err, want)
		}
	}
	if _, err := tree.ReadFile("streams", 6); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := r.Image(2); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if s, ok := tree.Security(1); !ok || string(s) != "cde" {
		t.Errorf("%q %v", s, ok)
	}
	for _, id := range []int32{-1, 2, math.MaxInt32, math.MinInt32} {
		if _, ok := tree.Security(id); ok {
			t.Errorf("security descriptor %d exists", id)
		}
	}
	if n := len(slices.Collect(tree.Children(tree.Root()))); n != len(root.Children) {
		t.Errorf("%d children", n)
	}
	for range tree.Children(wim.Entry{Attributes: metadata.AttributeDirectory}) {
		t.Error("a folder of no tree has a child")
	}
}

// TestWalkSkips leaves parts of a tree out.
func TestWalkSkips(t *testing.T) {
	root := wimfile.SmallTree()
	r, err := wimfile.OpenBytes(wimfile.NewImage(wimfile.Metadata(root, nil), wimfile.Contents(root)...).Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	failure := errors.New("failure")
	for _, c := range []struct {
		at   string
		err  error
		want string
	}{
		{"/Windows", fs.SkipDir, "/ /Windows /empty /nothing"},
		{"/Windows/System32/winload.efi", fs.SkipDir, "/ /Windows /Windows/System32 /Windows/System32/winload.efi /empty /nothing"},
		{"/Windows", fs.SkipAll, "/ /Windows"},
		{"/", fs.SkipDir, "/"},
		{"/Windows", failure, "/ /Windows"},
	} {
		var paths []string
		err := wimfile.Image(t, r, 1).Walk(func(path string, _ wim.Entry) error {
			paths = append(paths, path)
			if path == c.at {
				return c.err
			}
			return nil
		})
		if strings.Join(paths, " ") != c.want || (err != nil) != errors.Is(c.err, failure) {
			t.Errorf("%s %v: %v, %v", c.at, c.err, paths, err)
		}
	}
}

// TestBlobTableAttacks changes the blob table of an image file.
func TestBlobTableAttacks(t *testing.T) {
	root := wimfile.SmallTree()
	meta := wimfile.Metadata(root, nil)
	blobs := wimfile.Contents(root)
	for name, c := range map[string]struct {
		change func(f *wimfile.File)
		open   error
		image  error
		file   error
		text   string
	}{
		"good":           {func(*wimfile.File) {}, nil, nil, nil, ""},
		"no metadata":    {func(f *wimfile.File) { f.Blobs = f.Blobs[format.BlobEntrySize:] }, wim.ErrCorrupt, nil, nil, "metadata of 0 images"},
		"metadata twice": {func(f *wimfile.File) { f.Blobs = append(f.Blobs, f.Blobs[:format.BlobEntrySize]...) }, wim.ErrCorrupt, nil, nil, "metadata of 2 images"},
		"deleted image": {func(f *wimfile.File) {
			e := bytes.Clone(f.Blobs[:format.BlobEntrySize])
			clear(e[26:30])
			f.Blobs = append(e, f.Blobs...)
		}, nil, nil, nil, ""},
		"metadata changed":  {func(f *wimfile.File) { f.Data[20] ^= 1 }, nil, wim.ErrCorrupt, nil, "SHA-1"},
		"metadata of 1 PiB": {func(f *wimfile.File) { f.Blobs[16+6] = 0xff }, nil, wim.ErrCorrupt, nil, "beyond any file"},
		"metadata of 300 MB": {func(f *wimfile.File) {
			binary.LittleEndian.PutUint64(f.Blobs[16:], 300<<20)
			f.Blobs[7] |= format.ResourceCompressed
			f.Header.Flags |= format.FlagCompression | format.FlagLZX
			f.Header.ChunkSize = 32768
		}, nil, wim.ErrCorrupt, nil, "cannot hold"},
		"compressed without compression": {func(f *wimfile.File) { f.Blobs[7] |= format.ResourceCompressed }, nil, wim.ErrCorrupt, nil, "without compression"},
		"content changed":                {func(f *wimfile.File) { f.Data[len(meta)] ^= 1 }, nil, nil, wim.ErrCorrupt, "SHA-1"},
		"content of another size":        {func(f *wimfile.File) { f.Blobs[format.BlobEntrySize+16]++ }, nil, nil, wim.ErrCorrupt, "without compression"},
		"content in another part":        {func(f *wimfile.File) { f.Blobs[format.BlobEntrySize+24] = 2 }, nil, nil, wim.ErrCorrupt, "not in the file"},
		"content twice": {func(f *wimfile.File) {
			e := bytes.Clone(f.Blobs[format.BlobEntrySize : 2*format.BlobEntrySize])
			e[8]++ // in other words: damaged; the first counts
			f.Blobs = append(f.Blobs, e...)
		}, nil, nil, nil, ""},
		"chunk size 3": {func(f *wimfile.File) {
			f.Header.Flags |= format.FlagCompression | format.FlagLZX
			f.Header.ChunkSize = 3
		}, wim.ErrCorrupt, nil, nil, "power of two"},
		"XPRESS of 1 MiB": {func(f *wimfile.File) {
			f.Header.Flags |= format.FlagCompression | format.FlagXPRESS
			f.Header.ChunkSize = 1 << 20
		}, wim.ErrCorrupt, nil, nil, "power of two"},
		"LZX of 4 KiB": {func(f *wimfile.File) {
			f.Header.Flags |= format.FlagCompression | format.FlagLZX
			f.Header.ChunkSize = 4096
		}, wim.ErrCorrupt, nil, nil, "power of two"},
		"LZMS of 4 KiB": {func(f *wimfile.File) {
			f.Header.Flags |= format.FlagCompression | format.FlagLZMS
			f.Header.ChunkSize = 4096
		}, wim.ErrCorrupt, nil, nil, "power of two"},
		"split": {func(f *wimfile.File) { f.Header.Parts = 2 }, wim.ErrUnsupported, nil, nil, "all are needed"},
		"solid blob without solid resource": {func(f *wimfile.File) {
			f.Header.Version = format.VersionSolid
			f.Blobs[format.BlobEntrySize+7] |= format.ResourceSolid
		},
			wim.ErrCorrupt, nil, nil, "do not lie in the solid resources"},
		"content overlaps metadata": {func(f *wimfile.File) { f.Blobs[format.BlobEntrySize+8]-- }, wim.ErrCorrupt, nil, nil, "overlap"},
	} {
		t.Run(name, func(t *testing.T) {
			f := wimfile.NewImage(meta, blobs...)
			c.change(f)
			r, err := wimfile.OpenBytes(f.Bytes(nil))
			step := func(err, want error) bool {
				t.Helper()
				if !errors.Is(err, want) || want != nil && !strings.Contains(err.Error(), c.text) {
					t.Errorf("have %v, want %v with %q", err, want, c.text)
				}
				return err == nil
			}
			if !step(err, c.open) {
				return
			}
			tree, err := r.Image(1)
			if !step(err, c.image) {
				return
			}
			_, err = tree.ReadFile("Windows/System32/winload.efi", 1000)
			if !step(err, c.file) {
				return
			}
			if err := r.VerifyBlobs(context.Background(), 3, nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestVerifyBlobsFinds damages every blob in turn.
func TestVerifyBlobsFinds(t *testing.T) {
	root := wimfile.SmallTree()
	blobs := wimfile.Contents(root)
	for i := range blobs {
		f := wimfile.NewImage(wimfile.Metadata(root, nil), blobs...)
		f.Data[len(f.Data)-1-i*len(blobs[len(blobs)-1])] ^= 1
		r, err := wimfile.OpenBytes(f.Bytes(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.VerifyBlobs(context.Background(), 2, nil); !errors.Is(err, wim.ErrCorrupt) {
			t.Errorf("blob %d: %v", i, err)
		}
	}
	r, err := wimfile.OpenBytes(wimfile.NewImage(wimfile.Metadata(root, nil), blobs...).Bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.VerifyBlobs(ctx, 2, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
