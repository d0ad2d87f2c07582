package httpboot

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"castpoint/boot/bootfile"
	"castpoint/boot/source"
	"castpoint/content"
	"castpoint/test/bootable"
)

// serveHTTP serves a handler on loopback with the given limits.
func serveHTTP(t *testing.T, cfg ServerConfig) (addr string) {
	t.Helper()
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		if cfg.TLS != nil {
			done <- srv.ServeTLS(l, "", "")
			return
		}
		done <- srv.Serve(l)
	}()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func handlerFor(t *testing.T, cfg HandlerConfig) *Handler {
	t.Helper()
	h, err := NewHandler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// dial makes a connection and, when asked, takes an answer on it.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn, bufio.NewReader(conn)
}

// closed tells whether the server has closed the connection, waiting for it.
func closed(t *testing.T, conn net.Conn) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := conn.Read(make([]byte, 1))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestConnectionLimits(t *testing.T) {
	h := handlerFor(t, HandlerConfig{Files: testFiles(t, bootfile.Config{}, "a.efi")})
	t.Run("per client", func(t *testing.T) {
		addr := serveHTTP(t, ServerConfig{Handler: h, MaxPerClient: 2})
		a, ra := dial(t, addr)
		b, rb := dial(t, addr)
		ask(t, a, ra, "GET", "/a.efi")
		ask(t, b, rb, "GET", "/a.efi")
		c, _ := dial(t, addr)
		if !closed(t, c) {
			t.Error("a third connection is served")
		}
		// The others are as before, and when one goes there is room again.
		if got := ask(t, a, ra, "GET", "/a.efi"); got.status != 200 {
			t.Errorf("status %d", got.status)
		}
		_ = a.Close()
		for deadline := time.Now().Add(5 * time.Second); ; {
			d, rd := dial(t, addr)
			_, _ = io.WriteString(d, "GET /a.efi HTTP/1.1\r\nHost: x\r\n\r\n")
			if line, err := rd.ReadString('\n'); err == nil && strings.Contains(line, "200") {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("no room after a connection was closed")
			}
		}
	})
	t.Run("in all", func(t *testing.T) {
		addr := serveHTTP(t, ServerConfig{Handler: h, MaxConns: 2, MaxPerClient: -1})
		a, ra := dial(t, addr)
		b, rb := dial(t, addr)
		ask(t, a, ra, "GET", "/a.efi")
		ask(t, b, rb, "GET", "/a.efi")
		// One of them makes room. Which has been idle for longer the server notes after
		// its client has the answer: netio has a test of the order.
		c, rc := dial(t, addr)
		if got := ask(t, c, rc, "GET", "/a.efi"); got.status != 200 {
			t.Errorf("status %d", got.status)
		}
		gone := make(chan struct{}, 2)
		for _, r := range []*bufio.Reader{ra, rb} {
			go func() {
				if _, err := r.ReadByte(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
					gone <- struct{}{}
				}
			}()
		}
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Error("the connections that were idle are still open")
		}
		select {
		case <-gone:
			t.Error("both connections were closed")
		default:
		}
	})
	t.Run("in all, none idle", func(t *testing.T) {
		addr := serveHTTP(t, ServerConfig{Handler: h, MaxConns: 1, MaxPerClient: -1})
		a, ra := dial(t, addr)
		if _, err := io.WriteString(a, "GET /a.efi HTTP/1.1\r\n"); err != nil { // half a request
			t.Fatal(err)
		}
		b, _ := dial(t, addr)
		if !closed(t, b) {
			t.Error("a second connection is served")
		}
		if _, err := io.WriteString(a, "Host: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := ra.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
			t.Errorf("%q, %v", line, err)
		}
	})
}

func TestSlowClients(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.bin")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 1<<30); err != nil {
		t.Fatal(err)
	}
	l, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := bootfile.New(bootfile.Config{Loaders: l})
	if err != nil {
		t.Fatal(err)
	}
	var s seen
	h := handlerFor(t, HandlerConfig{Files: files, Observe: s.add, Stall: time.Second})
	addr := serveHTTP(t, ServerConfig{Handler: h, HeaderTimeout: time.Second})

	// One that takes nothing is cut off after the stall time, not after the time
	// that a gigabyte may take.
	start := time.Now()
	conn, _ := dial(t, addr)
	if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	req := s.wait(t, 1)[0]
	if took := time.Since(start); !errors.Is(req.Err, os.ErrDeadlineExceeded) || took > 4*time.Second {
		t.Errorf("after %s: %v", took, req.Err)
	}
	// One that does not finish its request is cut off too.
	conn, _ = dial(t, addr)
	if _, err := io.WriteString(conn, "GET /big.bin HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	if !closed(t, conn) {
		t.Error("half a request keeps its connection")
	}
	// One with too many headers is told.
	conn, r := dial(t, addr)
	if _, err := fmt.Fprintf(conn, "GET /big.bin HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 30<<10)); err != nil {
		t.Fatal(err)
	}
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "431") {
		t.Errorf("%q, %v", line, err)
	}
}

