package boot

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"castpoint/content"
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
	loaders, err := NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	files, err := NewFiles(FilesConfig{Loaders: loaders})
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

// FuzzChange: boot settings of one machine, as they are written by people.
func FuzzChange(f *testing.F) {
	for _, s := range []string{"chain=windows ask=yes window=4", "debug=serial:1:115200 ems=com2", "nx=AlwaysOn load-options=a_b", "timeout=99999999999", "=", "chain=", "block-size=0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseChange(strings.Fields(text))
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Fatal("an error without words")
			}
			return
		}
		var s Settings
		c.apply(&s)
		if err := s.check(); err != nil {
			t.Fatalf("%q was taken, and makes settings that are not: %v", text, err)
		}
	})
}

// FuzzScript: names and messages of people's making get into the scripts of iPXE and
// GRUB as text. Each line begins with a word that the scripts have anyway, and there
// is no variable that they have not.
func FuzzScript(f *testing.F) {
	f.Add("Linux", "6.8", "castpoint", "", "quiet")
	f.Add("x\nshell\n${cmd} || poweroff ; # <b>", "1\r\nreboot", "a\nshell", "no\nshell ${x}", "a||b")
	f.Add("`id` $(id) ${net0/mac}", "'; reboot; '", "\"; reboot; \"", "\xff\u202e", "root=$root")
	f.Add("}\nchainloader /x", "{", "\\", "\x00", "a{b")
	loaders := []string{"grubx64.efi", "shimx64.efi", "ipxe.efi"}
	dir := f.TempDir()
	for _, name := range loaders {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("loader"), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	held, err := NewLoaders(dir)
	if err != nil {
		f.Fatal(err)
	}
	scripts := func(tb testing.TB, name, version, title, refusal, arg string) (all []string) {
		lib := &fakeLibrary{list: []*content.Content{{ID: "b1", Kind: content.KindBootImage, Name: name, Version: version, Arch: "amd64", Files: []content.File{{Role: content.RoleKernel, Name: "vmlinuz", Size: 5}, {Role: content.RoleInitrd, Name: "initrd", Size: 6}}}}}
		files, err := NewFiles(FilesConfig{Loaders: held, Library: lib, Title: title, Ticket: func(context.Context, Client) (Ticket, error) {
			if refusal != "" {
				return Ticket{}, errors.New(refusal)
			}
			return Ticket{Server: "https://192.0.2.1:8443", Token: arg}, nil
		}})
		if err != nil {
			return nil
		}
		for _, of := range []string{"ipxe/efi-x64/52-54-00-ab-cd-ef", "grub/efi-x64/52-54-00-ab-cd-ef/grub.cfg"} {
			file, err := files.Open(tb.Context(), of, Client{})
			if err != nil {
				tb.Fatal(err)
			}
			b, err := io.ReadAll(io.NewSectionReader(file, 0, file.Size))
			if err != nil {
				tb.Fatal(err)
			}
			_ = file.Close()
			all = append(all, string(b))
		}
		return all
	}
	words := make([]map[string]bool, 2)
	variables := make([]map[string]bool, 2)
	variable := regexp.MustCompile(`\$\{?[A-Za-z0-9/:_-]*`)
	for _, refusal := range []string{"", "nothing for you"} {
		for i, s := range scripts(f, "Linux", "6.8", "castpoint", refusal, "token") {
			if words[i] == nil {
				words[i], variables[i] = map[string]bool{}, map[string]bool{}
			}
			for line := range strings.Lines(s) {
				words[i][firstWord(line)] = true
			}
			for _, v := range variable.FindAllString(s, -1) {
				variables[i][v] = true
			}
		}
	}
	f.Fuzz(func(t *testing.T, name, version, title, refusal, arg string) {
		for i, s := range scripts(t, name, version, title, refusal, arg) {
			for line := range strings.Lines(s) {
				if w := firstWord(line); !words[i][w] {
					t.Fatalf("a line that begins with %q:\n%s", w, s)
				}
			}
			for _, v := range variable.FindAllString(s, -1) {
				if !variables[i][v] {
					t.Fatalf("a variable %q:\n%s", v, s)
				}
			}
		}
	})
}

func firstWord(line string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return word
}
