package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// file is a small WIM put together in memory, to be damaged on purpose.
type file struct {
	header headerDisk
	data   []byte // from offset headerSize
	blobs  []byte
	xml    []byte
	chunk  uint32 // of the integrity table; 0 for none
	table  []byte // replaces the integrity table when not nil
}

func newFile(xmlText string, images uint32) *file {
	f := &file{data: bytes.Repeat([]byte("data"), 4096), xml: encodeUTF16(xmlText), chunk: 4096}
	copy(f.header.Magic[:], magicWIM)
	f.header.HeaderSize = headerSize
	f.header.Version = versionDefault
	f.header.Part, f.header.Parts, f.header.Images = 1, 1, images
	f.blobs = blobEntry(resourceDisk{SizeFlags: 100, Offset: headerSize, OriginalSize: 100}, 1)
	return f
}

func encodeUTF16(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

func blobEntry(r resourceDisk, part uint16) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, r)
	if err != nil {
		panic(err)
	}
	b = binary.LittleEndian.AppendUint16(b, part)
	b = binary.LittleEndian.AppendUint32(b, 1)
	return append(b, make([]byte, sha1.Size)...)
}

func at(offset, size int) resourceDisk {
	return resourceDisk{SizeFlags: uint64(size), Offset: uint64(offset), OriginalSize: uint64(size)}
}

// layOut fills in the positions of the tables and returns the parts behind the
// header.
func (f *file) layOut() []byte {
	body := bytes.Clone(f.data)
	f.header.BlobTable = at(headerSize+len(body), len(f.blobs))
	body = append(body, f.blobs...)
	end := headerSize + len(body)
	f.header.XML = at(headerSize+len(body), len(f.xml))
	hashed := body
	body = append(bytes.Clone(body), f.xml...)
	table := f.table
	if table == nil && f.chunk != 0 {
		chunks := (end - headerSize + int(f.chunk) - 1) / int(f.chunk)
		table = binary.LittleEndian.AppendUint32(table, uint32(integrityHeaderSize+chunks*sha1.Size))
		table = binary.LittleEndian.AppendUint32(table, uint32(chunks))
		table = binary.LittleEndian.AppendUint32(table, f.chunk)
		for i := 0; i < len(hashed); i += int(f.chunk) {
			sum := sha1.Sum(hashed[i:min(i+int(f.chunk), len(hashed))])
			table = append(table, sum[:]...)
		}
	}
	f.header.Integrity = at(headerSize+len(body), len(table))
	return append(body, table...)
}

// bytes gives the file after change has had the header.
func (f *file) bytes(change func(*headerDisk)) []byte {
	body := f.layOut()
	if change != nil {
		change(&f.header)
	}
	head, err := binary.Append(nil, binary.LittleEndian, &f.header)
	if err != nil {
		panic(err)
	}
	return append(head, body...)
}

const goodXML = `<WIM><TOTALBYTES>1</TOTALBYTES><IMAGE INDEX="1"><NAME>one</NAME></IMAGE></WIM>`

func TestFixtureIsGood(t *testing.T) {
	b := newFile(goodXML, 1).bytes(nil)
	info, err := Describe(bytes.NewReader(b), int64(len(b)))
	if err != nil || info.Images[0].Name != "one" || !info.Integrity || info.Blobs != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil); err != nil {
		t.Fatal(err)
	}
}