// A client that is slow and steady gets the whole file, for longer than the
// stall time.
func TestSteadyClient(t *testing.T) {
	dir := t.TempDir()
	want := bytes.Repeat([]byte("castpoint"), 6<<20/9)
	if err := os.WriteFile(filepath.Join(dir, "f.bin"), want, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := source.NewLoaders(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := bootfile.New(bootfile.Config{Loaders: l})
	if err != nil {
		t.Fatal(err)
	}
	addr := serveHTTP(t, ServerConfig{Handler: handlerFor(t, HandlerConfig{Files: files, Stall: 2 * time.Second})})
	conn, r := dial(t, addr)
	if err := conn.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /f.bin HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	// 2.4 s in all.
	var got bytes.Buffer
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		<-tick.C
		_, err = io.CopyN(&got, resp.Body, 50<<10)
	}
	if !errors.Is(err, io.EOF) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("%d of %d bytes, %v", got.Len(), len(want), err)
	}
}

func TestSeveralRanges(t *testing.T) {
	lib := &bootable.Library{}
	lib.Add(t, content.Content{ID: "b1", Name: "Linux", Arch: "amd64"}, bootable.Linux)
	addr := serveHTTP(t, ServerConfig{Handler: handlerFor(t, HandlerConfig{Files: testFiles(t, bootfile.Config{Library: lib})})})
	conn, r := dial(t, addr)
	got := ask(t, conn, r, "GET", "/boot/b1/vmlinuz", "Range: bytes=0-2,4-5,-3")
	if got.status != 206 || got.header.Get("Content-Length") != fmt.Sprint(len(got.body)) {
		t.Fatalf("status %d, Content-Length %s of %d", got.status, got.header.Get("Content-Length"), len(got.body))
	}
	_, params, err := mime.ParseMediaType(got.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for mr := multipart.NewReader(strings.NewReader(got.body), params["boundary"]); ; {
		p, err := mr.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p.Header.Get("Content-Range")+" "+string(b))
	}
	if want := "bytes 0-2/10 the|bytes 4-5/10 ke|bytes 7-9/10 nel"; strings.Join(parts, "|") != want {
		t.Errorf("got %q, want %q", parts, want)
	}
	// Ranges that add up to more than the file are a way to make a server work:
	// the file comes once.
	if got := ask(t, conn, r, "GET", "/boot/b1/vmlinuz", "Range: bytes="+strings.Repeat("0-,", 50)+"0-"); got.status != 200 || got.body != "the kernel" {
		t.Errorf("%d %q", got.status, got.body)
	}
}

// The names that a boot manager loaded by UEFI HTTP boot asks for, by HEAD then
// GET, in letter cases other than on disk.
func TestUEFIHTTPBootNames(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	f := testFiles(t, bootfile.Config{}, "efi/microsoft/boot/BCD", "EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", "EFI/MICROSOFT/BOOT/boot.stl", "bootmgfw.efi")
	var s seen
	addr := serveHTTP(t, ServerConfig{Handler: handlerFor(t, HandlerConfig{Files: f, Observe: s.add, Log: zap.New(core)})})
	conn, r := dial(t, addr)
	n := 0
	for _, c := range []struct {
		name   string
		status int
		level  zapcore.Level
	}{
		{"/bootmgfw.efi", 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Recovery/BCD", 404, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/BCD", 200, zapcore.DebugLevel},
		{"/efi/MICROSOFT/Boot/bcd", 200, zapcore.DebugLevel},
		{`/EFI\Microsoft\Boot\BCD`, 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/Fonts/wgl4_boot.ttf", 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/fonts/WGL4_BOOT.TTF", 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/boot.stl", 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/Policies/SbcpFlightToken.p7b", 404, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/SiPolicy.p7b", 404, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/SkuSiPolicy.p7b", 404, zapcore.InfoLevel},
		{"/en-US/bootmgfw.efi.MUI", 404, zapcore.DebugLevel},
		{"/Boot/autoexec.ipxe", 200, zapcore.DebugLevel},
		{"/EFI/Microsoft/Boot/Fonts/segoe.ttf", 404, zapcore.WarnLevel},
		{"/Boot/boot.wim", 404, zapcore.WarnLevel},
		{"/EFI/../BCD", 403, zapcore.WarnLevel},
	} {
		head := ask(t, conn, r, "HEAD", c.name)
		get := ask(t, conn, r, "GET", c.name)
		n += 2
		if head.status != c.status || get.status != c.status {
			t.Errorf("%s: HEAD %d, GET %d, want %d", c.name, head.status, get.status, c.status)
		}
		if a, b := head.header.Get("Content-Length"), get.header.Get("Content-Length"); a == "" || a != b {
			t.Errorf("%s: HEAD says %q bytes, GET %q", c.name, a, b)
		}
		req := s.wait(t, n)[n-1]
		if want := c.status == 404 && c.level < zapcore.WarnLevel; req.Ordinary != want {
			t.Errorf("%s: ordinary %v, want %v", c.name, req.Ordinary, want)
		}
		if all := logs.All(); all[len(all)-1].Level != c.level {
			t.Errorf("%s: logged at %s, want %s", c.name, all[len(all)-1].Level, c.level)
		}
	}
}

