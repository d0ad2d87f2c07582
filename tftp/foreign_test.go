package tftp

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"castpoint/test/tftpclient"

	pin "github.com/pin/tftp/v3"
)

// foreign are the programs that must get along with the server. A command line is
// run in a directory of its own; "%h", "%p" are the server's host and port, and
// the file is "file" on both sides.
var foreign = []struct {
	name     string
	pkg      string // Debian package
	get, put []string
	blksize  int // that the server must have agreed to; 0 when it is not asked for
	window   int
}{
	{
		name: "curl", pkg: "curl",
		get: []string{"curl", "-sS", "-o", "file", "tftp://%h:%p/file"},
		put: []string{"curl", "-sS", "-T", "file", "tftp://%h:%p/file"}, blksize: 512,
	},
	{
		name: "curl blksize", pkg: "curl",
		get:     []string{"curl", "-sS", "--tftp-blksize", "1428", "-o", "file", "tftp://%h:%p/file"},
		put:     []string{"curl", "-sS", "--tftp-blksize", "1428", "-T", "file", "tftp://%h:%p/file"},
		blksize: 1428,
	},
	{
		name: "curl no options", pkg: "curl",
		get: []string{"curl", "-sS", "--tftp-no-options", "-o", "file", "tftp://%h:%p/file"},
		put: []string{"curl", "-sS", "--tftp-no-options", "-T", "file", "tftp://%h:%p/file"},
	},
	{
		name: "tftp-hpa", pkg: "tftp-hpa",
		get: []string{"tftp", "-m", "binary", "%h", "%p", "-c", "get", "file"},
		put: []string{"tftp", "-m", "binary", "%h", "%p", "-c", "put", "file"},
	},
	{
		name: "atftp", pkg: "atftp",
		get: []string{"atftp", "-g", "-r", "file", "-l", "file", "%h", "%p"},
		put: []string{"atftp", "-p", "-l", "file", "-r", "file", "%h", "%p"},
	},
	{
		name: "atftp window 4", pkg: "atftp",
		get: []string{
			"atftp", "-g", "-r", "file", "-l", "file", "--option", "blksize 1468", "--option", "windowsize 4",
			"--option", "tsize", "--option", "timeout 2", "%h", "%p",
		},
		blksize: 1468, window: 4,
	},
	{
		name: "atftp window 64", pkg: "atftp",
		get: []string{
			"atftp", "-g", "-r", "file", "-l", "file", "--option", "blksize 1024", "--option", "windowsize 64", "%h", "%p",
		},
		blksize: 1024, window: 64,
	},
	{
		name: "busybox", pkg: "busybox",
		get:     []string{"busybox", "tftp", "-g", "-b", "1468", "-r", "file", "-l", "file", "%h", "%p"},
		put:     []string{"busybox", "tftp", "-p", "-b", "1468", "-r", "file", "-l", "file", "%h", "%p"},
		blksize: 1468,
	},
}

