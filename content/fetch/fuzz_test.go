package fetch

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// answers is a server that says what it likes.
type answers struct {
	status int
	length int64 // -1 says nothing
	ranges string
	etag   string
	body   []byte
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Etag": {a.etag}, "Content-Range": {a.ranges}, "Accept-Ranges": {"bytes"},
		"Content-Disposition": {`attachment; filename="../../` + a.etag + `"`}, "Location": {a.ranges}}
	res := &http.Response{Status: strconv.Itoa(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, ContentLength: a.length, Body: io.NopCloser(bytes.NewReader(a.body)), Request: r}
	if r.Method == http.MethodHead {
		res.Body = http.NoBody
	}
	return res, nil
}

// FuzzAnswer: a server from which a file is fetched, with a part of it already there.
// What comes is one file in the folder that was meant, no longer than there was room.
func FuzzAnswer(f *testing.F) {
	f.Add(200, int64(4), "", `"1"`, []byte("text"), []byte(nil), []byte(nil))
	f.Add(206, int64(2), "bytes 2-3/4", `"1"`, []byte("xt"), []byte("te"), []byte(`{"url":"http://host.invalid/x.wim","validator":"\"1\""}`))
	f.Add(206, int64(4), "bytes 0-9/4", `W/"1"`, []byte("text"), []byte("text and more"), []byte(`{"url":"http://host.invalid/x.wim","validator":"\"1\""}`))
	f.Add(200, int64(-1), "", "", []byte("no length"), []byte(nil), []byte(`{`))
	f.Add(302, int64(0), "file:///etc/passwd", "", []byte(nil), []byte(nil), []byte(nil))
	f.Add(416, int64(0), "", "", []byte(nil), []byte("x"), []byte(`{"url":"http://host.invalid/x.wim","validator":"x"}`))
	f.Fuzz(func(t *testing.T, status int, length int64, ranges, etag string, body, have, kept []byte) {
		if status < 200 || status > 599 {
			return // net/http answers these itself
		}
		if length >= 0 { // net/http reads no more
			body = body[:min(int64(len(body)), length)]
		}
		dir := t.TempDir()
		const at = "http://host.invalid/x.wim"
		stem := filepath.Join(dir, stemOf(at))
		if len(have) > 0 {
			if err := os.Mkdir(stem, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(stem, "x.wim"), have, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(stem+".json", kept, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		room := int64(len(have))
		res, err := Get(context.Background(), Request{URL: at, Dir: dir,
			Client: &http.Client{Transport: &answers{status, length, ranges, etag, body}},
			Room:   func(n int64) error { room += n; return nil }})
		list, errList := os.ReadDir(dir)
		if errList != nil || len(list) > 2 {
			t.Fatalf("%v, %v", list, errList)
		}
		if err != nil {
			return
		}
		if filepath.Dir(res.Path) != stem || res.Name != "x.wim" || res.Size > room {
			t.Fatalf("%+v, and there was room for %d", res, room)
		}
	})
}
