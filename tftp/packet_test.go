package tftp

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden are datagrams as they are on the wire. The requests are those observed
// from the programs named.
var golden = []struct {
	name string
	hex  string
	want request
}{
	{
		"EDK2 firmware, boot manager", // EDK2's own PXE driver under OVMF
		"0001" + hexString("bootmgfw.efi") + "00" + hexString("octet") + "00" +
			hexString("tsize") + "00" + hexString("0") + "00" +
			hexString("blksize") + "00" + hexString("1468") + "00" +
			hexString("windowsize") + "00" + hexString("4") + "00",
		request{name: "bootmgfw.efi", options: []Option{{"tsize", "0"}, {"blksize", "1468"}, {"windowsize", "4"}}},
	},
	{
		"Windows boot manager, WIM",
		"0001" + hexString(`\Boot\boot.wim`) + "00" + hexString("octet") + "00" +
			hexString("tsize") + "00" + hexString("0") + "00" +
			hexString("blksize") + "00" + hexString("1456") + "00" +
			hexString("windowsize") + "00" + hexString("16") + "00" +
			hexString("msftwindow") + "00" + hexString("31416") + "00",
		request{name: `\Boot\boot.wim`, options: bootManager(1456, 16)},
	},
	{
		"no options, upper-case mode",
		"0001" + hexString("pxelinux.0") + "00" + hexString("NETASCII") + "00",
		request{name: "pxelinux.0", mode: Netascii},
	},
	{
		"ROM that copies the end option behind the name",
		"0001" + hexString("pxelinux.0") + "ff00" + hexString("octet") + "00",
		request{name: "pxelinux.0"},
	},
	{
		"ROM that sends its whole buffer",
		"0001" + hexString("a") + "00" + hexString("octet") + "00" + hexString("tsize") + "00" + hexString("0") + "00" + "000000000000",
		request{name: "a", options: []Option{{"tsize", "0"}}},
	},
	{
		"option cut off",
		"0001" + hexString("a") + "00" + hexString("octet") + "00" + hexString("tsize") + "00" + hexString("0"),
		request{name: "a"},
	},
	{
		"write request",
		"0002" + hexString("log") + "00" + hexString("octet") + "00",
		request{write: true, name: "log"},
	},
}

func hexString(s string) string { return hex.EncodeToString([]byte(s)) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseRequest(t *testing.T) {
	for _, tt := range golden {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseRequest(unhex(t, tt.hex))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(request{})); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestParseRequestTruncated cuts a request at every byte: it is either refused or
// understood as far as it goes, never misread.
func TestParseRequestTruncated(t *testing.T) {
	whole := rrqBytes("dir/file", "octet", bootManager(1456, 16)...)
	full, err := parseRequest(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		r, err := parseRequest(whole[:n])
		if n < len("..dir/file.octet.") {
			if err == nil {
				t.Errorf("%d bytes: understood as %+v", n, r)
			}
			continue
		}
		if err != nil || r.name != full.name {
			t.Errorf("%d bytes: %+v, %v", n, r, err)
		}
		if d := cmp.Diff(full.options[:len(r.options)], append([]Option{}, r.options...)); d != "" {
			t.Errorf("%d bytes: %s", n, d)
		}
	}
}

func TestParseRequestErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    []byte
		want error
	}{
		{"empty", nil, errNotRequest},
		{"one byte", []byte{0}, errNotRequest},
		{"DATA", []byte{0, 3, 0, 1}, errNotRequest},
		{"no name", []byte{0, 1}, ErrIllegal},
		{"name without end", []byte("\x00\x01abc"), ErrIllegal},
		{"no mode", []byte("\x00\x01abc\x00"), ErrIllegal},
		{"mode without end", []byte("\x00\x01abc\x00octet"), ErrIllegal},
		{"mail", []byte("\x00\x01abc\x00mail\x00"), ErrIllegal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := parseRequest(tt.b); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRequestOptionsBounded(t *testing.T) {
	options := make([]Option, 1000)
	for i := range options {
		options[i] = Option{"x", "1"}
	}
	r, err := parseRequest(rrqBytes("a", "octet", options...))
	if err != nil || len(r.options) != maxRequestOptions {
		t.Errorf("%d options, %v", len(r.options), err)
	}
}

// TestGoldenAnswers pins down what leaves the server, byte by byte.
func TestGoldenAnswers(t *testing.T) {
	_, options := negotiate(bootManager(1456, 16), false, bounds{blockSize: 1468, window: 64, size: 577000000})
	header := make([]byte, headerSize)
	putDataHeader(header, 65536+258)
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"OACK", appendOACK(nil, options), "0006" +
			hexString("tsize") + "00" + hexString("577000000") + "00" +
			hexString("blksize") + "00" + hexString("1456") + "00" +
			hexString("windowsize") + "00" + hexString("16") + "00" +
			hexString("msftwindow") + "00" + hexString("27182") + "00"},
		{"ACK", appendAck(nil, 0xfffe), "0004 fffe"},
		{"DATA header after a turn", header, "0003 0102"},
		{"DATA", appendData(nil, 1, []byte("hi")), "0003 0001" + hexString("hi")},
		{"DATA, empty last block", appendData(nil, 65536, nil), "0003 0000"},
		{"ERROR", appendError(nil, CodeNotFound, "file not found: a"), "0005 0001" + hexString("file not found: a") + "00"},
	} {
		if !bytes.Equal(tt.got, unhex(t, tt.want)) {
			t.Errorf("%s: %x, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestParseAck(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want ack
		ok   bool
	}{
		{"0004 0000", ack{}, true},
		{"0004 ffff", ack{block: 65535}, true},
		{"0004 0000 10", ack{window: 16, hasWindow: true}, true},
		{"0004 0102 00", ack{block: 0x102, hasWindow: true}, true},
		{"0004 0102 ff 00 00", ack{block: 0x102, window: 255, hasWindow: true}, true},
		{"0004 01", ack{}, false},
		{"0004", ack{}, false},
		{"0003 0001", ack{}, false},
		{"", ack{}, false},
	} {
		got, ok := parseAck(unhex(t, tt.hex))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v %v", tt.hex, got, ok)
		}
	}
}

func TestParseError(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want PeerError
		ok   bool
	}{
		{"0005 0008" + hexString("User aborted the transfer") + "00", PeerError{8, "User aborted the transfer"}, true},
		{"0005 0000", PeerError{0, ""}, true},
		{"0005 0000 41 42", PeerError{0, "AB"}, true}, // no end
		{"0005 0002 1b 5b 41 00 42", PeerError{2, "?[A"}, true},
		{"0005 00", PeerError{}, false},
		{"0004 0001", PeerError{}, false},
	} {
		got, ok := parseError(unhex(t, tt.hex))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v %v", tt.hex, got, ok)
		}
	}
}

