package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// origin serves one file, breaks off after cut bytes when that is set, and can
// change the file.
type origin struct {
	data    []byte
	etag    string
	cut     atomic.Int64 // 0 for never
	ranges  atomic.Int64 // requests with Range
	refuses bool         // ignores ranges
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/a/image.wim" {
		http.NotFound(w, r)
		return
	}
	if r.Header.Get("Range") != "" {
		o.ranges.Add(1)
	}
	w.Header().Set("ETag", o.etag)
	if cut := o.cut.Load(); cut > 0 && r.Method == http.MethodGet {
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		_, _ = w.Write(o.data[:cut])
		panic(http.ErrAbortHandler)
	}
	if o.refuses && r.Method == http.MethodGet {
		w.Header().Set("Content-Length", strconv.Itoa(len(o.data)))
		_, _ = w.Write(o.data)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(o.data))
}

func start(t *testing.T, o *origin) (url string, client *http.Client) {
	t.Helper()
	if o.data == nil {
		o.data = bytes.Repeat([]byte("castpoint"), 200_000)
	}
	if o.etag == "" {
		o.etag = `"one"`
	}
	s := httptest.NewServer(o)
	t.Cleanup(s.Close)
	return s.URL + "/a/image.wim", s.Client()
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

func wantFile(t *testing.T, res *Result, data []byte) {
	t.Helper()
	b, err := os.ReadFile(res.Path)
	if err != nil || !bytes.Equal(b, data) || res.Size != int64(len(data)) || res.Name != "image.wim" {
		t.Errorf("%+v: %d bytes, %v; want %d", res, len(b), err, len(data))
	}
}

func TestGet(t *testing.T) {
	o := &origin{}
	url, client := start(t, o)
	dir := t.TempDir()
	var last int64
	res, err := Get(t.Context(), Request{URL: url, Dir: dir, Client: client, SHA256: sum(o.data), Progress: func(done, _ int64) { last = done }})
	if err != nil {
		t.Fatal(err)
	}
	wantFile(t, res, o.data)
	if res.Resumed || last != int64(len(o.data)) {
		t.Errorf("resumed %v, progress %d", res.Resumed, last)
	}
	if err := res.Remove(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestResume(t *testing.T) {
	for name, change := range map[string]func(*origin){
		"same file":           func(*origin) {},
		"another file":        func(o *origin) { o.data, o.etag = bytes.Repeat([]byte("changed!!"), 200_000), `"two"` },
		"a shorter file":      func(o *origin) { o.data, o.etag = []byte("short"), `"two"` },
		"no ranges any more":  func(o *origin) { o.refuses = true },
		"weak validator only": func(o *origin) { o.etag = `W/"one"` },
	} {
		t.Run(name, func(t *testing.T) {
			o := &origin{}
			if name == "weak validator only" {
				change(o)
			}
			url, client := start(t, o)
			dir := t.TempDir()
			o.cut.Store(1_000_000)
			if _, err := Get(t.Context(), Request{URL: url, Dir: dir, Client: client}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("a download that breaks off: %v", err)
			}
			o.cut.Store(0)
			change(o)
			res, err := Get(t.Context(), Request{URL: url, Dir: dir, Client: client, SHA256: sum(o.data)})
			if err != nil {
				t.Fatal(err)
			}
			wantFile(t, res, o.data)
			if resumes := name == "same file"; res.Resumed != resumes {
				t.Errorf("resumed: %v, with %d ranges", res.Resumed, o.ranges.Load())
			}
		})
	}
}

func TestErrors(t *testing.T) {
	o := &origin{}
	url, client := start(t, o)
	dir := t.TempDir()
	for name, c := range map[string]struct {
		r    Request
		want error
	}{
		"scheme":   {Request{URL: "ftp://host/x"}, ErrURL},
		"no file":  {Request{URL: "http://host/"}, ErrURL},
		"missing":  {Request{URL: url + ".gone"}, ErrServer},
		"checksum": {Request{URL: url, SHA256: sum(nil)}, ErrChecksum},
		"no sum":   {Request{URL: url, SHA256: "abc"}, nil},
	} {
		c.r.Dir, c.r.Client = dir, client
		_, err := Get(t.Context(), c.r)
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestInterruptedAndSlow(t *testing.T) {
	o := &origin{}
	url, client := start(t, o)
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := Get(ctx, Request{URL: url, Dir: dir, Client: client, Rate: 64 << 10, Progress: func(done, _ int64) {
		if done > 0 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	// The rate held it back: far from all had come. What came is used.
	res, err := Get(t.Context(), Request{URL: url, Dir: dir, Client: client})
	if err != nil || !res.Resumed {
		t.Fatalf("%+v, %v", res, err)
	}
	wantFile(t, res, o.data)
}

// A download that does not fit is refused before it begins, and asks for what is
// missing when it goes on.
func TestRoom(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100_000)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "x.wim", time.Time{}, bytes.NewReader(data))
	}))
	defer s.Close()
	dir, full := t.TempDir(), errors.New("full")
	var asked int64
	req := Request{URL: s.URL + "/x.wim", Dir: dir, Room: func(n int64) error { asked = n; return full }}
	if _, err := Get(t.Context(), req); !errors.Is(err, full) || asked != int64(len(data)) {
		t.Errorf("%v, asked for %d", err, asked)
	}
	req.Room = func(n int64) error { asked = n; return nil }
	res, err := Get(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	// Nor does one end that has no length.
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Method == http.MethodGet {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}))
	defer endless.Close()
	left := int64(40 << 20)
	if _, err := Get(t.Context(), Request{URL: endless.URL + "/x.wim", Dir: dir, Room: func(n int64) error {
		if left -= n; left < 0 {
			return full
		}
		return nil
	}}); !errors.Is(err, full) {
		t.Errorf("without an end: %v", err)
	}
	// A part of it, read-only.
	if err := errors.Join(os.Truncate(res.Path, 400_000), os.Chmod(res.Path, 0o444)); err != nil {
		t.Fatal(err)
	}
	if res, err = Get(t.Context(), req); err != nil || !res.Resumed || asked != int64(len(data))-400_000 {
		t.Errorf("%+v %v, asked for %d", res, err, asked)
	}
}