func TestHTTPS(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, authorityFile)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	ca, err := LoadAuthority(dir) // after a restart
	if err != nil || !bytes.Equal(ca.PEM(), first.PEM()) {
		t.Fatalf("the authority differs after a restart: %v", err)
	}
	config, err := ca.TLS("127.0.0.1", "boot.example")
	if err != nil {
		t.Fatal(err)
	}
	h := handlerFor(t, HandlerConfig{Files: testFiles(t, bootfile.Config{}, "a.efi")})
	addr := serveHTTP(t, ServerConfig{Handler: h, TLS: config})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.PEM()) {
		t.Fatal("no certificate in PEM")
	}
	for _, c := range []struct {
		name string
		cfg  *tls.Config
		ok   bool
	}{
		{"TLS 1.3", &tls.Config{RootCAs: roots}, true},
		{"TLS 1.2, as firmware", &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}, true},
		{"by name", &tls.Config{RootCAs: roots, ServerName: "boot.example"}, true},
		{"a clock of the year 2001", &tls.Config{RootCAs: roots, Time: func() time.Time { return bootEpoch.AddDate(1, 0, 0) }}, true},
		{"HTTP/2", &tls.Config{RootCAs: roots, NextProtos: []string{"h2", "http/1.1"}}, true},
		{"another name", &tls.Config{RootCAs: roots, ServerName: "other.example"}, false},
		{"unknown authority", &tls.Config{RootCAs: x509.NewCertPool()}, false},
		{"TLS 1.1", &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
	} {
		if c.cfg.ServerName == "" {
			c.cfg.ServerName = "127.0.0.1"
		}
		conn, err := tls.Dial("tcp", addr, c.cfg)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		if got := ask(t, conn, bufio.NewReader(conn), "GET", "/a.efi"); got.status != 200 || got.body != "a.efi" {
			t.Errorf("%s: %d %q", c.name, got.status, got.body)
		}
		_ = conn.Close()
	}
}

// TestAuthorityOfAWrongClock: it is good with the right time, too.
func TestAuthorityOfAWrongClock(t *testing.T) {
	for _, year := range []int{1970, 2001, time.Now().Year() + 2} {
		der, _, err := newAuthority(time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); now.Before(cert.NotBefore) || now.AddDate(10, 0, 0).After(cert.NotAfter) {
			t.Errorf("made in %d it is good from %s to %s", year, cert.NotBefore, cert.NotAfter)
		}
	}
}

func TestLoadTLS(t *testing.T) {
	dir := t.TempDir()
	ca, err := LoadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, authorityFile)
	if _, err := LoadTLS(file, file); err != nil {
		t.Errorf("a certificate and its key: %v", err)
	}
	certOnly := filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(certOnly, ca.PEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadTLS(certOnly, certOnly); err == nil || !strings.Contains(err.Error(), certOnly) {
		t.Errorf("without a key: %v", err)
	}
	if _, err := ca.TLS(); err == nil {
		t.Error("a certificate for nobody")
	}
	// A damaged authority is not replaced.
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(dir); err == nil || !strings.Contains(err.Error(), "restore") {
		t.Errorf("damaged: %v", err)
	}
}

func TestNewServerRefuses(t *testing.T) {
	h := handlerFor(t, HandlerConfig{Files: testFiles(t, bootfile.Config{}, "a.efi")})
	for name, cfg := range map[string]ServerConfig{
		"no handler":     {},
		"limit":          {Handler: h, MaxConns: -2},
		"client limit":   {Handler: h, MaxPerClient: -2},
		"header timeout": {Handler: h, HeaderTimeout: time.Millisecond},
		"idle timeout":   {Handler: h, IdleTimeout: time.Millisecond},
		"header size":    {Handler: h, MaxHeader: 10},
	} {
		if _, err := NewServer(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewHandler(HandlerConfig{Files: testFiles(t, bootfile.Config{}, "a.efi"), Stall: time.Millisecond}); err == nil {
		t.Error("a stall time of 1ms was accepted")
	}
}
