package asset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"strings"
	"testing"
)

// packed is an archive of names and their texts; a text that begins with "->" is a link.
func packed(tb testing.TB, files ...string) []byte {
	tb.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for i := 0; i+1 < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg}
		if to, ok := strings.CutPrefix(files[i+1], "->"); ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, to, 0
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(files[i+1])); err != nil {
				tb.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// FuzzArchive: names stay in the folder of assets, and what is unpacked is bounded.
func FuzzArchive(f *testing.F) {
	efi := "MZ" + strings.Repeat("\x00", 100)
	f.Add(packed(f, "ipxeboot/x86_64/snponly.efi", efi, "ipxeboot/x86_64-sb/shimx64.efi", efi, "ipxeboot/x86_64-sb/snponly-shim.efi", "->shimx64.efi"))
	f.Add(packed(f, "../../etc/x.efi", efi, "/abs/y.efi", efi, "a/../../z.efi", efi, "loop.efi", "->loop.efi"))
	f.Add([]byte("\x1f\x8b\x08\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := readArchive(b, false)
		if err != nil {
			return
		}
		total := 0
		for i := range list {
			total += len(list[i].data)
			if !fs.ValidPath(list[i].name) {
				t.Fatalf("member %q", list[i].name)
			}
			describe(&list[i])
		}
		if total > 4*maxTotal { // links are further names of the same bytes
			t.Fatalf("%d bytes out of %d", total, len(b))
		}
	})
}
