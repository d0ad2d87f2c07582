package upload

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/web/api"
)

// server keeps what is sent to it, and waits for goOn with each before it ends it.
func server(t *testing.T, limits Limits, room func(int64) error) (url string, u *Uploads, dir string) {
	t.Helper()
	dir = t.TempDir()
	if room == nil {
		room = func(int64) error { return nil }
	}
	u, err := Open(dir, limits, room)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up, err := u.Begin(w, r, "ann", "x.wim")
		if err != nil {
			api.WriteProblem(w, err)
			return
		}
		var path string
		if r.URL.Query().Has("tar") {
			path, err = up.Unpack()
			path = filepath.Join(path, r.URL.Query().Get("tar"))
		} else {
			path, err = up.Keep("x.wim")
		}
		var b []byte
		if err == nil {
			b, err = os.ReadFile(path)
		}
		err = errors.Join(err, up.End())
		if err != nil {
			api.WriteProblem(w, err)
			return
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.URL, u, dir
}

func post(t *testing.T, url string, body io.Reader) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func nothingLeft(t *testing.T, u *Uploads, dir string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		left, err := os.ReadDir(dir)
		if err == nil && len(left) == 0 && len(u.Now()) == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left: %v, %v, %v", left, u.Now(), err)
		}
	}
}

func TestWhole(t *testing.T) {
	url, u, dir := server(t, Limits{}, nil)
	want := strings.Repeat("castpoint ", 100_000)
	for what, body := range map[string]io.Reader{"known length": strings.NewReader(want), "unknown length": io.MultiReader(strings.NewReader(want))} {
		if status, got := post(t, url, body); status != http.StatusOK || got != want {
			t.Errorf("%s: %d, %d bytes", what, status, len(got))
		}
	}
	nothingLeft(t, u, dir)
}

func TestTooLong(t *testing.T) {
	url, u, dir := server(t, Limits{Size: 1 << 20}, nil)
	long := make([]byte, 3<<20)
	for what, body := range map[string]io.Reader{"known length": bytes.NewReader(long), "unknown length": io.MultiReader(bytes.NewReader(long))} {
		if status, got := post(t, url, body); status != http.StatusRequestEntityTooLarge || !strings.Contains(got, "upload-size") {
			t.Errorf("%s: %d %s", what, status, got)
		}
	}
	nothingLeft(t, u, dir)
}

// TestRoomForAll: what other uploads will still bring is counted.
func TestRoomForAll(t *testing.T) {
	full := errors.New("no room")
	url, u, dir := server(t, Limits{}, func(n int64) error {
		if n > 3<<20 {
			return full
		}
		return nil
	})
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, r)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = 2 << 20
	var first sync.WaitGroup
	first.Go(func() {
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	})
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for len(u.Now()) == 0 || u.Now()[0].Done == 0 {
		time.Sleep(time.Millisecond)
	}
	if status, got := post(t, url, bytes.NewReader(make([]byte, 2<<20))); status != http.StatusInternalServerError || !strings.Contains(got, "no room") {
		t.Errorf("%d %s", status, got)
	}
	if status, _ := post(t, url, bytes.NewReader(make([]byte, 1<<20))); status != http.StatusOK {
		t.Errorf("one that fits: %d", status)
	}
	// The client goes away: nothing of it stays.
	_ = w.CloseWithError(io.ErrUnexpectedEOF)
	first.Wait()
	nothingLeft(t, u, dir)
	// One of unknown length asks while it comes.
	if status, got := post(t, url, io.MultiReader(bytes.NewReader(make([]byte, 20<<20)))); status != http.StatusInternalServerError || !strings.Contains(got, "no room") {
		t.Errorf("%d %s", status, got)
	}
	nothingLeft(t, u, dir)
}

