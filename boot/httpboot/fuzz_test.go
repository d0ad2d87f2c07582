package httpboot

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"castpoint/boot/bootfile"
	"castpoint/boot/source"
)

// FuzzHTTP: names, ranges and conditions of machines. An answer has the length that
// it says, and a range is the part of the file that it says.
func FuzzHTTP(f *testing.F) {
	for _, s := range [][3]string{
		{"/undionly.kpxe", "bytes=0-99", ""}, {"//undionly.kpxe/", "bytes=-5", ""}, {"/undionly.kpxe", "bytes=10-5", ""}, {"/undionly.kpxe", "bytes=999999999999999999999-", ""},
		{"/undionly.kpxe", "bytes=0-0,5-9,2-", "\"x\""}, {"/undionly.kpxe", "bytes=0-,0-,0-,0-,0-,0-,0-,0-", ""}, {"/ipxe/efi-x64/52-54-00-ab-cd-ef", "", ""}, {"/%2e%2e/etc/passwd", "lines=1", "*"},
		{"/grub/efi-x64/grub.cfg", "bytes=1-1", "Sat, 01 Jan 2000 00:00:00 GMT"},
	} {
		f.Add("GET", s[0], s[1], s[2])
	}
	f.Add("HEAD", "/undionly.kpxe", "bytes=1-2", "")
	f.Add("POST", "/", "", "")
	dir := f.TempDir()
	const text = "the whole of a loader, which is what is served here"
	if err := os.WriteFile(filepath.Join(dir, "undionly.kpxe"), []byte(text), 0o644); err != nil {
		f.Fatal(err)
	}
	loaders, err := source.NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	files, err := bootfile.New(bootfile.Config{Loaders: loaders})
	if err != nil {
		f.Fatal(err)
	}
	h, err := NewHandler(HandlerConfig{Files: files})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, ranges, condition string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Method, r.URL = method, &url.URL{Path: path}
		r.Header.Set("Range", ranges)
		r.Header.Set("If-Range", condition)
		r.Header.Set("If-None-Match", condition)
		r.Header.Set("If-Modified-Since", condition)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= http.StatusInternalServerError && w.Code != http.StatusNotImplemented {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if w.Code >= 300 && w.Code < 400 && w.Code != http.StatusNotModified {
			t.Fatalf("a redirect: %d", w.Code)
		}
		body := w.Body.String()
		length := w.Header().Get("Content-Length")
		if n, err := strconv.Atoi(length); method == http.MethodGet && w.Code == http.StatusOK && (err != nil || n != len(body)) {
			t.Fatalf("Content-Length %q, and %d bytes", length, len(body))
		}
		if w.Code == http.StatusPartialContent && !strings.HasPrefix(w.Header().Get("Content-Type"), "multipart/") && !strings.Contains(text, body) {
			t.Fatalf("range %q of %q brought %q", ranges, path, body)
		}
	})
}
