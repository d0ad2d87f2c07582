package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// tftpFolder starts a server that serves the files of a folder, and returns it.
func tftpFolder(t *testing.T, p *point.Point, files map[string][]byte) string {
	t.Helper()
	dir := filepath.Join(p.Network.Dir, "served")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	serve(t, p, "--dhcp", "off", "--loaders", dir)
	return dir
}

// A text arrives by netascii as it was: tftp-hpa turns what is on the wire into
// what Unix has. Carriage returns and line ends meet the ends of blocks.
func TestTFTPNetascii(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	text := make([]byte, 200_003)
	for i := range text {
		text[i] = "ab\r\n\x00 z"[rand.IntN(7)]
	}
	tftpFolder(t, p, map[string][]byte{"startup.nsh": text})
	out := filepath.Join(p.Network.Dir, "got")
	for _, mode := range []string{"ascii", "netascii", "binary"} {
		got := fetch(t, p.Network.Clients[0], out, "tftp", "-m", mode, lab.ServerAddr.String(), "-c", "get", "startup.nsh", out)
		if !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes arrived, not the %d of the file, or others", mode, len(got), len(text))
		}
	}
}

// lockStep is a TFTP client that says what it wants to.
type lockStep struct {
	t    *testing.T
	conn *net.UDPConn
	from *net.UDPAddr // of the transfer
}

// ask sends a request from a host.
func ask(t *testing.T, h *lab.Host, name string) *lockStep {
	t.Helper()
	c := &lockStep{t: t}
	err := h.Do(func() (err error) {
		if c.conn, err = net.ListenUDP("udp4", nil); err == nil {
			_, err = c.conn.WriteTo([]byte("\x00\x01"+name+"\x00octet\x00"), &net.UDPAddr{IP: net.IP(lab.ServerAddr.AsSlice()), Port: 69})
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.conn.Close() })
	return c
}

// data takes one block; ok is false when none comes in time.
func (c *lockStep) data(wait time.Duration) (block uint16, size int, ok bool) {
	c.t.Helper()
	var b [2048]byte
	if err := c.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	n, from, err := c.conn.ReadFromUDP(b[:])
	if err != nil {
		return 0, 0, false
	}
	if n < 4 || b[0] != 0 || b[1] != 3 {
		c.t.Fatalf("instead of data came %q", b[:n])
	}
	c.from = from
	return uint16(b[2])<<8 | uint16(b[3]), n - 4, true
}

func (c *lockStep) acknowledge(block uint16) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDP([]byte{0, 4, byte(block >> 8), byte(block)}, c.from); err != nil {
		c.t.Fatal(err)
	}
}

// fetchBut takes a whole file of that many blocks and keeps silent about the last.
func (c *lockStep) fetchBut(last uint16) {
	c.t.Helper()
	for have := uint16(0); have < last; {
		block, _, ok := c.data(5 * time.Second)
		if !ok {
			c.t.Fatalf("no block %d", have+1)
		}
		if block == have+1 {
			have = block
			if have < last {
				c.acknowledge(have)
			}
		}
	}
}

// repeats counts what still comes.
func (c *lockStep) repeats(wait time.Duration) (n int) {
	for end := time.Now().Add(wait); ; n++ {
		if _, _, ok := c.data(time.Until(end)); !ok {
			return n
		}
	}
}

// A client that never acknowledges the last block has the file all the same: the
// transfer ends well, after few repetitions, and after none once the client asks
// for something else. The Windows boot manager is such a client.
func TestTFTPLastAckIsLost(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 2})
	const blocks = 6
	tftpFolder(t, p, map[string][]byte{"first.efi": make([]byte, (blocks-1)*512+100), "second.efi": make([]byte, 512), "silent.efi": make([]byte, (blocks-1)*512)})
	said := func(name, confirmed string) {
		t.Helper()
		if _, err := p.Server.Output.WaitFor(t.Context(), `transfer finished.*/?`+name+`".*"confirmed": `+confirmed, 15*time.Second); err != nil {
			t.Error(err)
		}
	}

	silent := ask(t, p.Network.Clients[1], "silent.efi") // its last block is an empty one
	silent.fetchBut(blocks)

	first := ask(t, p.Network.Clients[0], "first.efi")
	first.fetchBut(blocks)
	second := ask(t, p.Network.Clients[0], "second.efi")
	second.fetchBut(2)
	second.acknowledge(2)
	said("second.efi", "true")
	first.repeats(10 * time.Millisecond) // what was on its way
	if n := first.repeats(2 * time.Second); n > 0 {
		t.Errorf("the last block was repeated %d times after the client had asked for another file", n)
	}
	if n := silent.repeats(6 * time.Second); n < 1 || n > 7 {
		t.Errorf("the last block was repeated %d times, want 1 to 7", n)
	}
	said("silent.efi", "false")
	said("first.efi", "false")
	if strings.Contains(p.Server.Output.String(), "aborted") {
		t.Error("a transfer was aborted")
	}
}

// A file of many rounds of block numbers arrives whole, by a client that is not
// ours. CASTPOINT_LARGE is its size in bytes.
func TestTFTPLargeFile(t *testing.T) {
	size := int64(600e6)
	if s := os.Getenv("CASTPOINT_LARGE"); s != "" {
		var err error
		if size, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatalf("CASTPOINT_LARGE: %v", err)
		}
	}
	p := newPoint(t, lab.Config{})
	dir := filepath.Join(p.Network.Dir, "served")
	path := filepath.Join(dir, "large.bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Mostly holes; what is between them says where it belongs.
	for at := int64(0); at < size; at += 97_000_003 {
		if _, err := f.WriteAt(fmt.Appendf(nil, "offset %d", at), at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	serve(t, p, "--dhcp", "off", "--loaders", dir)
	// lo carries blocks of this size in one packet.
	block := "8192"
	if size > 10e9 {
		block = "65464"
	}
	hash := func(script string) string {
		t.Helper()
		out, code, err := p.Network.Server.Run(t.Context(), "/bin/bash", "-ec", "set -o pipefail; "+script, "sh", path, block, lab.ServerAddr.String())
		if err != nil || code != 0 {
			t.Fatalf("%s: code %d, %v: %s", script, code, err, out)
		}
		return strings.Fields(out)[0]
	}
	began := time.Now()
	got := hash(`curl -sS --fail --tftp-blksize "$2" "tftp://$3/large.bin" | sha256sum`)
	took := time.Since(began)
	if want := hash(`sha256sum <"$1"`); got != want {
		t.Errorf("SHA-256 is %s, want %s", got, want)
	}
	t.Logf("%d bytes in blocks of %s in %s", size, block, took)
}