// TestDripping: a client that sends a byte now and then stands still.
func TestDripping(t *testing.T) {
	url, u, dir := server(t, Limits{Max: 1, Stall: 300 * time.Millisecond}, nil)
	r, w := io.Pipe()
	var drip sync.WaitGroup
	drip.Go(func() {
		for {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	began := time.Now()
	if status, got := post(t, url, r); status != http.StatusRequestTimeout || !strings.Contains(got, "stood still") {
		t.Errorf("%d %s", status, got)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	_ = r.Close()
	drip.Wait()
	nothingLeft(t, u, dir)
	if status, got := post(t, url, strings.NewReader("x")); status != http.StatusOK || got != "x" {
		t.Errorf("its place is not free: %d %s", status, got)
	}
}

func TestTooMany(t *testing.T) {
	url, u, _ := server(t, Limits{Max: 1}, nil)
	r, w := io.Pipe()
	var first sync.WaitGroup
	first.Go(func() {
		if status, got := post(t, url, r); status != http.StatusOK || got != "xy" {
			t.Errorf("%d %s", status, got)
		}
	})
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for len(u.Now()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if status, got := post(t, url, strings.NewReader("x")); status != http.StatusTooManyRequests || !strings.Contains(got, "upload-max") {
		t.Errorf("%d %s", status, got)
	}
	_, _ = w.Write([]byte("y"))
	_ = w.Close()
	first.Wait()
}

func TestLeftFromBefore(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"upload-123/x.wim", "fetched/y.wim"} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700), os.WriteFile(filepath.Join(dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(dir, Limits{}, func(int64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "fetched" {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := Open(dir, Limits{Max: -1}, func(int64) error { return nil }); err == nil {
		t.Error("a limit below nothing was taken")
	}
}

// member is one of an archive.
type member struct {
	name string
	kind byte
	text string
}

func archive(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Size: int64(len(m.text)), Mode: 0o644}
		if m.kind == tar.TypeSymlink || m.kind == tar.TypeLink {
			h.Linkname = "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An archive of files and folders is unpacked; what else may be in one is refused, and
// nothing of it stays.
func TestUnpack(t *testing.T) {
	url, u, dir := server(t, Limits{Size: 1 << 20}, nil)
	good := archive(t, member{"7zip/", tar.TypeDir, ""}, member{"7zip/x64/7z.dll", tar.TypeReg, "a library"}, member{"7zip/ünï.txt", tar.TypeReg, "odd"}, member{"empty", tar.TypeReg, ""})
	for name, want := range map[string]string{"7zip/x64/7z.dll": "a library", "7zip/%C3%BCn%C3%AF.txt": "odd", "empty": ""} {
		if status, answer := post(t, url+"?tar="+name, bytes.NewReader(good)); status != http.StatusOK || answer != want {
			t.Errorf("%s: %d %q", name, status, answer)
		}
	}
	nothingLeft(t, u, dir)
	for want, body := range map[string][]byte{
		`\"../x\"`:            archive(t, member{"../x", tar.TypeReg, "x"}),
		`\"/etc/x\"`:          archive(t, member{"/etc/x", tar.TypeReg, "x"}),
		`\"a/../../x\"`:       archive(t, member{"a/../../x", tar.TypeReg, "x"}),
		`\"a\\\\b\"`:          archive(t, member{`a\b`, tar.TypeReg, "x"}),
		`two members \"a\"`:   archive(t, member{"a", tar.TypeReg, "x"}, member{"a", tar.TypeReg, "y"}),
		`\"link\" is neither`: archive(t, member{"link", tar.TypeSymlink, ""}),
		`\"hard\" is neither`: archive(t, member{"hard", tar.TypeLink, ""}),
		`\"pipe\" is neither`: archive(t, member{"pipe", tar.TypeFifo, ""}),
		`behind its first 1 members: unexpected EOF`: good[:600],
		`invalid tar header`:                         []byte(strings.Repeat("this is no archive ", 60)),
		`longer than the 1048576 bytes`:              archive(t, member{"a", tar.TypeReg, strings.Repeat("x", 2<<20)}),
	} {
		status, answer := post(t, url+"?tar=a", bytes.NewReader(body))
		if status < 400 || status >= 500 || !strings.Contains(answer, want) {
			t.Errorf("%d %s, want %s", status, answer, want)
		}
	}
	nothingLeft(t, u, dir)
	if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "x")); err == nil {
		t.Error("a file beside the folder")
	}
}

// sparseArchives are archives with a member of a terabyte of holes.
func sparseArchives(t testing.TB) (all [][]byte) {
	t.Helper()
	block := func(name string, typeflag byte, body string) []byte {
		h := make([]byte, 512)
		copy(h, name)
		copy(h[100:], "0000600\x000000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00", len(body)))
		copy(h[136:], "00000000000\x00        ")
		h[156] = typeflag
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		return append(h, append([]byte(body), make([]byte, (512-len(body)%512)%512)...)...)
	}
	record := func(key, value string) string {
		for n := 1; ; n++ {
			if s := fmt.Sprintf("%d GNU.sparse.%s=%s\n", n, key, value); len(s) == n {
				return s
			}
		}
	}
	const size = "1099511627776"
	holes := "1\n" + size + "\n0\n"
	for _, one := range []struct{ records, body string }{
		{record("major", "0") + record("minor", "1") + record("name", "x") + record("size", size) + record("numblocks", "1") + record("map", size+",0"), ""},
		{record("major", "1") + record("minor", "0") + record("name", "x") + record("realsize", size), holes + strings.Repeat("\x00", 512-len(holes))},
	} {
		archive := append(block("pax", tar.TypeXHeader, one.records), block("x", tar.TypeReg, one.body)...)
		if h, err := tar.NewReader(bytes.NewReader(archive)).Next(); err != nil || h.Size != 1<<40 {
			t.Fatalf("the archive is none: %+v, %v", h, err)
		}
		all = append(all, append(archive, make([]byte, 1024)...))
	}
	return all
}

// A member with holes (GNU's sparse files, in PAX records) would unpack to far more than
// has come: neither room nor length would know.
func TestHolesAreRefused(t *testing.T) {
	url, _, _ := server(t, Limits{Size: 1 << 20}, nil)
	for _, archive := range sparseArchives(t) {
		if status, answer := post(t, url+"?tar=x", bytes.NewReader(archive)); status != http.StatusBadRequest || !strings.Contains(answer, "holes") {
			t.Errorf("%d %s", status, answer)
		}
	}
}
