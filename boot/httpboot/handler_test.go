package httpboot

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/bootfile"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

type seen struct {
	mu   sync.Mutex
	list []Request
}

func (s *seen) add(r Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, r)
}

// wait returns the requests once there are n of them: the observer runs after
// the client has its last byte.
func (s *seen) wait(t *testing.T, n int) []Request {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		s.mu.Lock()
		list := append([]Request(nil), s.list...)
		s.mu.Unlock()
		if len(list) >= n {
			return list
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d requests seen, want %d", len(list), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// testFiles is a name space with these loader files.
func testFiles(t *testing.T, cfg bootfile.Config, loaders ...string) *bootfile.Space {
	t.Helper()
	var err error
	if cfg.Loaders, err = source.NewLoaders(bootable.LoaderDir(t, loaders...)); err != nil {
		t.Fatal(err)
	}
	f, err := bootfile.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func testServerFor(t *testing.T, f *bootfile.Space) (*httptest.Server, *seen) {
	t.Helper()
	var s seen
	h, err := NewHandler(HandlerConfig{
		Files:   f,
		Observe: s.add,
		Client:  func(a netip.Addr) boot.Client { return boot.Client{Interface: "if-" + a.String()} },
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	if srv.Config, err = NewServer(ServerConfig{Handler: h}); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv, &s
}

type answer struct {
	status int
	header http.Header
	close  bool // the server wants to close the connection
	body   string
}

// ask writes one request as it is and reads one answer: net/http's client
// would clean the path first.
func ask(t *testing.T, conn net.Conn, r *bufio.Reader, method, path string, headers ...string) answer {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path,
		strings.Join(append(headers, ""), "\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, resp.Close, string(body)}
}

func TestHandler(t *testing.T) {
	lib := &bootable.Library{}
	linux := lib.Add(t, content.Content{ID: "b1", Name: "Linux", Arch: "amd64", Created: time.Unix(1e9, 0)}, bootable.Linux)
	etag := `"` + linux.Files[0].Digest.String() + `"`
	f := testFiles(t, bootfile.Config{Library: lib}, "snponly.efi", "arm64/snponly.efi")
	srv, observed := testServerFor(t, f)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	r := bufio.NewReader(conn)

	script := "/ipxe/efi-x64/52-54-00-ab-cd-ef"
	tests := []struct {
		method, path string
		headers      []string
		status       int
		body         string // part of it
		length       int64  // Content-Length; -1 any
	}{
		{"GET", "/snponly.efi", nil, 200, "snponly.efi", 11},
		{"HEAD", "/snponly.efi", nil, 200, "", 11},
		{"GET", "//arm64//snponly.efi", nil, 200, "arm64/snponly.efi", 17},
		{"GET", "/arm64/snponly.efi/", nil, 200, "arm64/snponly.efi", 17},
		{"GET", "/./arm64/./SNPONLY.efi", nil, 200, "arm64/snponly.efi", 17},
		{"GET", "/arm64%5Csnponly.efi", nil, 200, "arm64/snponly.efi", 17},
		{"GET", "/boot/b1/vmlinuz", nil, 200, "the kernel", 10},
		{"GET", "/boot/b1/vmlinuz", []string{"Range: bytes=4-"}, 206, "kernel", 6},
		{"GET", "/boot/b1/vmlinuz", []string{"Range: bytes=4-5", "If-Range: " + etag}, 206, "ke", 2},
		{"GET", "/boot/b1/vmlinuz", []string{"Range: bytes=4-5", `If-Range: "other"`}, 200, "the kernel", 10},
		{"GET", "/boot/b1/vmlinuz", []string{"If-None-Match: " + etag}, 304, "", -1},
		{"GET", "/boot/b1/vmlinuz", []string{"Range: bytes=99-"}, 416, "", -1},
		{"GET", script, []string{"User-Agent: iPXE/1.0.0+"}, 200, "kernel /boot/b1/vmlinuz", -1},
		{"GET", "/no.efi", nil, 404, `castpoint: boot file not found: "no.efi"`, -1},
		{"HEAD", "/no.efi", nil, 404, "", -1},
		{"GET", "/", nil, 404, "not found", -1},
		{"GET", "/arm64", nil, 404, "not found", -1},
		{"GET", "/arm64/", nil, 404, "not found", -1},
		{"GET", "/../etc/passwd", nil, 403, "leads out of the boot files", -1},
		{"GET", "/boot/%2e%2e/%2e%2e/etc/passwd", nil, 403, "leads out", -1},
		{"POST", "/snponly.efi", nil, 405, "only GET and HEAD", -1},
		{"DELETE", "/snponly.efi", nil, 405, "only GET and HEAD", -1},
	}
	for _, tt := range tests {
		got := ask(t, conn, r, tt.method, tt.path, tt.headers...)
		name := tt.method + " " + tt.path
		if got.status != tt.status || !strings.Contains(got.body, tt.body) {
			t.Errorf("%s: %d %q, want %d with %q", name, got.status, got.body, tt.status, tt.body)
		}
		if got.status >= 300 && got.status < 304 || got.header.Get("Location") != "" {
			t.Errorf("%s: redirected", name)
		}
		if got.close || got.header.Get("Connection") != "" {
			t.Errorf("%s: connection does not stay open", name)
		}
		if tt.status != 304 {
			if got.header.Get("Content-Length") == "" {
				t.Errorf("%s: no Content-Length: %v", name, got.header)
			}
			if tt.length >= 0 && got.header.Get("Content-Length") != strconv.FormatInt(tt.length, 10) {
				t.Errorf("%s: Content-Length %s, want %d", name, got.header.Get("Content-Length"), tt.length)
			}
		}
		if tt.status == 200 && got.header.Get("ETag") == "" {
			t.Errorf("%s: no ETag", name)
		}
	}
	list := observed.wait(t, len(tests))
	for i, req := range list {
		if req.Duration <= 0 || !req.Remote.IsValid() || req.Client.Interface != "if-127.0.0.1" ||
			req.Client.Server != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("request %d: %+v", i, req)
		}
		if (req.Err == nil) != (req.Status < 400) {
			t.Errorf("request %d: status %d with error %v", i, req.Status, req.Err)
		}
		switch {
		case req.Name == script:
			if req.Client.MAC.String() != bootable.MAC.String() || !req.Client.IPXE || req.Client.Arch != boot.ArchEFIX64 {
				t.Errorf("script asked by %+v", req.Client)
			}
		case req.Method == "GET" && req.Name == "/boot/b1/vmlinuz" && req.Status == 200:
			if req.Bytes != 10 {
				t.Errorf("request %d: %d bytes, want 10", i, req.Bytes)
			}
		}
	}
}

func TestHandlerHeaders(t *testing.T) {
	f := testFiles(t, bootfile.Config{}, "snponly.efi", "x.bin")
	srv, _ := testServerFor(t, f)
	get := func(path string) http.Header {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.Header
	}
	if h := get("/snponly.efi"); h.Get("Content-Type") != "application/efi" || h.Get("Last-Modified") == "" {
		t.Errorf("loader: %v", h)
	}
	if h := get("/x.bin"); h.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("binary: %v", h)
	}
	if h := get("/ipxe/bios/52-54-00-ab-cd-ef"); !strings.HasPrefix(h.Get("Content-Type"), "text/plain") || h.Get("Cache-Control") != "no-store" {
		t.Errorf("script: %v", h)
	}
}

// A big file goes through whole, and by the path that lets the kernel send it:
// the writer below ServeContent must see a *os.File.
func TestHandlerBigFile(t *testing.T) {
	dir := t.TempDir()
	big := make([]byte, 20<<20)
	for i := range big {
		big[i] = byte(i >> 12)
	}
	if err := os.WriteFile(filepath.Join(dir, "big.bin"), big, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := bootfile.New(bootfile.Config{Loaders: l})
	if err != nil {
		t.Fatal(err)
	}
	srv, observed := testServerFor(t, f)
	resp, err := srv.Client().Get(srv.URL + "/big.bin")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil || string(got) != string(big) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if req := observed.wait(t, 1)[0]; req.Bytes != int64(len(big)) || req.Err != nil {
		t.Errorf("observed %+v", req)
	}

	rec := &fileSpy{ResponseRecorder: httptest.NewRecorder()}
	h, err := NewHandler(HandlerConfig{Files: f})
	if err != nil {
		t.Fatal(err)
	}
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/big.bin", nil))
	if !rec.sawFile {
		t.Error("the file did not reach the connection as *os.File: no sendfile")
	}
}

type fileSpy struct {
	*httptest.ResponseRecorder
	sawFile bool
}

func (s *fileSpy) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		_, s.sawFile = l.R.(*os.File)
	}
	return io.Copy(s.ResponseRecorder, r)
}

func TestHandlerObservesAbort(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "big.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(256 << 20); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := bootfile.New(bootfile.Config{Loaders: l})
	if err != nil {
		t.Fatal(err)
	}
	srv, observed := testServerFor(t, f)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	req := observed.wait(t, 1)[0]
	if req.Err == nil || req.Bytes >= 256<<20 {
		t.Errorf("observed %+v, want an error", req)
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	if _, err := NewHandler(HandlerConfig{}); err == nil {
		t.Error("a handler without files was accepted")
	}
}