// runProgram runs a command line in dir and returns what it printed.
func runProgram(t *testing.T, pkg, dir string, server netip.AddrPort, line []string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(line[0]); err != nil {
		t.Fatalf("install %s: %v", pkg, err)
	}
	args := make([]string, len(line))
	for i, a := range line {
		a = strings.ReplaceAll(a, "%h", server.Addr().String())
		args[i] = strings.ReplaceAll(a, "%p", strconv.Itoa(int(server.Port())))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func foreignSizes() []int { return []int{0, 511, 512, 1468 * 64, 1<<20 + 3} }

func TestForeignClientsRead(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, f := range foreign {
			t.Run(f.name+map[bool]string{true: " single port"}[single], func(t *testing.T) {
				for _, size := range foreignSizes() {
					if size == 0 && f.pkg == "curl" && f.blksize != 0 {
						continue // curl takes a tsize of 0 for an illegal answer
					}
					data := tftpclient.RandomBytes(size)
					rec := newRecorder()
					s := startServer(t, Config{
						Open: serveFiles(map[string][]byte{"file": data}), Observer: rec.observe, SinglePort: single,
					})
					dir := t.TempDir()
					out, err := runProgram(t, f.pkg, dir, s.Addrs()[0], f.get)
					if err != nil {
						t.Fatalf("%d bytes: %v: %s", size, err, out)
					}
					got, err := os.ReadFile(filepath.Join(dir, "file"))
					if err != nil && size > 0 { // some make no file out of nothing
						t.Fatal(err)
					}
					if !bytes.Equal(got, data) {
						t.Errorf("%d bytes: the file differs, %d bytes arrived: %s", size, len(got), out)
					}
					e := rec.await(t, Finished, 1)
					if e.Stats.Bytes != int64(size) || !e.Stats.Confirmed {
						t.Errorf("%d bytes: %+v", size, e.Stats)
					}
					if f.blksize != 0 && e.Terms.BlockSize != f.blksize || f.window != 0 && e.Terms.Window != f.window {
						t.Errorf("agreed on %+v", e.Terms)
					}
				}
			})
		}
	}
}

// TestForeignClientsMiss: every client shows the server's words.
func TestForeignClientsMiss(t *testing.T) {
	s := startServer(t, Config{Open: func(context.Context, Request) (File, error) {
		return nil, errors.Join(ErrForbidden, errors.New("this device is not approved"))
	}})
	for _, f := range foreign {
		t.Run(f.name, func(t *testing.T) {
			out, err := runProgram(t, f.pkg, t.TempDir(), s.Addrs()[0], f.get)
			if err == nil && f.pkg != "tftp-hpa" && f.pkg != "atftp" { // these two exit with 0
				t.Error("the program did not fail")
			}
			if !strings.Contains(out, "access denied") && f.pkg != "curl" { // has words of its own
				t.Errorf("the reason is not shown: %q", out)
			}
		})
	}
}

func TestForeignClientsWrite(t *testing.T) {
	for _, single := range []bool{false, true} {
		for _, f := range foreign {
			if f.put == nil {
				continue
			}
			t.Run(f.name+map[bool]string{true: " single port"}[single], func(t *testing.T) {
				for _, size := range foreignSizes() {
					if size == 0 && f.pkg == "curl" {
						continue // curl has nothing to send then
					}
					data := tftpclient.RandomBytes(size)
					rec := newRecorder()
					store := newStore()
					s := startServer(t, Config{
						Open: serveFiles(nil), Create: store.create, Observer: rec.observe, SinglePort: single,
					})
					dir := t.TempDir()
					if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o600); err != nil {
						t.Fatal(err)
					}
					out, err := runProgram(t, f.pkg, dir, s.Addrs()[0], f.put)
					if err != nil {
						t.Fatalf("%d bytes: %v: %s", size, err, out)
					}
					rec.await(t, Finished, 1)
					if got, ok := store.get("file"); !ok || !bytes.Equal(got, data) {
						t.Errorf("%d bytes: %d arrived, %v: %s", size, len(got), ok, out)
					}
				}
			})
		}
	}
}

// TestForeignClientsLossy puts a relay in between that loses and doubles.
func TestForeignClientsLossy(t *testing.T) {
	data := tftpclient.RandomBytes(60_000)
	for _, f := range foreign {
		t.Run(f.name, func(t *testing.T) {
			rec := newRecorder()
			s := startServer(t, Config{
				Open: serveFiles(map[string][]byte{"file": data}), Observer: rec.observe, SinglePort: true,
			})
			relay := startRelay(t, s.Addrs()[0], .03, .03)
			dir := t.TempDir()
			out, err := runProgram(t, f.pkg, dir, relay, f.get)
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || !bytes.Equal(got, data) {
				t.Errorf("the file differs: %d bytes, %v: %s", len(got), err, out)
			}
			e := rec.await(t, Finished, 1)
			t.Logf("%+v", e.Stats)
		})
	}
}

