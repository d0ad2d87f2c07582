package wim_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/integrity"
	"castpoint/test/wimfile"
)

func TestFixtureIsGood(t *testing.T) {
	b := wimfile.New(wimfile.GoodXML, 1).Bytes(nil)
	info, err := wim.Describe(bytes.NewReader(b), int64(len(b)))
	if err != nil || info.Images[0].Name != "one" || !info.Integrity || info.Blobs != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := integrity.Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil); err != nil {
		t.Fatal(err)
	}
}

// TestHeaderAttacks changes one header field of a good file.
func TestHeaderAttacks(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*format.HeaderDisk)
		want   error
		text   string
	}{
		"header size":                {func(h *format.HeaderDisk) { h.HeaderSize = 96 }, wim.ErrCorrupt, "size field is 96"},
		"version of the future":      {func(h *format.HeaderDisk) { h.Version = 0x20000 }, wim.ErrCorrupt, "version 0x20000"},
		"no part":                    {func(h *format.HeaderDisk) { h.Part = 0 }, wim.ErrCorrupt, "part 0 of 1"},
		"part after the last":        {func(h *format.HeaderDisk) { h.Part = 2 }, wim.ErrCorrupt, "part 2 of 1"},
		"four billion images":        {func(h *format.HeaderDisk) { h.Images = math.MaxUint32 }, wim.ErrCorrupt, "4294967295 images"},
		"more images than XML":       {func(h *format.HeaderDisk) { h.Images = 65535 }, wim.ErrCorrupt, "1 images, the header says 65535"},
		"fewer images than XML":      {func(h *format.HeaderDisk) { h.Images = 0 }, wim.ErrCorrupt, "more images"},
		"unknown compression":        {func(h *format.HeaderDisk) { h.Flags = format.FlagCompression | 0x10000 }, wim.ErrCorrupt, "method"},
		"huge chunk size":            {func(h *format.HeaderDisk) { h.ChunkSize = math.MaxUint32 }, wim.ErrCorrupt, "chunk size"},
		"blob table offset overflow": {func(h *format.HeaderDisk) { h.BlobTable.Offset = math.MaxUint64 }, wim.ErrCorrupt, "blob table"},
		"blob table end overflow":    {func(h *format.HeaderDisk) { h.BlobTable.Offset = math.MaxInt64 - 1 }, wim.ErrCorrupt, "blob table"},
		"blob table 72 PB":           {func(h *format.HeaderDisk) { h.BlobTable.SizeFlags = 1<<56 - 1 }, wim.ErrCorrupt, "blob table"},
		"blob table in the header":   {func(h *format.HeaderDisk) { h.BlobTable.Offset = 100 }, wim.ErrCorrupt, "inside the header"},
		"blob table beyond the end":  {func(h *format.HeaderDisk) { h.BlobTable.Offset = 1 << 30 }, wim.ErrTruncated, "blob table lies beyond"},
		"half a blob entry":          {func(h *format.HeaderDisk) { h.BlobTable.SizeFlags = 49 }, wim.ErrCorrupt, "multiple"},
		"XML beyond the end":         {func(h *format.HeaderDisk) { h.XML.SizeFlags += 1000 }, wim.ErrTruncated, "XML data lies beyond"},
		"XML says compressed":        {func(h *format.HeaderDisk) { h.XML.SizeFlags |= format.ResourceCompressed << 56 }, wim.ErrCorrupt, "compressed"},
		"XML elsewhere":              {func(h *format.HeaderDisk) { h.XML.Offset = format.HeaderSize }, wim.ErrCorrupt, "XML data"},
		"XML odd size":               {func(h *format.HeaderDisk) { h.XML.SizeFlags-- }, wim.ErrCorrupt, "UTF-16"},
		"XML cut":                    {func(h *format.HeaderDisk) { h.XML.SizeFlags -= 20 }, wim.ErrCorrupt, "XML data"},
		"no tables yet": {func(h *format.HeaderDisk) {
			h.XML, h.BlobTable, h.Integrity = format.ResourceDisk{}, format.ResourceDisk{}, format.ResourceDisk{}
		}, wim.ErrTruncated, "did not finish"},
		"boot metadata beyond": {func(h *format.HeaderDisk) { h.BootMetadata = wimfile.Place(1<<20, 10) }, wim.ErrTruncated, "boot metadata"},
		"two tables beyond": {func(h *format.HeaderDisk) { h.XML.Offset = 1 << 20; h.Integrity.Offset = 1 << 21 },
			wim.ErrTruncated, "XML data and integrity table lie beyond"},
	} {
		t.Run(name, func(t *testing.T) {
			b := wimfile.New(wimfile.GoodXML, 1).Bytes(c.change)
			expect(t, b, c.want, c.text)
		})
	}
}

