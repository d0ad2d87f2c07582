package receive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/multicast"
)

// origin is a server that has files, and whose connections break off.
type origin struct {
	objects map[string][]byte
	breaks  atomic.Int32 // so many answers more
	refuses bool
}

func (l *origin) add(name string, size int) protocol.File {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	sum := sha256.Sum256(b)
	digest := hex.EncodeToString(sum[:])
	l.objects[digest] = b
	return protocol.File{Name: name, Size: int64(size), SHA256: digest}
}

func (l *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, ok := l.objects[strings.TrimPrefix(r.URL.Path, multicast.PathObject)]
	if !ok || l.refuses || r.Header.Get("Authorization") != "Bearer ticket" {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(protocol.Problem{Detail: "the device is not approved"})
		return
	}
	if l.breaks.Add(-1) >= 0 {
		// Half of it, and then nothing more.
		w.Header().Set("Content-Length", "1000000")
		w.WriteHeader(http.StatusPartialContent)
		var from int
		if err := parseRange(r.Header.Get("Range"), &from); err != nil {
			panic(err)
		}
		rest := b[from:]
		_, _ = w.Write(rest[:(len(rest)+1)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func parseRange(text string, from *int) error {
	text, _, _ = strings.Cut(strings.TrimPrefix(text, "bytes="), "-")
	return json.Unmarshal([]byte(text), from)
}

func (l *origin) fetcher(t *testing.T) *Files {
	t.Helper()
	server := httptest.NewTLSServer(l)
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, protocol.NewPin(server.Certificate().Raw).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &Files{Client: c, Ticket: "ticket", Patience: time.Minute, Percent: func(float64) {}}
}

// TestFilesByUnicast: what breaks off goes on where it was.
func TestFilesByUnicast(t *testing.T) {
	l := &origin{objects: map[string][]byte{}}
	f := l.fetcher(t)
	dir := t.TempDir()
	last := 0.0
	f.Percent = func(p float64) { last = p }
	l.breaks.Store(1)
	one := l.add("image.wim", 300_000)
	out := filepath.Join(dir, "image.wim")
	if err := os.WriteFile(out, bytes.Repeat([]byte("older and longer "), 50_000), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.Fetch(t.Context(), protocol.RunContent{Size: one.Size, Files: []protocol.File{one}}, out); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, l.objects[one.SHA256]) || last != 100 {
		t.Errorf("%d bytes, %v, %v%%", len(got), err, last)
	}
	c := protocol.RunContent{Files: []protocol.File{l.add("a.inf", 10), l.add("net/b.sys", 70_000), l.add("net/empty", 0)}}
	for i := range 20 {
		c.Files = append(c.Files, l.add(filepath.Join("many", strings.Repeat("x", i+1)), 100+i))
	}
	folder := filepath.Join(dir, "drivers")
	if err := f.Fetch(t.Context(), c, folder); err != nil {
		t.Fatal(err)
	}
	for _, one := range c.Files {
		if got, err := os.ReadFile(filepath.Join(folder, one.Name)); err != nil || !bytes.Equal(got, l.objects[one.SHA256]) {
			t.Errorf("%s: %d bytes, %v", one.Name, len(got), err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.part")); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}

func TestFilesThatAreNotFetched(t *testing.T) {
	l := &origin{objects: map[string][]byte{}}
	f := l.fetcher(t)
	dir := t.TempDir()
	good, bad := l.add("good", 1000), l.add("bad", 1000)
	l.objects[bad.SHA256][500] ^= 1
	outside := good
	outside.Name = "../outside"
	for what, c := range map[string]struct {
		Files []protocol.File
		says  string
	}{
		"damaged":     {[]protocol.File{bad}, "should have " + bad.SHA256},
		"one of many": {[]protocol.File{good, bad}, "should have " + bad.SHA256},
		"outside":     {[]protocol.File{outside, good}, "outside the content"},
		"refused":     {[]protocol.File{{Name: "x", Size: 1, SHA256: strings.Repeat("0", 64)}}, "not approved"},
	} {
		out := filepath.Join(dir, what)
		if err := f.Fetch(t.Context(), protocol.RunContent{Files: c.Files}, out); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", what, err)
		}
		if len(c.Files) > 1 {
			if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: there is something by its name: %v", what, err)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "outside")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelledForTest)
	if err := f.Fetch(ctx, protocol.RunContent{Files: []protocol.File{good}}, filepath.Join(dir, "late")); !errors.Is(err, errCancelledForTest) {
		t.Error(err)
	}
}

var errCancelledForTest = errors.New("cancelled")
