package wim

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
	"time"
)

// node is a file or folder of an image made in memory, to be damaged on
// purpose.
type node struct {
	name     string
	utf16    []byte // instead of name
	data     []byte
	children []*node // not nil for a folder
	hash     *Hash   // instead of that of data
	change   func(entry []byte)
	streams  []rawStream
	subdir   func(folders map[*node]int64) int64 // where the entry says its children are
}

func folder(name string, children ...*node) *node {
	if children == nil {
		children = []*node{}
	}
	return &node{name: name, children: children}
}

// entryBytes is the entry without its place.
func (n *node) entryBytes() []byte {
	name := n.utf16
	if name == nil {
		name = appendName(nil, n.name)
	}
	attributes := uint32(AttributeArchive)
	if n.children != nil {
		attributes = AttributeDirectory
	}
	d := newDentry(name, nil, attributes, -1, 1, 1)
	switch {
	case n.hash != nil:
		copy(d[dentryHash:], n.hash[:])
	case len(n.data) > 0:
		h := sha1.Sum(n.data)
		copy(d[dentryHash:], h[:])
	}
	if n.streams != nil {
		binary.LittleEndian.PutUint16(d[dentryStreams:], uint16(len(n.streams)))
		for _, s := range n.streams {
			b := make([]byte, align8(int64(streamSize+len(s.name)+2)))
			binary.LittleEndian.PutUint64(b, uint64(len(b)))
			copy(b[streamHash:], s.hash[:])
			binary.LittleEndian.PutUint16(b[streamNameBytes:], uint16(len(s.name)))
			copy(b[streamSize:], s.name)
			d = append(d, b...)
		}
	}
	return d
}

// metadata lays a tree out as an image has it.
func metadata(root *node, security []byte) []byte {
	out := security
	if out == nil {
		out = []byte{8, 0, 0, 0, 0, 0, 0, 0}
	}
	at := map[*node]int64{}
	folders := map[*node]int64{}
	write := func(n *node) {
		at[n] = int64(len(out))
		out = append(out, n.entryBytes()...)
	}
	write(root)
	out = append(out, make([]byte, 8)...)
	for queue := []*node{root}; len(queue) > 0; queue = queue[1:] {
		if queue[0].children == nil {
			continue
		}
		folders[queue[0]] = int64(len(out))
		for _, c := range queue[0].children {
			write(c)
		}
		out = append(out, make([]byte, 8)...)
		queue = append(queue, queue[0].children...)
	}
	for n, offset := range at {
		to, ok := folders[n]
		if n.subdir != nil {
			to, ok = n.subdir(folders), true
		}
		if ok {
			binary.LittleEndian.PutUint64(out[offset+dentrySubdir:], uint64(to))
		}
		if n.change != nil {
			n.change(out[offset:])
		}
	}
	return out
}

func contents(n *node) [][]byte {
	list := [][]byte{}
	if len(n.data) > 0 {
		list = append(list, n.data)
	}
	for _, c := range n.children {
		list = append(list, contents(c)...)
	}
	return list
}

// imageFile makes a WIM without compression of one image.
func imageFile(meta []byte, blobs ...[]byte) *file {
	f := newFile(goodXML, 1)
	f.data, f.blobs = nil, nil
	add := func(b []byte, flags uint8) {
		res := resource{flags: flags, offset: headerSize + int64(len(f.data)), size: int64(len(b)), originalSize: uint64(len(b))}
		f.blobs = append(f.blobs, newTableEntry(flags, res.offset, res.size, 1, sha1.Sum(b))...)
		f.data = append(f.data, b...)
	}
	add(meta, resourceMetadata)
	for _, b := range blobs {
		add(b, 0)
	}
	return f
}

func openBytes(b []byte) (*Reader, error) { return Open(bytes.NewReader(b), int64(len(b))) }

func smallTree() *node {
	return folder("",
		folder("Windows",
			folder("System32",
				&node{name: "winload.efi", data: []byte("MZ loader")},
				&node{name: "winpeshl.ini", data: []byte("[LaunchApp]")})),
		&node{name: "empty"},
		folder("nothing"))
}