// expect demands an error of Describe.
func expect(t *testing.T, b []byte, want error, text string) {
	t.Helper()
	_, err := wim.Describe(bytes.NewReader(b), int64(len(b)))
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
		"wide":            {`<WIM>` + strings.Repeat("<a/>", 1<<20+1) + `</WIM>`, 1, "more than"},
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
			expect(t, wimfile.New(c.xml, c.images).Bytes(nil), wim.ErrCorrupt, c.text)
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
		})
	}
	t.Run("XML larger than sensible", func(t *testing.T) {
		f := wimfile.New(wimfile.GoodXML, 1)
		f.XML = make([]byte, 16<<20+2)
		expect(t, f.Bytes(nil), wim.ErrCorrupt, "sensible")
	})
	t.Run("UTF-8", func(t *testing.T) {
		f := wimfile.New(wimfile.GoodXML, 1)
		f.XML = []byte(wimfile.GoodXML)
		if len(f.XML)%2 != 0 {
			f.XML = append(f.XML, '\n')
		}
		expect(t, f.Bytes(nil), wim.ErrCorrupt, "does not begin")
	})
}

// TestOddButGoodXML holds what real tools write although it looks wrong.
func TestOddButGoodXML(t *testing.T) {
	for name, c := range map[string]struct {
		xml  []byte
		want wim.Image
	}{
		"declaration": {wimfile.EncodeUTF16(`<?xml version="1.0" encoding="utf-16"?>` + wimfile.GoodXML), wim.Image{Index: 1, Name: "one"}},
		"no byte order mark": {wimfile.EncodeUTF16(wimfile.GoodXML)[2:],
			wim.Image{Index: 1, Name: "one"}},
		"terminating zero":         {append(wimfile.EncodeUTF16(wimfile.GoodXML), 0, 0), wim.Image{Index: 1, Name: "one"}},
		"bad numbers do no harm":   {wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><FILECOUNT>-5</FILECOUNT><DIRCOUNT>x</DIRCOUNT><CREATIONTIME><HIGHPART>zz</HIGHPART></CREATIONTIME></IMAGE></WIM>`), wim.Image{Index: 1}},
		"unknown architecture":     {wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><WINDOWS><ARCH>77</ARCH></WINDOWS></IMAGE></WIM>`), wim.Image{Index: 1, Arch: "windows-77"}},
		"single surrogate":         {append(append(wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><NAME>`), 0x00, 0xd8), wimfile.EncodeUTF16(`</NAME></IMAGE></WIM>`)[2:]...), wim.Image{Index: 1, Name: "\ufffd"}},
		"epoch":                    {wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><CREATIONTIME><HIGHPART>0x019DB1DE</HIGHPART><LOWPART>0xD53E8000</LOWPART></CREATIONTIME></IMAGE></WIM>`), wim.Image{Index: 1, Created: time.Unix(0, 0).UTC()}},
		"version without a part":   {wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><WINDOWS><VERSION><MAJOR>10</MAJOR><BUILD>19045</BUILD></VERSION></WINDOWS></IMAGE></WIM>`), wim.Image{Index: 1, Version: "10.0.19045.0"}},
		"name twice takes the end": {wimfile.EncodeUTF16(`<WIM><IMAGE INDEX="1"><NAME>a</NAME><NAME>b</NAME></IMAGE></WIM>`), wim.Image{Index: 1, Name: "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := wimfile.New(wimfile.GoodXML, 1)
			f.XML = c.xml
			b := f.Bytes(nil)
			info, err := wim.Describe(bytes.NewReader(b), int64(len(b)))
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
		"beyond the end":           {wimfile.BlobEntry(wimfile.Place(1<<30, 100), 1), true},
		"offset overflow":          {wimfile.BlobEntry(format.ResourceDisk{SizeFlags: 1, Offset: math.MaxUint64}, 1), true},
		"72 PB":                    {wimfile.BlobEntry(format.ResourceDisk{SizeFlags: 1<<56 - 1, Offset: format.HeaderSize}, 1), true},
		"solid resource beyond":    {wimfile.BlobEntry(format.ResourceDisk{SizeFlags: format.ResourceSolid<<56 | 100, Offset: 1 << 30, OriginalSize: format.SolidMark}, 1), true},
		"inside a solid resource":  {wimfile.BlobEntry(format.ResourceDisk{SizeFlags: format.ResourceSolid<<56 | 100, Offset: 1 << 30, OriginalSize: 100}, 1), false},
		"in another part":          {wimfile.BlobEntry(wimfile.Place(1<<30, 100), 2), false},
		"free space past the end":  {wimfile.BlobEntry(format.ResourceDisk{SizeFlags: format.ResourceFree<<56 | 100, Offset: 1 << 30}, 1), false},
		"empty resource at offset": {wimfile.BlobEntry(wimfile.Place(0, 0), 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			f := wimfile.New(wimfile.GoodXML, 1)
			f.Blobs = append(bytes.Repeat(f.Blobs, 3000), c.entry...) // beyond the first buffer
			b := f.Bytes(nil)
			if c.bad {
				expect(t, b, wim.ErrCorrupt, "blob table: entry 3000")
				return
			}
			if _, err := wim.Describe(bytes.NewReader(b), int64(len(b))); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPipableAttacks damages the header at the end.
func TestPipableAttacks(t *testing.T) {
	build := func(change func(*format.HeaderDisk)) []byte {
		f := wimfile.New(wimfile.GoodXML, 1)
		copy(f.Header.Magic[:], format.MagicPipable)
		start := f.Header // without tables, as wimlib writes it
		whole := f.Bytes(change)
		head, err := binary.Append(nil, binary.LittleEndian, &start)
		if err != nil {
			t.Fatal(err)
		}
		return append(append(head, whole[format.HeaderSize:]...), whole[:format.HeaderSize]...)
	}
	b := build(nil)
	if info, err := wim.Describe(bytes.NewReader(b), int64(len(b))); err != nil || !info.Pipable {
		t.Fatalf("%+v, %v", info, err)
	}
	expect(t, b[:format.HeaderSize], wim.ErrTruncated, "last 208 bytes") // the first header alone
	expect(t, b[:len(b)-1], wim.ErrTruncated, "last 208 bytes")
	expect(t, build(func(h *format.HeaderDisk) { h.GUID[3]++ }), wim.ErrCorrupt, "different WIMs")
	expect(t, build(func(h *format.HeaderDisk) { h.HeaderSize++ }), wim.ErrCorrupt, "size field")
}

// TestTruncatedAnywhere cuts a file at every byte: header, contents, blob table,
// XML, integrity table. It is called incomplete wherever it can be told from
// something else, and never damaged or whole.
func TestTruncatedAnywhere(t *testing.T) {
	b := wimfile.New(wimfile.GoodXML, 1).Bytes(nil)
	for cut := range len(b) {
		want := wim.ErrTruncated
		if cut < len(format.MagicWIM) {
			want = wim.ErrNotWIM
		}
		if _, err := wim.Describe(bytes.NewReader(b[:cut]), int64(cut)); !errors.Is(err, want) {
			t.Fatalf("cut at %d of %d: %v", cut, len(b), err)
		}
		if _, err := wim.Open(bytes.NewReader(b[:cut]), int64(cut)); !errors.Is(err, want) {
			t.Fatalf("opened, cut at %d of %d: %v", cut, len(b), err)
		}
	}
}

// TestShrinkingFile reads a file that is cut while it is read.
func TestShrinkingFile(t *testing.T) {
	b := wimfile.New(wimfile.GoodXML, 1).Bytes(nil)
	for cut := format.HeaderSize; cut < len(b); cut += 7 {
		_, err := wim.Describe(bytes.NewReader(b[:cut]), int64(len(b)))
		if err == nil && cut > int(wimfile.XMLEnd(b)) {
			continue // only the integrity table is gone, which Describe does not read
		}
		if !errors.Is(err, wim.ErrTruncated) {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if err := integrity.Verify(context.Background(), bytes.NewReader(b[:cut]), int64(len(b)), nil); !errors.Is(err, wim.ErrTruncated) {
			t.Fatalf("verify cut at %d: %v", cut, err)
		}
	}
}

// FuzzDescribe looks for panics, excess, and answers that contradict the input.
func FuzzDescribe(f *testing.F) {
	small := func(xmlText string, images uint32) *wimfile.File {
		w := wimfile.New(xmlText, images)
		w.Data = w.Data[:100] // short inputs are mutated and minimized quickly
		return w
	}
	f.Add(small(wimfile.GoodXML, 1).Bytes(nil))
	f.Add(small(`<WIM><IMAGE INDEX="2"/><IMAGE INDEX="1"><WINDOWS><LANGUAGES><LANGUAGE>en</LANGUAGE></LANGUAGES></WINDOWS></IMAGE></WIM>`, 2).Bytes(nil))
	f.Add(small(wimfile.GoodXML, 1).Bytes(func(h *format.HeaderDisk) { h.Integrity = format.ResourceDisk{} }))
	f.Add([]byte(format.MagicPipable))
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := wim.Describe(bytes.NewReader(b), int64(len(b)))
		verr := integrity.Verify(context.Background(), bytes.NewReader(b), int64(len(b)), nil)
		if err != nil {
			if !errors.Is(err, wim.ErrNotWIM) && !errors.Is(err, wim.ErrTruncated) && !errors.Is(err, wim.ErrCorrupt) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if info.Integrity == errors.Is(verr, integrity.ErrNoIntegrity) {
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
	f.Add(wimfile.GoodXML, 1)
	f.Add(`<WIM><IMAGE INDEX="1"><WINDOWS><VERSION><MAJOR>10</MAJOR></VERSION></WINDOWS></IMAGE></WIM>`, 1)
	f.Add(`<WIM/>`, 0)
	f.Fuzz(func(t *testing.T, text string, count int) {
		if count < 0 || count > 65535 {
			return
		}
		images, err := wim.ParseXML(text, count)
		if err == nil && len(images) != count {
			t.Errorf("%d images, want %d", len(images), count)
		}
		if err != nil && !errors.Is(err, wim.ErrCorrupt) {
			t.Errorf("error of no kind: %v", err)
		}
	})
}
