package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// put sends a file as a client does: windows of blocks, going back to what the
// server acknowledged.
func put(w wire, data []byte, options []Option, answered func([]Option)) error {
	w.send(requestBytes(opWRQ, "logs/file", "octet", options...))
	blksize, window := 512, 1
	last := int64(-1)
	acked := int64(-1) // nothing, not even the request
	buf := make([]byte, 2000)
	block := func(n int64) []byte {
		start := min((n-1)*int64(blksize), int64(len(data)))
		return appendData(nil, n, data[start:min(start+int64(blksize), int64(len(data)))])
	}
	for tries := 0; tries < 100; {
		n, err := w.receive(buf, time.Now().Add(200*time.Millisecond))
		var next int64
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			tries++
			if acked < 0 {
				w.send(requestBytes(opWRQ, "logs/file", "octet", options...))
				continue
			}
		case err != nil:
			return err
		default:
			if e, ok := parseError(buf[:n]); ok {
				return &e
			}
			if opts, ok := parseOACK(buf[:n]); ok && acked < 0 {
				next = 0
				for _, o := range opts {
					v, _ := strconv.Atoi(o.Value)
					switch o.Name {
					case "blksize":
						blksize = v
					case "windowsize":
						window = v
					}
				}
				if answered != nil {
					answered(opts)
				}
			} else if a, ok := parseAck(buf[:n]); ok {
				next = max(acked, 0) + int64(int16(a.block-uint16(max(acked, 0))))
				if next <= acked {
					continue // told before
				}
			} else {
				continue
			}
			tries = 0
			acked = next
			last = int64(len(data)/blksize) + 1
			if acked == last {
				return nil
			}
		}
		for i := acked + 1; i <= min(acked+int64(window), last); i++ {
			w.send(block(i))
		}
	}
	return errors.New("the server is silent")
}

// TestUploadSimulated carries uploads over bad networks.
func TestUploadSimulated(t *testing.T) {
	for _, bad := range []bool{false, true} {
		for _, options := range [][]Option{
			nil,
			{{"blksize", "1024"}, {"tsize", "5"}},
			{{"blksize", "700"}, {"windowsize", "8"}, {"timeout", "1"}},
		} {
			for _, size := range []int{0, 511, 512, 100_000} {
				t.Run(fmt.Sprintf("bad %v, %v, %d bytes", bad, options, size), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						n := newSimNet(uint64(size))
						n.minDelay, n.maxDelay = 100*time.Microsecond, 100*time.Microsecond
						if bad {
							n.loss, n.double, n.maxDelay = .2, .2, 10*time.Millisecond
						}
						data := randomBytes(size)
						st := newStore()
						var stats Stats
						served := make(chan error, 1)
						go func() {
							buf := make([]byte, 2048)
							m, err := n.server.receive(buf, time.Now().Add(time.Hour))
							if err != nil {
								served <- err
								return
							}
							r, err := parseRequest(buf[:m])
							if err != nil {
								served <- err
								return
							}
							terms, answer := negotiate(r.options, true, bounds{blockSize: 1468, window: 64, size: -1})
							u, _ := st.create(t.Context(), Request{Path: "file"})
							w := &writer{
								link: n.server, upload: u, dst: u, terms: terms, first: appendAck(nil, 0),
								idle: 30 * time.Second, limit: 1 << 20, heard: func() {}, stats: &stats,
							}
							if len(answer) > 0 {
								w.first = appendOACK(nil, answer)
							}
							err = w.run(t.Context())
							if err == nil {
								for range 20 { // the client may need the last ACK more than once
									w.dally()
								}
							}
							served <- err
						}()
						err := put(simWire{n.client}, data, options, nil)
						if serr := <-served; err != nil || serr != nil {
							t.Fatalf("client %v, server %v, %+v", err, serr, stats)
						}
						if got, ok := st.get("file"); !ok || !bytes.Equal(got, data) {
							t.Errorf("%d bytes arrived, %v", len(got), ok)
						}
						if stats.Bytes != int64(size) || !stats.Confirmed {
							t.Errorf("%+v", stats)
						}
					})
				})
			}
		}
	}
}

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
		options []Option
		upload  failingUpload
		create  error
		code    Code
		text    string
		aborts  bool // the upload was begun and must be thrown away
	}{
		{name: "too large, as told", size: 20_000, options: []Option{{"tsize", "20000"}}, code: CodeNoSpace, text: "10000 bytes"},
		{name: "too large, found out", size: 20_000, code: CodeNoSpace, text: "10000 bytes", aborts: true},
		{name: "not allowed", size: 5, create: ErrForbidden, code: CodeForbidden, text: "access denied: logs/file"},
		{name: "exists", size: 5, create: fs.ErrExist, code: CodeExists, text: "file exists already: logs/file"},
		{name: "write fails", size: 5, upload: failingUpload{write: errors.New("secret")}, code: 0, text: "see the server's log", aborts: true},
		{name: "commit fails", size: 5, upload: failingUpload{commit: ErrNoSpace}, code: CodeNoSpace, text: "no space", aborts: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.upload.s, tt.upload.path = st, "file"
			next.Store(&outcome{&tt.upload, tt.create})
			err := put(dialWire(t, s.Addrs()[0]), make([]byte, tt.size), tt.options, nil)
			var pe *PeerError
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
	if b := exchange(t, w, requestBytes(opWRQ, "log", "octet")); !bytes.Equal(b, []byte{0, 4, 0, 0}) {
		t.Fatalf("%q", b)
	}
	w.send(appendData(nil, 1, make([]byte, 512)))
	w.send(appendError(nil, 0, "given up"))
	e := rec.await(t, Aborted, 1)
	var pe *PeerError
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
	exchange(t, w, requestBytes(opWRQ, "log", "octet"))
	if e, ok := parseError(exchange(t, w, appendData(nil, 1, make([]byte, 513)))); !ok || e.Code != CodeIllegal {
		t.Errorf("%+v", e)
	}
}

func TestFromNetascii(t *testing.T) {
	for size := range 40 {
		data := asciiBytes(1000 + size)
		encoded := toNetascii(data)
		if size%2 == 1 { // a file that ends in a bare CR, which no netascii does
			data, encoded = append(data, '\r'), append(encoded, '\r')
		}
		for _, step := range []int{1, 2, 7, 512} {
			var out bytes.Buffer
			f := &fromNetascii{w: &out}
			for rest := encoded; len(rest) > 0; {
				n := min(step, len(rest))
				if m, err := f.Write(rest[:n]); err != nil || m != n {
					t.Fatal(m, err)
				}
				rest = rest[n:]
			}
			if err := f.flush(); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), data) {
				t.Fatalf("size %d, step %d: differs", len(data), step)
			}
		}
	}
}