// startRelay forwards between clients and a server in single-port mode.
func startRelay(t *testing.T, server netip.AddrPort, loss, double float64) netip.AddrPort {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	copies := func() int {
		mu.Lock()
		defer mu.Unlock()
		switch x := rng.Float64(); {
		case x < loss:
			return 0
		case x < loss+double:
			return 2
		}
		return 1
	}
	backs := make(map[netip.AddrPort]*net.UDPConn)
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 70000)
		for {
			n, from, err := front.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			back := backs[from]
			if back == nil {
				if back, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(server)); err != nil {
					break
				}
				backs[from] = back
				wg.Go(func() {
					buf := make([]byte, 70000)
					for {
						n, err := back.Read(buf)
						if errors.Is(err, net.ErrClosed) {
							return
						}
						for range copies() {
							_, _ = front.WriteToUDPAddrPort(buf[:max(n, 0)], from)
						}
					}
				})
			}
			for range copies() {
				_, _ = back.Write(buf[:n])
			}
		}
		for _, b := range backs {
			_ = b.Close()
		}
	})
	t.Cleanup(func() { _ = front.Close(); wg.Wait() })
	return front.LocalAddr().(*net.UDPAddr).AddrPort()
}

// TestPinClient is the client that the doctor uses.
func TestPinClient(t *testing.T) {
	data := tftpclient.RandomBytes(1<<20 + 5)
	store := newStore()
	s := startServer(t, Config{Open: serveFiles(map[string][]byte{"Boot/boot.wim": data}), Create: store.create})
	for _, blksize := range []int{0, 512, 1456, 1468, 65464} {
		c, err := pin.NewClient(s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		if blksize != 0 {
			c.SetBlockSize(blksize)
		}
		c.RequestTSize(true)
		wt, err := c.Receive(`\Boot\boot.wim`, "octet")
		if err != nil {
			t.Fatal(err)
		}
		if size, ok := wt.(pin.IncomingTransfer).Size(); !ok || size != int64(len(data)) {
			t.Errorf("size told: %d, %v", size, ok)
		}
		var got bytes.Buffer
		if _, err := wt.WriteTo(&got); err != nil || !bytes.Equal(got.Bytes(), data) {
			t.Errorf("blksize %d: %d bytes, %v", blksize, got.Len(), err)
		}
		rf, err := c.Send("logs/setup.log", "octet")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := rf.ReadFrom(io.LimitReader(bytes.NewReader(data), 300_000)); err != nil {
			t.Fatal(err)
		}
		if got, ok := store.get("logs/setup.log"); !ok || !bytes.Equal(got, data[:300_000]) {
			t.Errorf("blksize %d: upload of %d bytes, %v", blksize, len(got), ok)
		}
	}
	c, err := pin.NewClient(s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Receive("missing", "octet"); err == nil || !strings.Contains(err.Error(), "file not found: missing") {
		t.Errorf("a missing file: %v", err)
	}
}

// TestPinClientNetascii compares the conversion with another program's inverse.
func TestPinClientNetascii(t *testing.T) {
	data := []byte(strings.Repeat("line one\nline two\r\nodd \r end\n\n", 300))
	s := startServer(t, Config{Open: serveFiles(map[string][]byte{"file": data})})
	dir := t.TempDir()
	out, err := runProgram(t, "tftp-hpa", dir, s.Addrs()[0], []string{"tftp", "-m", "ascii", "%h", "%p", "-c", "get", "file"})
	if err != nil {
		t.Fatal(err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, want %d, %v", len(got), len(data), err)
	}
}

// store keeps uploads.
type store struct {
	mu      sync.Mutex
	files   map[string][]byte
	aborted int
}

func newStore() *store { return &store{files: make(map[string][]byte)} }

func (s *store) create(_ context.Context, r Request) (Upload, error) {
	return &storeUpload{s: s, path: r.Path}, nil
}

func (s *store) get(path string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[path]
	return b, ok
}

type storeUpload struct {
	s    *store
	path string
	bytes.Buffer
}

func (u *storeUpload) Commit() error {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.files[u.path] = u.Bytes()
	return nil
}

func (u *storeUpload) Abort() {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.s.aborted++
}