func TestParseOACKTruncated(t *testing.T) {
	whole := appendOACK(nil, bootManager(1456, 16))
	for n := range whole {
		options, ok := parseOACK(whole[:n])
		if again := appendOACK(nil, options); ok && !bytes.Equal(again, whole[:n]) {
			t.Errorf("%d bytes: understood as %v", n, options)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, g := range golden {
		f.Add(unhex(f, g.hex))
	}
	f.Add([]byte("\x00\x01../../etc/passwd\x00octet\x00blksize\x0099999999999999999999\x00"))
	f.Add([]byte("\x00\x01a\x00octet\x00blksize\x00-1\x00windowsize\x000\x00timeout\x00256\x00tsize\x00x\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(b)
		if err != nil {
			if !errors.Is(err, errNotRequest) && !errors.Is(err, ErrIllegal) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(r.options) > maxRequestOptions {
			t.Fatalf("%d options", len(r.options))
		}
		if path, err := cleanName(r.name); err == nil {
			if path == "" || strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\\\x00") ||
				strings.Contains("/"+path+"/", "/../") {
				t.Fatalf("name %q became %q", r.name, path)
			}
			if again, err := cleanName(path); err != nil || again != path {
				t.Fatalf("%q cleaned again is %q, %v", path, again, err)
			}
		}
		for _, write := range []bool{false, true} {
			terms, answer := negotiate(r.options, write, bounds{blockSize: 1468, window: 64, size: 5})
			if terms.BlockSize < minBlockSize || terms.BlockSize > 1468 || terms.Window < 1 || terms.Window > 64 ||
				terms.Timeout < 0 || terms.Timeout.Seconds() > 255 {
				t.Fatalf("terms %+v", terms)
			}
			if len(answer) > len(r.options) {
				t.Fatalf("answer %v to %v", answer, r.options)
			}
			if back, ok := parseOACK(appendOACK(nil, answer)); !ok || len(back) != len(answer) {
				t.Fatalf("OACK of %v is read as %v", answer, back)
			}
		}
	})
}

// FuzzAcknowledge feeds a transfer in the middle of its work any sequence of
// datagrams: what it believes to be acknowledged never goes back and never passes
// what was sent.
func FuzzAcknowledge(f *testing.F) {
	f.Add([]byte{0, 4, 0, 1, 0, 4, 0, 2}, uint8(4), false)
	f.Add([]byte{0, 4, 0xff, 0xff, 0, 4, 0, 0, 0, 4, 0, 9}, uint8(16), false)
	f.Add([]byte{0, 4, 0, 1, 255, 0, 4, 0, 3, 0}, uint8(1), true)
	f.Add([]byte{0, 5, 0, 8, 0, 3, 0, 1}, uint8(1), true)
	f.Fuzz(func(t *testing.T, b []byte, window uint8, varWindow bool) {
		r := &reader{
			terms: Terms{BlockSize: 512, Window: max(1, int(window)), VarWindow: varWindow},
			stats: &Stats{}, final: -1, window: max(1, int(window)), next: 1, heard: func() {}, moved: never,
			src: newOctets(patternFile(200*512), 200*512, 512, max(1, int(window)), nothing), link: nullLink{},
		}
		step := 4
		if varWindow {
			step = 5
		}
		for len(b) >= step {
			if err := r.fly(t.Context()); err != nil {
				t.Fatal(err)
			}
			acked := r.acked
			if _, ok := parseError(b[:step]); ok {
				return
			}
			if a, ok := parseAck(b[:step]); ok {
				if _, done := r.acknowledge(a); done {
					if r.acked != 201 {
						t.Fatalf("done at block %d of 201", r.acked)
					}
					return
				}
			}
			if r.acked < acked || r.acked > r.maxSent || r.next <= r.acked || r.next > r.maxSent+1 || r.maxSent > 201 {
				t.Fatalf("acked %d (was %d), next %d, sent %d", r.acked, acked, r.next, r.maxSent)
			}
			if r.window < 1 || r.maxSent-r.acked > maxVarWindow {
				t.Fatalf("window %d, %d in flight", r.window, r.maxSent-r.acked)
			}
			b = b[step:]
		}
	})
}
