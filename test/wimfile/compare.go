package wimfile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
)

// DescribeFile describes a WIM file.
func DescribeFile(t testing.TB, path string) (*wim.Info, error) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return wim.Describe(bytes.NewReader(b), int64(len(b)))
}

// CompareWithWimlib compares info with the header and XML that wimlib prints.
func CompareWithWimlib(t testing.TB, file string, info *wim.Info) {
	t.Helper()
	header := map[string]string{}
	for line := range strings.Lines(string(Wimlib(t, "info", "--header", file))) {
		if k, v, ok := strings.Cut(line, "="); ok {
			header[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	blobBytes, err := strconv.ParseInt(header["Blob Table Size"], 10, 64)
	if err != nil {
		t.Fatalf("wimlib-imagex info --header: %v in %q", err, header)
	}
	for _, c := range []struct{ field, have, want string }{
		{"GUID", info.GUID, header["GUID"]},
		{"chunk size", strconv.Itoa(info.ChunkSize), header["Chunk Size"]},
		{"part", strconv.Itoa(info.Part), header["Part Number"]},
		{"parts", strconv.Itoa(info.Parts), header["Total Parts"]},
		{"images", strconv.Itoa(len(info.Images)), header["Image Count"]},
		{"boot index", strconv.Itoa(info.BootIndex), header["Boot Index"]},
		{"blobs", strconv.FormatInt(info.Blobs*format.BlobEntrySize, 10), strconv.FormatInt(blobBytes, 10)},
		{"integrity", strconv.FormatBool(info.Integrity), strconv.FormatBool(header["Integrity Size"] != "0")},
	} {
		if c.have != c.want {
			t.Errorf("%s: %s, wimlib says %s", c.field, c.have, c.want)
		}
	}

	// The XML once more, by another reading of it: all elements by path.
	text, err := format.DecodeUTF16(Wimlib(t, "info", "--xml", file))
	if err != nil {
		t.Fatal(err)
	}
	values := xmlPaths(text)
	for i, img := range info.Images {
		at := func(path string) string { return values[fmt.Sprintf("%d/%s", i+1, path)] }
		for _, c := range []struct{ field, have, want string }{
			{"name", img.Name, at("NAME")},
			{"description", img.Description, at("DESCRIPTION")},
			{"dirs", strconv.FormatInt(img.Dirs, 10), at("DIRCOUNT")},
			{"files", strconv.FormatInt(img.Files, 10), at("FILECOUNT")},
			{"total bytes", strconv.FormatInt(img.TotalBytes, 10), at("TOTALBYTES")},
			{"hard link bytes", strconv.FormatInt(img.HardLinkBytes, 10), at("HARDLINKBYTES")},
		} {
			if c.have != c.want {
				t.Errorf("image %d: %s %q, the XML has %q", i+1, c.field, c.have, c.want)
			}
		}
	}

	// Times as wimlib prints them.
	stamps := regexp.MustCompile(`(?m)^(Creation|Last Modification) Time:\s+(.*)$`).
		FindAllSubmatch(Wimlib(t, "info", file), -1)
	if len(stamps) != 2*len(info.Images) {
		t.Fatalf("wimlib-imagex info printed %d times for %d images", len(stamps), len(info.Images))
	}
	for i, img := range info.Images {
		for j, have := range []time.Time{img.Created, img.Modified} {
			want, err := time.Parse("Mon Jan 2 15:04:05 2006 MST", string(stamps[2*i+j][2]))
			if err != nil {
				t.Fatal(err)
			}
			if !have.Truncate(time.Second).Equal(want) {
				t.Errorf("image %d: %s time %v, wimlib says %v", i+1, stamps[2*i+j][1], have, want)
			}
		}
	}
}

// xmlPaths maps "image/ELEMENT/ELEMENT" to text.
func xmlPaths(text string) map[string]string {
	values := map[string]string{}
	var path []string
	image := ""
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		tok, err := d.Token()
		if err != nil {
			return values
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			if tok.Name.Local == "IMAGE" {
				image, path = tok.Attr[0].Value, nil
				continue
			}
			path = append(path, tok.Name.Local)
		case xml.EndElement:
			if tok.Name.Local == "IMAGE" {
				image = ""
			}
			if len(path) > 0 {
				path = path[:len(path)-1]
			}
		case xml.CharData:
			values[image+"/"+strings.Join(path, "/")] = string(tok)
		}
	}
}

// KindOf demands that an error is one of those allowed.
func KindOf(t testing.TB, err error, allowed ...error) {
	t.Helper()
	for _, a := range allowed {
		if errors.Is(err, a) {
			return
		}
	}
	t.Errorf("error of no kind: %v", err)
}

// OpenFile opens a WIM file until the test ends.
func OpenFile(t testing.TB, path string) *wim.Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := wim.Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Image opens an image that must be good.
func Image(t testing.TB, r *wim.Reader, index int) *wim.Tree {
	t.Helper()
	tree, err := r.Image(index)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// CompareDir compares all details with the listing of wimlib.
func CompareDir(t testing.TB, tree *wim.Tree, file string, index int) {
	t.Helper()
	listing := string(Wimlib(t, "dir", file, strconv.Itoa(index), "--detailed"))
	entries := map[string]map[string][]string{}
	for _, part := range strings.Split(listing, "----------------------------------------------------------------------------\n") {
		fields := map[string][]string{}
		for line := range strings.Lines(part) {
			if k, v, ok := strings.Cut(strings.TrimRight(line, "\n"), " = "); ok {
				k = strings.TrimSpace(k)
				fields[k] = append(fields[k], strings.TrimSpace(v))
			}
		}
		if p := fields["Full Path"]; p != nil {
			entries[strings.Trim(p[0], `"`)] = fields
		}
	}
	links := map[uint64]int{}
	err := tree.Walk(func(path string, e wim.Entry) error {
		if e.HardLink != 0 {
			links[e.HardLink]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	err = tree.Walk(func(path string, e wim.Entry) error {
		count++
		f := entries[path]
		if f == nil {
			t.Errorf("wimlib does not list %q", path)
			return nil
		}
		attributes, err := strconv.ParseUint(f["Attributes"][0], 0, 32)
		if err != nil || uint32(attributes) != e.Attributes {
			t.Errorf("%s: attributes %#x, wimlib says %v", path, e.Attributes, f["Attributes"])
		}
		for i, have := range []time.Time{e.Created, e.Modified, e.Accessed} {
			key := []string{"Creation Time", "Last Write Time", "Last Access Time"}[i]
			want, err := time.Parse("Mon Jan 2 15:04:05 2006 MST", f[key][0])
			if err != nil || !have.Truncate(time.Second).Equal(want) {
				t.Errorf("%s: %s %v, wimlib says %v", path, key, have, f[key])
			}
		}
		var hashes []string
		for _, s := range e.Streams {
			if s.Hash != (format.Hash{}) {
				hashes = append(hashes, "0x"+s.Hash.String())
			}
		}
		want := slices.DeleteFunc(slices.Clone(f["Hash"]), func(h string) bool { return strings.Trim(h, "0x") == "" })
		slices.Sort(hashes)
		slices.Sort(want)
		if !slices.Equal(hashes, want) {
			t.Errorf("%s: streams %v, wimlib says %v", path, hashes, want)
		}
		if e.ReparseTag != 0 {
			tag, err := strconv.ParseUint(f["Reparse Tag"][0], 0, 32)
			if err != nil || uint32(tag) != e.ReparseTag {
				t.Errorf("%s: reparse tag %#x, wimlib says %v", path, e.ReparseTag, f["Reparse Tag"])
			}
		}
		if e.HardLink != 0 && f["Link Count"] != nil && f["Link Count"][0] != strconv.Itoa(links[e.HardLink]) {
			t.Errorf("%s: %d links, wimlib says %v", path, links[e.HardLink], f["Link Count"])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count != len(entries) {
		t.Errorf("%d entries, wimlib lists %d", count, len(entries))
	}
}

// OpenParts opens the parts of a split WIM until the test ends.
func OpenParts(t testing.TB, names []string) []wim.Part {
	t.Helper()
	var parts []wim.Part
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, wim.Part{Name: filepath.Base(n), R: f, Size: st.Size()})
	}
	return parts
}

// OpenBytes opens a WIM in memory.
func OpenBytes(b []byte) (*wim.Reader, error) { return wim.Open(bytes.NewReader(b), int64(len(b))) }