// TestHeaderAttacks changes one header field of a good file.
func TestHeaderAttacks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*headerDisk)
		want   error
		text   string
	}{
		"header size":                {func(h *headerDisk) { h.HeaderSize = 96 }, ErrCorrupt, "size field is 96"},
		"version of the future":      {func(h *headerDisk) { h.Version = 0x20000 }, ErrCorrupt, "version 0x20000"},
		"no part":                    {func(h *headerDisk) { h.Part = 0 }, ErrCorrupt, "part 0 of 1"},
		"part after the last":        {func(h *headerDisk) { h.Part = 2 }, ErrCorrupt, "part 2 of 1"},
		"four billion images":        {func(h *headerDisk) { h.Images = math.MaxUint32 }, ErrCorrupt, "4294967295 images"},
		"more images than XML":       {func(h *headerDisk) { h.Images = 65535 }, ErrCorrupt, "1 images, the header says 65535"},
		"fewer images than XML":      {func(h *headerDisk) { h.Images = 0 }, ErrCorrupt, "more images"},
		"unknown compression":        {func(h *headerDisk) { h.Flags = flagCompression | 0x10000 }, ErrCorrupt, "method"},
		"huge chunk size":            {func(h *headerDisk) { h.ChunkSize = math.MaxUint32 }, ErrCorrupt, "chunk size"},
		"blob table offset overflow": {func(h *headerDisk) { h.BlobTable.Offset = math.MaxUint64 }, ErrCorrupt, "blob table"},
		"blob table end overflow":    {func(h *headerDisk) { h.BlobTable.Offset = math.MaxInt64 - 1 }, ErrCorrupt, "blob table"},
		"blob table 72 PB":           {func(h *headerDisk) { h.BlobTable.SizeFlags = 1<<56 - 1 }, ErrCorrupt, "blob table"},
		"blob table in the header":   {func(h *headerDisk) { h.BlobTable.Offset = 100 }, ErrCorrupt, "inside the header"},
		"blob table beyond the end":  {func(h *headerDisk) { h.BlobTable.Offset = 1 << 30 }, ErrTruncated, "blob table lies beyond"},
		"half a blob entry":          {func(h *headerDisk) { h.BlobTable.SizeFlags = 49 }, ErrCorrupt, "multiple"},
		"XML beyond the end":         {func(h *headerDisk) { h.XML.SizeFlags += 1000 }, ErrTruncated, "XML data lies beyond"},
		"XML says compressed":        {func(h *headerDisk) { h.XML.SizeFlags |= resourceCompressed << 56 }, ErrCorrupt, "compressed"},
		"XML elsewhere":              {func(h *headerDisk) { h.XML.Offset = headerSize }, ErrCorrupt, "XML data"},
		"XML odd size":               {func(h *headerDisk) { h.XML.SizeFlags-- }, ErrCorrupt, "UTF-16"},
		"XML cut":                    {func(h *headerDisk) { h.XML.SizeFlags -= 20 }, ErrCorrupt, "XML data"},
		"no tables yet":              {func(h *headerDisk) { h.XML, h.BlobTable, h.Integrity = resourceDisk{}, resourceDisk{}, resourceDisk{} }, ErrTruncated, "did not finish"},
		"boot metadata beyond":       {func(h *headerDisk) { h.BootMetadata = at(1<<20, 10) }, ErrTruncated, "boot metadata"},
		"two tables beyond": {func(h *headerDisk) { h.XML.Offset = 1 << 20; h.Integrity.Offset = 1 << 21 },
			ErrTruncated, "XML data and integrity table lie beyond"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newFile(goodXML, 1).bytes(c.change)
			expect(t, b, c.want, c.text)
		})
	}
}

func expect(t *testing.T, b []byte, want error, text string) {
	t.Helper()
	_, err := Describe(bytes.NewReader(b), int64(len(b)))
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		t.Errorf("have %v, want %v with %q", err, want, text)
	}
	if err != nil && strings.Count(err.Error(), want.Error()) != 1 {
		t.Errorf("says the same twice: %v", err)
	}
}