func TestImageFixtureIsGood(t *testing.T) {
	root := smallTree()
	r, err := openBytes(imageFile(metadata(root, nil), contents(root)...).bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := image(t, r, 1)
	var paths []string
	err = tree.Walk(func(path string, _ Entry) error { paths = append(paths, path); return nil })
	want := "/ /Windows /Windows/System32 /Windows/System32/winload.efi /Windows/System32/winpeshl.ini /empty /nothing"
	if err != nil || strings.Join(paths, " ") != want {
		t.Errorf("%v, %v", paths, err)
	}
	data, err := tree.ReadFile(`\WINDOWS\system32\WinLoad.EFI`, 100)
	if err != nil || string(data) != "MZ loader" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestTreeAttacks puts hostile directory trees into an image.
func TestTreeAttacks(t *testing.T) {
	put64 := func(at int, v uint64) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint64(b[at:], v) }
	}
	put16 := func(at int, v uint16) func([]byte) {
		return func(b []byte) { binary.LittleEndian.PutUint16(b[at:], v) }
	}
	with := func(children ...*node) []byte { return metadata(folder("", children...), nil) }
	changed := func(change func([]byte)) []byte { return with(&node{name: "victim", change: change}) }
	self := folder("self")
	above := folder("above", self)
	self.subdir = func(f map[*node]int64) int64 { return f[above] }
	loop := folder("loop", &node{name: "file"})
	top := folder("", loop)
	loop.subdir = func(f map[*node]int64) int64 { return f[top] }
	twin := folder("twin", folder("a", &node{name: "1"}, &node{name: "2"}, &node{name: "3"}))
	twin2 := folder("twin2")
	twin2.subdir = func(f map[*node]int64) int64 { return f[twin] }
	deep := folder("last")
	for range maxDepth {
		deep = folder("d", deep)
	}
	security := func(total, count uint32, sizes ...uint64) []byte {
		b := binary.LittleEndian.AppendUint32(nil, total)
		b = binary.LittleEndian.AppendUint32(b, count)
		for _, s := range sizes {
			b = binary.LittleEndian.AppendUint64(b, s)
		}
		return metadata(folder(""), b)
	}
	good := with(&node{name: "file"})
	root8 := 8 // offset of the root's entry without security descriptors

	for name, c := range map[string]struct {
		meta []byte
		text string
	}{
		"empty":                     {nil, "too short"},
		"four bytes":                {[]byte{8, 0, 0, 0}, "too short"},
		"no root":                   {[]byte{8, 0, 0, 0, 0, 0, 0, 0}, "no root"},
		"root is the end":           {make([]byte, 100), "no root"},
		"root is a file":            {metadata(&node{name: ""}, nil), "no root"},
		"root is a junction":        {metadata(&node{children: []*node{}, change: func(b []byte) { b[dentryAttributes+1] = AttributeReparsePoint >> 8 }}, nil), "no root"},
		"folder in itself":          {metadata(folder("", above), nil), "back into itself"},
		"folder that is the root":   {metadata(top, nil), "back into itself"},
		"two folders, one content":  {with(twin, twin2), "back into itself"},
		"deep":                      {with(deep), "deeper"},
		"dot dot":                   {with(&node{name: ".."}), `".."`},
		"dot":                       {with(folder(".")), `"."`},
		"slash":                     {with(&node{name: "../../etc/passwd"}), "passwd"},
		"backslash":                 {with(&node{name: `..\evil`}), "evil"},
		"zero in the name":          {with(&node{name: "a\x00b"}), "name"},
		"no name":                   {with(&node{name: ""}), "without a name"},
		"one name twice":            {with(&node{name: "b"}, &node{name: "a"}, &node{name: "b"}), "twice"},
		"one name twice, side":      {with(&node{name: "b"}, &node{name: "b"}), "twice"},
		"half surrogates twice":     {with(&node{utf16: []byte{0, 0xd8}}, &node{utf16: []byte{0, 0xd8}}), "twice"},
		"odd name":                  {changed(put16(dentryNameBytes, 5)), "names of 5"},
		"odd short name":            {changed(put16(dentryShortBytes, 1)), "and 1"},
		"name longer than entry":    {changed(put16(dentryNameBytes, 60000)), "names of 60000"},
		"short name longer":         {changed(put16(dentryShortBytes, 65534)), "65534"},
		"entry too short":           {changed(put64(dentryLength, 9)), "entry of 9 bytes"},
		"entry beyond the end":      {changed(put64(dentryLength, 100000)), "100000"},
		"entry of all memory":       {changed(put64(dentryLength, math.MaxUint64)), "18446744073709551615"},
		"entry of all memory, less": {changed(put64(dentryLength, math.MaxInt64)), "9223372036854775807"},
		"65535 streams":             {changed(put16(dentryStreams, math.MaxUint16)), "stream"},
		"stream too short":          {with(&node{name: "f", streams: []rawStream{{}}, change: func(b []byte) { b[align8(int64(binary.LittleEndian.Uint64(b)))] = 9 }}), "stream entry of 9"},
		"stream of all memory":      {with(&node{name: "f", streams: []rawStream{{}}, change: func(b []byte) { put64(0, math.MaxUint64)(b[align8(int64(binary.LittleEndian.Uint64(b))):]) }}), "stream entry"},
		"stream name too long":      {with(&node{name: "f", streams: []rawStream{{}}, change: func(b []byte) { put16(streamNameBytes, 65534)(b[align8(int64(binary.LittleEndian.Uint64(b))):]) }}), "65534"},
		"children beyond the end":   {with(&node{name: "d", children: []*node{}, subdir: func(map[*node]int64) int64 { return 1 << 40 }}), "beyond the end"},
		"children at the end":       {with(&node{name: "d", children: []*node{}, subdir: func(map[*node]int64) int64 { return int64(len(with(folder("d")))) }}), "do not end"},
		"children at minus one":     {with(&node{name: "d", children: []*node{}, subdir: func(map[*node]int64) int64 { return -1 }}), "beyond the end"},
		"folder does not end":       {good[:len(good)-8], "do not end"},
		"cut":                       {good[:root8+50], "bytes with"},
		"security beyond the end":   {security(1<<20, 0), "descriptors"},
		"four billion descriptors":  {security(8, math.MaxUint32), "descriptors"},
		"descriptor too long":       {security(24, 1, 9), "descriptor 0"},
		"descriptor of all memory":  {security(24, 2, math.MaxUint64, 1), "descriptor"},
		"descriptor of all, one":    {security(24, 1, math.MaxUint64), "descriptor 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := imageFile(c.meta).bytes(nil)
			r, err := openBytes(b)
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if len(c.meta) > 0 { // an empty one would be an entry without content
				_, err = r.Image(1)
			} else {
				err = (&Tree{reader: r, metadata: c.meta}).check()
			}
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("have %v, want %q", err, c.text)
			}
			if strings.Count(err.Error(), ErrCorrupt.Error()) != 1 {
				t.Errorf("says the same twice: %v", err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("took %v", d)
			}
			if _, err := NewBase(bytes.NewReader(b), int64(len(b)), 1); !errors.Is(err, ErrCorrupt) {
				t.Errorf("as a base: %v", err)
			}
		})
	}
}

