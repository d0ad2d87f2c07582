package tftp

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"

	"castpoint/test/tftpclient"
	"castpoint/tftp/wire"
)

// failingUpload fails where it is told to.
type failingUpload struct {
	storeUpload
	write, commit error
}

func (u *failingUpload) Write(p []byte) (int, error) {
	if u.write != nil {
		return 0, u.write
	}
	return u.storeUpload.Write(p)
}

func (u *failingUpload) Commit() error {
	if u.commit != nil {
		return u.commit
	}
	return u.storeUpload.Commit()
}

func TestUploadErrors(t *testing.T) {
	st := newStore()
	type outcome struct {
		upload Upload
		err    error
	}
	var next atomic.Pointer[outcome]
	rec := newRecorder()
	s := startServer(t, Config{
		Open: serveFiles(nil), MaxUpload: 10_000, Observer: rec.observe,
		Create: func(context.Context, Request) (Upload, error) {
			o := next.Load()
			return o.upload, o.err
		},
	})
	aborted := 0
	for _, tt := range []struct {
		name    string
		size    int
		options []wire.Option
		upload  failingUpload
		create  error
		code    wire.Code
		text    string
		aborts  bool // the upload was begun and must be thrown away
	}{
		{name: "too large, as told", size: 20_000, options: []wire.Option{{Name: "tsize", Value: "20000"}}, code: wire.CodeNoSpace, text: "10000 bytes"},
		{name: "too large, found out", size: 20_000, code: wire.CodeNoSpace, text: "10000 bytes", aborts: true},
		{name: "not allowed", size: 5, create: ErrForbidden, code: wire.CodeForbidden, text: "access denied: logs/file"},
		{name: "exists", size: 5, create: fs.ErrExist, code: wire.CodeExists, text: "file exists already: logs/file"},
		{name: "write fails", size: 5, upload: failingUpload{write: errors.New("secret")}, code: 0, text: "see the server's log", aborts: true},
		{name: "commit fails", size: 5, upload: failingUpload{commit: ErrNoSpace}, code: wire.CodeNoSpace, text: "no space", aborts: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.upload.s, tt.upload.path = st, "file"
			next.Store(&outcome{&tt.upload, tt.create})
			err := tftpclient.Put(dialWire(t, s.Addrs()[0]), make([]byte, tt.size), tt.options, nil)
			var pe *wire.PeerError
			if !errors.As(err, &pe) || pe.Code != tt.code || !strings.Contains(pe.Text, tt.text) || strings.Contains(pe.Text, "secret") {
				t.Fatalf("%v", err)
			}
			if tt.aborts {
				aborted++
				rec.await(t, Aborted, aborted)
			}
			st.mu.Lock()
			defer st.mu.Unlock()
			if st.aborted != aborted || len(st.files) != 0 {
				t.Errorf("%d uploads thrown away, want %d; %d kept", st.aborted, aborted, len(st.files))
			}
		})
	}
}

// TestUploadGivenUp: an upload whose client leaves is thrown away.
func TestUploadGivenUp(t *testing.T) {
	st := newStore()
	rec := newRecorder()
	s := startServer(t, Config{Open: serveFiles(nil), Create: st.create, Observer: rec.observe})
	w := dialWire(t, s.Addrs()[0])
	if b := exchange(t, w, tftpclient.Request(wire.OpWRQ, "log", "octet")); !bytes.Equal(b, []byte{0, 4, 0, 0}) {
		t.Fatalf("%q", b)
	}
	w.Send(wire.AppendData(nil, 1, make([]byte, 512)))
	w.Send(wire.AppendError(nil, 0, "given up"))
	e := rec.await(t, Aborted, 1)
	var pe *wire.PeerError
	if !errors.As(e.Err, &pe) || e.Stats.Bytes > 512 {
		t.Errorf("%+v", e)
	}
	if _, ok := st.get("log"); ok || st.aborted != 1 {
		t.Errorf("kept %v, thrown away %d", ok, st.aborted)
	}
}

// TestUploadOversizedBlock: a block above what was agreed on ends the upload.
func TestUploadOversizedBlock(t *testing.T) {
	st := newStore()
	s := startServer(t, Config{Open: serveFiles(nil), Create: st.create})
	w := dialWire(t, s.Addrs()[0])
	exchange(t, w, tftpclient.Request(wire.OpWRQ, "log", "octet"))
	if e, ok := wire.ParseError(exchange(t, w, wire.AppendData(nil, 1, make([]byte, 513)))); !ok || e.Code != wire.CodeIllegal {
		t.Errorf("%+v", e)
	}
}