// TestXMLAttacks puts hostile text where the XML should be.
func TestXMLAttacks(t *testing.T) {
	lol := `<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><WIM><IMAGE INDEX="1"><NAME>&b;</NAME></IMAGE></WIM>`
	for name, c := range map[string]struct {
		xml    string
		images uint32
		text   string
	}{
		"billion laughs":  {lol, 1, "entity"},
		"external entity": {`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><WIM><IMAGE INDEX="1"><NAME>&e;</NAME></IMAGE></WIM>`, 1, "entity"},
		"deep":            {`<WIM>` + strings.Repeat("<a>", 500_000), 1, "deeper"},
		"deep in image":   {`<WIM><IMAGE INDEX="1">` + strings.Repeat("<a>", 500_000), 1, "deeper"},
		"wide":            {`<WIM>` + strings.Repeat("<a/>", maxXMLElements+1) + `</WIM>`, 1, "more than"},
		"many images":     {`<WIM>` + strings.Repeat(`<IMAGE INDEX="1"/>`, 70_000) + `</WIM>`, 3, "more images than the 3"},
		"same index":      {`<WIM><IMAGE INDEX="1"/><IMAGE INDEX="1"/></WIM>`, 2, "occurs twice"},
		"index 0":         {`<WIM><IMAGE INDEX="0"/></WIM>`, 1, "not in 1 to 1"},
		"index negative":  {`<WIM><IMAGE INDEX="-1"/></WIM>`, 1, "not in 1 to 1"},
		"index huge":      {`<WIM><IMAGE INDEX="99999999999999999999"/></WIM>`, 1, "not in 1 to 1"},
		"index word":      {`<WIM><IMAGE INDEX="one"/></WIM>`, 1, "not in 1 to 1"},
		"no index":        {`<WIM><IMAGE/></WIM>`, 1, "not in 1 to 1"},
		"other root":      {`<html><body/></html>`, 1, "not WIM"},
		"only a comment":  {`<!-- nothing -->`, 0, "no root"},
		"not closed":      {`<WIM><IMAGE INDEX="1"><NAME>x`, 1, "XML data"},
		"wrong nesting":   {`<WIM><IMAGE INDEX="1"><NAME></IMAGE></NAME></WIM>`, 1, "XML data"},
		"control bytes":   {"<WIM><IMAGE INDEX=\"1\"><NAME>\x01</NAME></IMAGE></WIM>", 1, "XML data"},
		"text":            {`hello`, 1, "does not begin"},
		"empty":           {``, 1, "does not begin"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			expect(t, newFile(c.xml, c.images).bytes(nil), ErrCorrupt, c.text)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	t.Run("XML larger than sensible", func(t *testing.T) {
		f := newFile(goodXML, 1)
		f.xml = make([]byte, maxXMLSize+2)
		expect(t, f.bytes(nil), ErrCorrupt, "sensible")
	})
	t.Run("UTF-8", func(t *testing.T) {
		f := newFile(goodXML, 1)
		f.xml = []byte(goodXML)
		if len(f.xml)%2 != 0 {
			f.xml = append(f.xml, '\n')
		}
		expect(t, f.bytes(nil), ErrCorrupt, "does not begin")
	})
}

// TestOddButGoodXML holds what real tools write although it looks wrong.
func TestOddButGoodXML(t *testing.T) {
	for name, c := range map[string]struct {
		xml  []byte
		want Image
	}{
		"declaration": {encodeUTF16(`<?xml version="1.0" encoding="utf-16"?>` + goodXML), Image{Index: 1, Name: "one"}},
		"no byte order mark": {encodeUTF16(goodXML)[2:],
			Image{Index: 1, Name: "one"}},
		"terminating zero":         {append(encodeUTF16(goodXML), 0, 0), Image{Index: 1, Name: "one"}},
		"bad numbers do no harm":   {encodeUTF16(`<WIM><IMAGE INDEX="1"><FILECOUNT>-5</FILECOUNT><DIRCOUNT>x</DIRCOUNT><CREATIONTIME><HIGHPART>zz</HIGHPART></CREATIONTIME></IMAGE></WIM>`), Image{Index: 1}},
		"unknown architecture":     {encodeUTF16(`<WIM><IMAGE INDEX="1"><WINDOWS><ARCH>77</ARCH></WINDOWS></IMAGE></WIM>`), Image{Index: 1, Arch: "windows-77"}},
		"single surrogate":         {append(append(encodeUTF16(`<WIM><IMAGE INDEX="1"><NAME>`), 0x00, 0xd8), encodeUTF16(`</NAME></IMAGE></WIM>`)[2:]...), Image{Index: 1, Name: "\ufffd"}},
		"epoch":                    {encodeUTF16(`<WIM><IMAGE INDEX="1"><CREATIONTIME><HIGHPART>0x019DB1DE</HIGHPART><LOWPART>0xD53E8000</LOWPART></CREATIONTIME></IMAGE></WIM>`), Image{Index: 1, Created: time.Unix(0, 0).UTC()}},
		"version without a part":   {encodeUTF16(`<WIM><IMAGE INDEX="1"><WINDOWS><VERSION><MAJOR>10</MAJOR><BUILD>19045</BUILD></VERSION></WINDOWS></IMAGE></WIM>`), Image{Index: 1, Version: "10.0.19045.0"}},
		"name twice takes the end": {encodeUTF16(`<WIM><IMAGE INDEX="1"><NAME>a</NAME><NAME>b</NAME></IMAGE></WIM>`), Image{Index: 1, Name: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(goodXML, 1)
			f.xml = c.xml
			b := f.bytes(nil)
			info, err := Describe(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			have := info.Images[0]
			if have.Index != c.want.Index || have.Name != c.want.Name || have.Arch != c.want.Arch ||
				have.Version != c.want.Version || !have.Created.Equal(c.want.Created) || have.Files != 0 {
				t.Errorf("%+v", have)
			}
		})
	}
}

// TestBlobAttacks puts one bad entry into the blob table.
func TestBlobAttacks(t *testing.T) {
	for name, c := range map[string]struct {
		entry []byte
		bad   bool
	}{
		"beyond the end":           {blobEntry(at(1<<30, 100), 1), true},
		"offset overflow":          {blobEntry(resourceDisk{SizeFlags: 1, Offset: math.MaxUint64}, 1), true},
		"72 PB":                    {blobEntry(resourceDisk{SizeFlags: 1<<56 - 1, Offset: headerSize}, 1), true},
		"solid resource beyond":    {blobEntry(resourceDisk{SizeFlags: resourceSolid<<56 | 100, Offset: 1 << 30, OriginalSize: solidMark}, 1), true},
		"inside a solid resource":  {blobEntry(resourceDisk{SizeFlags: resourceSolid<<56 | 100, Offset: 1 << 30, OriginalSize: 100}, 1), false},
		"in another part":          {blobEntry(at(1<<30, 100), 2), false},
		"free space past the end":  {blobEntry(resourceDisk{SizeFlags: resourceFree<<56 | 100, Offset: 1 << 30}, 1), false},
		"empty resource at offset": {blobEntry(at(0, 0), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(goodXML, 1)
			f.blobs = append(bytes.Repeat(f.blobs, 3000), c.entry...) // beyond the first buffer
			b := f.bytes(nil)
			if c.bad {
				expect(t, b, ErrCorrupt, "blob table: entry 3000")
				return
			}
			if _, err := Describe(bytes.NewReader(b), int64(len(b))); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIntegrityAttacks replaces the integrity table.
func TestIntegrityAttacks(t *testing.T) {
	table := func(size, chunks, chunk uint32, n int) []byte {
		b := binary.LittleEndian.AppendUint32(nil, size)
		b = binary.LittleEndian.AppendUint32(b, chunks)
		b = binary.LittleEndian.AppendUint32(b, chunk)
		return append(b, make([]byte, n)...)
	}
	for name, c := range map[string]struct {
		table []byte
		text  string
	}{
		"too short":             {[]byte{1, 2, 3}, "too short"},
		"size lies":             {table(999, 1, 4096, 20), "header"},
		"four billion chunks":   {table(12, math.MaxUint32, 4096, 0), "chunks need"},
		"chunk size 0":          {table(32, 1, 0, 20), "chunk size 0"},
		"chunk size 1":          {table(32, 1, 1, 20), "chunk size 1"},
		"chunk size huge":       {table(32, 1, math.MaxUint32, 20), "chunk size"},
		"too few chunks":        {table(32, 1, 4096, 20), "the file has 5"},
		"hashes of other bytes": {table(12+5*20, 5, 4096, 5*20), "5 of 5 chunks"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFile(goodXML, 1)
			f.table = c.table
			b := f.bytes(nil)
			err := Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("have %v, want %q", err, c.text)
			}
		})
	}
}

func TestVerifyStopsWithContext(t *testing.T) {
	b := newFile(goodXML, 1).bytes(nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Verify(ctx, bytes.NewReader(b), int64(len(b)), nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestPipableAttacks damages the header at the end.
func TestPipableAttacks(t *testing.T) {
	build := func(change func(*headerDisk)) []byte {
		f := newFile(goodXML, 1)
		copy(f.header.Magic[:], magicPipable)
		start := f.header // without tables, as wimlib writes it
		whole := f.bytes(change)
		head, err := binary.Append(nil, binary.LittleEndian, &start)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(head, whole[headerSize:]...), whole[:headerSize]...)
	}
	b := build(nil)
	if info, err := Describe(bytes.NewReader(b), int64(len(b))); err != nil || !info.Pipable {
		t.Fatalf("%+v, %v", info, err)
	}
	expect(t, b[:headerSize], ErrTruncated, "last 208 bytes") // the first header alone
	expect(t, b[:len(b)-1], ErrTruncated, "last 208 bytes")
	expect(t, build(func(h *headerDisk) { h.GUID[3]++ }), ErrCorrupt, "different WIMs")
	expect(t, build(func(h *headerDisk) { h.HeaderSize++ }), ErrCorrupt, "size field")
}

// TestNotWIM names what other files are.
func TestNotWIM(t *testing.T) {
	iso := make([]byte, 40_000)
	copy(iso[0x8001:], "CD001")
	vhd := make([]byte, 4096)
	copy(vhd[len(vhd)-512:], "conectix")
	kernel := make([]byte, 4096)
	copy(kernel, "MZ")
	copy(kernel[0x202:], "HdrS")
	for name, c := range map[string]struct {
		data []byte
		text string
	}{
		"empty":      {nil, "it is empty"},
		"one byte":   {[]byte("M"), "text"},
		"ISO":        {iso, "ISO 9660"},
		"VHDX":       {[]byte("vhdxfile and more"), "VHDX"},
		"fixed VHD":  {vhd, "VHD"},
		"zip":        {[]byte("PK\x03\x04\x14\x00"), "zip"},
		"gzip":       {[]byte("\x1f\x8b\x08\x00"), "gzip"},
		"PE":         {[]byte("MZ\x90\x00"), "PE"},
		"kernel":     {kernel, "Linux kernel"},
		"zeros":      {make([]byte, 1000), "unfinished download"},
		"login page": {[]byte("\r\n<!DOCTYPE html><title>403"), "HTML"},
		"text":       {[]byte("see the wiki, die Größe\n"), "text file"},
		"pointer":    {[]byte("version https://git-lfs.github.com/spec/v1\n"), "LFS"},
		"noise":      {[]byte{0x80, 0x81, 0x00, 0xff}, "80 81 00 ff"},
		"old magic":  {[]byte("MSWIM\x00\x00\x01" + strings.Repeat("\x00", 300)), "unknown"},
	} {
		t.Run(name, func(t *testing.T) { expect(t, c.data, ErrNotWIM, c.text) })
	}
}

// TestTruncatedAnywhere cuts a file at every byte: header, contents, blob table,
// XML, integrity table. It is called incomplete wherever it can be told from
// something else, and never damaged or whole.
func TestTruncatedAnywhere(t *testing.T) {
	b := newFile(goodXML, 1).bytes(nil)
	for cut := range len(b) {
		want := ErrTruncated
		if cut < len(magicWIM) {
			want = ErrNotWIM
		}
		if _, err := Describe(bytes.NewReader(b[:cut]), int64(cut)); !errors.Is(err, want) {
			t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
		}
		if _, err := Open(bytes.NewReader(b[:cut]), int64(cut)); !errors.Is(err, want) {
			t.Fatalf("opened, cut at %d of %d: %v", cut, len(b), err)
		}
	}
}

// TestShrinkingFile reads a file that is cut while it is read.
func TestShrinkingFile(t *testing.T) {
	b := newFile(goodXML, 1).bytes(nil)
	for cut := headerSize; cut < len(b); cut += 7 {
		_, err := Describe(bytes.NewReader(b[:cut]), int64(len(b)))
		if err == nil && cut > int(newFileXMLEnd(b)) {
			continue // only the integrity table is gone, which Describe does not read
		}
		if !errors.Is(err, ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := Verify(context.Background(), bytes.NewReader(b[:cut]), int64(len(b)), nil); !errors.Is(err, ErrTruncated) {
			t.Fatalf("verify cut at %d: %v", cut, err)
		}
	}
}

func newFileXMLEnd(b []byte) uint64 {
	return binary.LittleEndian.Uint64(b[0x48+8:]) + binary.LittleEndian.Uint64(b[0x48:])&(1<<56-1)
}

// FuzzDescribe looks for panics, excess, and answers that contradict the input.
func FuzzDescribe(f *testing.F) {
	small := func(xmlText string, images uint32) *file {
		w := newFile(xmlText, images)
		w.data = w.data[:100] // short inputs are mutated and minimized quickly
		return w
	}
	f.Add(small(goodXML, 1).bytes(nil))
	f.Add(small(`<WIM><IMAGE INDEX="2"/><IMAGE INDEX="1"><WINDOWS><LANGUAGES><LANGUAGE>en</LANGUAGE></LANGUAGES></WINDOWS></IMAGE></WIM>`, 2).bytes(nil))
	f.Add(small(goodXML, 1).bytes(func(h *headerDisk) { h.Integrity = resourceDisk{} }))
	f.Add([]byte(magicPipable))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := Describe(bytes.NewReader(b), int64(len(b)))
		verr := Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
		if err != nil {
			if !errors.Is(err, ErrNotWIM) && !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrCorrupt) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if info.Integrity == errors.Is(verr, ErrNoIntegrity) {
			t.Errorf("integrity %v, verify says %v", info.Integrity, verr)
		}
		for i, img := range info.Images {
			if img.Index != i+1 {
				t.Errorf("image %d has index %d", i, img.Index)
			}
		}
	})
}

// FuzzXML feeds the XML decoder alone, which the whole-file fuzzer rarely
// reaches with more than noise.
func FuzzXML(f *testing.F) {
	f.Add(goodXML, 1)
	f.Add(`<WIM><IMAGE INDEX="1"><WINDOWS><VERSION><MAJOR>10</MAJOR></VERSION></WINDOWS></IMAGE></WIM>`, 1)
	f.Add(`<WIM/>`, 0)
	f.Fuzz(func(t *testing.T, text string, count int) {
		if count < 0 || count > maxImages {
			return
		}
		images, err := parseXML(text, count)
		if err == nil && len(images) != count {
			t.Errorf("%d images, want %d", len(images), count)
		}
		if err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("error of no kind: %v", err)
		}
	})
}

// TestCheckerPieces writes a file in pieces of many sizes.
func TestCheckerPieces(t *testing.T) {
	good := newFile(goodXML, 1).bytes(nil)
	bad := bytes.Clone(good)
	bad[9000] ^= 1
	for _, piece := range []int{1, 7, 207, 208, 209, 4096, 5000, len(good)} {
		for _, b := range [][]byte{good, bad} {
			c, err := NewChecker(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(b); i += piece {
				if _, err := c.Write(b[i:min(i+piece, len(b))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Close(); errors.Is(err, ErrCorrupt) != (&b[0] == &bad[0]) {
				t.Errorf("pieces of %d: %v", piece, err)
			}
		}
	}
	c, err := NewChecker(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(good[:5000]); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); !errors.Is(err, ErrTruncated) {
		t.Errorf("closed early: %v", err)
	}
}