// TestTreeOdd holds what is odd but legal.
func TestTreeOdd(t *testing.T) {
	content, stream := []byte("content"), []byte("stream")
	junction := folder("junction", &node{name: "hidden"})
	junction.change = func(b []byte) {
		binary.LittleEndian.PutUint32(b[dentryAttributes:], AttributeDirectory|AttributeReparsePoint)
		binary.LittleEndian.PutUint32(b[dentryReparse:], ReparseMountPoint)
	}
	junction.data = []byte("where it leads")
	none := folder("none")
	none.subdir = func(map[*node]int64) int64 { return 0 }
	fileWithSubdir := &node{name: "file with entries", subdir: func(map[*node]int64) int64 { return math.MaxInt64 }}
	lost := Hash{1, 2, 3}
	root := folder("",
		&node{name: "Name", data: []byte("upper")},
		&node{name: "name", data: []byte("lower")},
		&node{name: "b"}, &node{name: "a"}, // not in order
		&node{utf16: []byte{0, 0xd8}}, &node{utf16: []byte{1, 0xd8}}, &node{utf16: []byte{0, 0xdc, 'x', 0}},
		&node{name: "...", data: []byte("three dots")},
		&node{name: "streams", data: content, streams: []rawStream{{name: appendName(nil, "Zone.Identifier"), hash: sha1.Sum(stream)}}},
		&node{name: "moved", streams: []rawStream{{hash: sha1.Sum(content)}, {name: appendName(nil, "s"), hash: sha1.Sum(stream)}}},
		&node{name: "encrypted", data: content, change: func(b []byte) { b[dentryAttributes+1] = AttributeEncrypted >> 8 }},
		&node{name: "lost", hash: &lost},
		&node{name: "times", change: func(b []byte) {
			binary.LittleEndian.PutUint64(b[dentryCreated:], 0)
			binary.LittleEndian.PutUint64(b[dentryModified:], math.MaxUint64)
			binary.LittleEndian.PutUint64(b[dentryAccessed:], 116444736000000000)
		}},
		junction, none, fileWithSubdir)
	sec := binary.LittleEndian.AppendUint32(nil, 8+16+5)
	sec = binary.LittleEndian.AppendUint32(sec, 2)
	sec = binary.LittleEndian.AppendUint64(sec, 2)
	sec = binary.LittleEndian.AppendUint64(sec, 3)
	sec = append(sec, "abcdeXXX"...)
	blobs := append(contents(root), stream)
	r, err := openBytes(imageFile(metadata(root, sec), blobs...).bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	tree := image(t, r, 1)
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
	if err != nil || e.IsDir() || e.ReparseTag != ReparseMountPoint || e.Streams[0].Kind != StreamReparsePoint {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = tree.Lookup("encrypted")
	if err != nil || e.Streams[0].Kind != StreamEncrypted {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = tree.Lookup("times")
	if err != nil || !e.Created.IsZero() || !e.Modified.IsZero() || e.Accessed.Unix() != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for path, want := range map[string]error{
		"junction/hidden": fs.ErrNotExist, "file with entries/x": fs.ErrNotExist, "a/b": fs.ErrNotExist, "missing": fs.ErrNotExist,
		"none": fs.ErrInvalid, "junction": fs.ErrInvalid, "encrypted": fs.ErrInvalid, "/": fs.ErrInvalid,
		"../a": fs.ErrInvalid, "a//b": fs.ErrInvalid, "x\x00": fs.ErrInvalid, "lost": ErrCorrupt,
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
	if n := len(slices.Collect(tree.Children(tree.Root()))); n != len(root.children) {
		t.Errorf("%d children", n)
	}
	for range tree.Children(Entry{Attributes: AttributeDirectory}) {
		t.Error("a folder of no tree has a child")
	}
}

// TestWalkSkips leaves parts of a tree out.
func TestWalkSkips(t *testing.T) {
	root := smallTree()
	r, err := openBytes(imageFile(metadata(root, nil), contents(root)...).bytes(nil))
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
		err := image(t, r, 1).Walk(func(path string, _ Entry) error {
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
	root := smallTree()
	meta := metadata(root, nil)
	blobs := contents(root)
	for name, c := range map[string]struct {
		change func(f *file)
		open   error
		image  error
		file   error
		text   string
	}{
		"good":           {func(*file) {}, nil, nil, nil, ""},
		"no metadata":    {func(f *file) { f.blobs = f.blobs[blobEntrySize:] }, ErrCorrupt, nil, nil, "metadata of 0 images"},
		"metadata twice": {func(f *file) { f.blobs = append(f.blobs, f.blobs[:blobEntrySize]...) }, ErrCorrupt, nil, nil, "metadata of 2 images"},
		"deleted image": {func(f *file) {
			e := bytes.Clone(f.blobs[:blobEntrySize])
			clear(e[26:30])
			f.blobs = append(e, f.blobs...)
		}, nil, nil, nil, ""},
		"metadata changed":  {func(f *file) { f.data[20] ^= 1 }, nil, ErrCorrupt, nil, "SHA-1"},
		"metadata of 1 PiB": {func(f *file) { f.blobs[16+6] = 0xff }, nil, ErrCorrupt, nil, "beyond any file"},
		"metadata of 300 MB": {func(f *file) {
			binary.LittleEndian.PutUint64(f.blobs[16:], 300<<20)
			f.blobs[7] |= resourceCompressed
			f.header.Flags |= flagCompression | flagLZX
			f.header.ChunkSize = 32768
		}, nil, ErrCorrupt, nil, "cannot hold"},
		"compressed without compression": {func(f *file) { f.blobs[7] |= resourceCompressed }, nil, ErrCorrupt, nil, "without compression"},
		"content changed":                {func(f *file) { f.data[len(meta)] ^= 1 }, nil, nil, ErrCorrupt, "SHA-1"},
		"content of another size":        {func(f *file) { f.blobs[blobEntrySize+16]++ }, nil, nil, ErrCorrupt, "without compression"},
		"content in another part":        {func(f *file) { f.blobs[blobEntrySize+24] = 2 }, nil, nil, ErrCorrupt, "not in the file"},
		"content twice": {func(f *file) {
			e := bytes.Clone(f.blobs[blobEntrySize : 2*blobEntrySize])
			e[8]++ // in other words: damaged; the first counts
			f.blobs = append(f.blobs, e...)
		}, nil, nil, nil, ""},
		"chunk size 3":    {func(f *file) { f.header.Flags |= flagCompression | flagLZX; f.header.ChunkSize = 3 }, ErrCorrupt, nil, nil, "power of two"},
		"XPRESS of 1 MiB": {func(f *file) { f.header.Flags |= flagCompression | flagXPRESS; f.header.ChunkSize = 1 << 20 }, ErrCorrupt, nil, nil, "power of two"},
		"LZX of 4 KiB":    {func(f *file) { f.header.Flags |= flagCompression | flagLZX; f.header.ChunkSize = 4096 }, ErrCorrupt, nil, nil, "power of two"},
		"LZMS of 4 KiB":   {func(f *file) { f.header.Flags |= flagCompression | flagLZMS; f.header.ChunkSize = 4096 }, ErrCorrupt, nil, nil, "power of two"},
		"split":           {func(f *file) { f.header.Parts = 2 }, ErrUnsupported, nil, nil, "all are needed"},
		"solid blob without solid resource": {func(f *file) { f.header.Version = versionSolid; f.blobs[blobEntrySize+7] |= resourceSolid },
			ErrCorrupt, nil, nil, "do not lie in the solid resources"},
		"content overlaps metadata": {func(f *file) { f.blobs[blobEntrySize+8]-- }, ErrCorrupt, nil, nil, "overlap"},
	} {
		t.Run(name, func(t *testing.T) {
			f := imageFile(meta, blobs...)
			c.change(f)
			r, err := openBytes(f.bytes(nil))
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
	root := smallTree()
	blobs := contents(root)
	for i := range blobs {
		f := imageFile(metadata(root, nil), blobs...)
		f.data[len(f.data)-1-i*len(blobs[len(blobs)-1])] ^= 1
		r, err := openBytes(f.bytes(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.VerifyBlobs(context.Background(), 2, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("blob %d: %v", i, err)
		}
	}
	r, err := openBytes(imageFile(metadata(root, nil), blobs...).bytes(nil))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.VerifyBlobs(ctx, 2, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