// FuzzUpload feeds an upload any sequence of DATA datagrams: what is stored is the
// blocks in order, each once.
func FuzzUpload(f *testing.F) {
	f.Add([]byte{0, 1, 8, 0, 2, 8, 0, 3, 1}, uint8(1))
	f.Add([]byte{0, 1, 8, 0, 3, 8, 0, 1, 8, 0, 2, 8, 0, 3, 0}, uint8(4))
	f.Add([]byte{0, 1, 9, 0xff, 0xff, 8}, uint8(64))
	f.Fuzz(func(t *testing.T, script []byte, window uint8) {
		st := newStore()
		u, _ := st.create(t.Context(), Request{Path: "file"})
		l := &scriptLink{script: script}
		var stats Stats
		w := &writer{
			link: l, upload: u, dst: u, terms: Terms{BlockSize: 8, Window: max(1, int(window))}, first: appendAck(nil, 0),
			idle: time.Minute, limit: 1 << 20, heard: func() {}, stats: &stats,
		}
		err := w.run(t.Context())
		got, stored := st.get("file")
		if stored != (err == nil) {
			t.Fatalf("stored %v, error %v", stored, err)
		}
		for i, b := range got {
			if b != byte(i/8+1) {
				t.Fatalf("byte %d is of block %d: %v", i, b, got)
			}
		}
		if stored && stats.Bytes != int64(len(got)) {
			t.Fatalf("stored %d, counted %d", len(got), stats.Bytes)
		}
	})
}

// scriptLink is a link whose client sends DATA datagrams by a script of triples:
// block number, and payload length. A payload is the block's number, repeated.
type scriptLink struct {
	nullLink
	script []byte
}

func (l *scriptLink) receive(buf []byte, _ time.Time) (int, error) {
	if len(l.script) < 3 {
		return 0, errors.New("the script is over")
	}
	block := int64(l.script[0])<<8 | int64(l.script[1])
	b := appendData(nil, block, bytes.Repeat([]byte{byte(block)}, int(l.script[2])%10))
	l.script = l.script[3:]
	return copy(buf, b), nil
}
