package wire

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
	want Request
}{
	{
		"EDK2 firmware, boot manager", // EDK2's own PXE driver under OVMF
		"0001" + hexString("bootmgfw.efi") + "00" + hexString("octet") + "00" +
			hexString("tsize") + "00" + hexString("0") + "00" +
			hexString("blksize") + "00" + hexString("1468") + "00" +
			hexString("windowsize") + "00" + hexString("4") + "00",
		Request{Name: "bootmgfw.efi", Options: []Option{{"tsize", "0"}, {"blksize", "1468"}, {"windowsize", "4"}}},
	},
	{
		"Windows boot manager, WIM",
		"0001" + hexString(`\Boot\boot.wim`) + "00" + hexString("octet") + "00" +
			hexString("tsize") + "00" + hexString("0") + "00" +
			hexString("blksize") + "00" + hexString("1456") + "00" +
			hexString("windowsize") + "00" + hexString("16") + "00" +
			hexString("msftwindow") + "00" + hexString("31416") + "00",
		Request{Name: `\Boot\boot.wim`, Options: bootManager(1456, 16)},
	},
	{
		"no options, upper-case mode",
		"0001" + hexString("pxelinux.0") + "00" + hexString("NETASCII") + "00",
		Request{Name: "pxelinux.0", Mode: Netascii},
	},
	{
		"ROM that copies the end option behind the name",
		"0001" + hexString("pxelinux.0") + "ff00" + hexString("octet") + "00",
		Request{Name: "pxelinux.0"},
	},
	{
		"ROM that sends its whole buffer",
		"0001" + hexString("a") + "00" + hexString("octet") + "00" + hexString("tsize") + "00" + hexString("0") + "00" + "000000000000",
		Request{Name: "a", Options: []Option{{"tsize", "0"}}},
	},
	{
		"option cut off",
		"0001" + hexString("a") + "00" + hexString("octet") + "00" + hexString("tsize") + "00" + hexString("0"),
		Request{Name: "a"},
	},
	{
		"write request",
		"0002" + hexString("log") + "00" + hexString("octet") + "00",
		Request{Write: true, Name: "log"},
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
			got, err := ParseRequest(unhex(t, tt.hex))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestParseRequestTruncated cuts a request at every byte: it is either refused or
// understood as far as it goes, never misread.
func TestParseRequestTruncated(t *testing.T) {
	whole := readRequest("dir/file", "octet", bootManager(1456, 16)...)
	full, err := ParseRequest(whole)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		r, err := ParseRequest(whole[:n])
		if n < len("..dir/file.octet.") {
			if err == nil {
				t.Errorf("%d bytes: understood as %+v", n, r)
			}
			continue
		}
		if err != nil || r.Name != full.Name {
			t.Errorf("%d bytes: %+v, %v", n, r, err)
		}
		if d := cmp.Diff(full.Options[:len(r.Options)], append([]Option{}, r.Options...)); d != "" {
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
		{"empty", nil, ErrNotRequest},
		{"one byte", []byte{0}, ErrNotRequest},
		{"DATA", []byte{0, 3, 0, 1}, ErrNotRequest},
		{"no name", []byte{0, 1}, ErrIllegal},
		{"name without end", []byte("\x00\x01abc"), ErrIllegal},
		{"no mode", []byte("\x00\x01abc\x00"), ErrIllegal},
		{"mode without end", []byte("\x00\x01abc\x00octet"), ErrIllegal},
		{"mail", []byte("\x00\x01abc\x00mail\x00"), ErrIllegal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseRequest(tt.b); !errors.Is(err, tt.want) {
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
	r, err := ParseRequest(readRequest("a", "octet", options...))
	if err != nil || len(r.Options) != maxRequestOptions {
		t.Errorf("%d options, %v", len(r.Options), err)
	}
}

// TestGoldenAnswers pins down what leaves the server, byte by byte.
func TestGoldenAnswers(t *testing.T) {
	_, options := Negotiate(bootManager(1456, 16), false, Bounds{BlockSize: 1468, Window: 64, Size: 577000000})
	header := make([]byte, HeaderSize)
	PutDataHeader(header, 65536+258)
	for _, tt := range []struct {
		name string
		got  []byte
		want string
	}{
		{"OACK", AppendOACK(nil, options), "0006" +
			hexString("tsize") + "00" + hexString("577000000") + "00" +
			hexString("blksize") + "00" + hexString("1456") + "00" +
			hexString("windowsize") + "00" + hexString("16") + "00" +
			hexString("msftwindow") + "00" + hexString("27182") + "00"},
		{"ACK", AppendAck(nil, 0xfffe), "0004 fffe"},
		{"DATA header after a turn", header, "0003 0102"},
		{"DATA", AppendData(nil, 1, []byte("hi")), "0003 0001" + hexString("hi")},
		{"DATA, empty last block", AppendData(nil, 65536, nil), "0003 0000"},
		{"ERROR", AppendError(nil, CodeNotFound, "file not found: a"), "0005 0001" + hexString("file not found: a") + "00"},
	} {
		if !bytes.Equal(tt.got, unhex(t, tt.want)) {
			t.Errorf("%s: %x, want %s", tt.name, tt.got, tt.want)
		}
	}
}

func TestParseAck(t *testing.T) {
	for _, tt := range []struct {
		hex  string
		want Ack
		ok   bool
	}{
		{"0004 0000", Ack{}, true},
		{"0004 ffff", Ack{Block: 65535}, true},
		{"0004 0000 10", Ack{Window: 16, HasWindow: true}, true},
		{"0004 0102 00", Ack{Block: 0x102, HasWindow: true}, true},
		{"0004 0102 ff 00 00", Ack{Block: 0x102, Window: 255, HasWindow: true}, true},
		{"0004 01", Ack{}, false},
		{"0004", Ack{}, false},
		{"0003 0001", Ack{}, false},
		{"", Ack{}, false},
	} {
		got, ok := ParseAck(unhex(t, tt.hex))
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
		got, ok := ParseError(unhex(t, tt.hex))
		if got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v %v", tt.hex, got, ok)
		}
	}
}

func TestParseOACKTruncated(t *testing.T) {
	whole := AppendOACK(nil, bootManager(1456, 16))
	for n := range whole {
		options, ok := ParseOACK(whole[:n])
		if again := AppendOACK(nil, options); ok && !bytes.Equal(again, whole[:n]) {
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
		r, err := ParseRequest(b)
		if err != nil {
			if !errors.Is(err, ErrNotRequest) && !errors.Is(err, ErrIllegal) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(r.Options) > maxRequestOptions {
			t.Fatalf("%d options", len(r.Options))
		}
		for _, write := range []bool{false, true} {
			terms, answer := Negotiate(r.Options, write, Bounds{BlockSize: 1468, Window: 64, Size: 5})
			if terms.BlockSize < MinBlockSize || terms.BlockSize > 1468 || terms.Window < 1 || terms.Window > 64 ||
				terms.Timeout < 0 || terms.Timeout.Seconds() > 255 {
				t.Fatalf("terms %+v", terms)
			}
			if len(answer) > len(r.Options) {
				t.Fatalf("answer %v to %v", answer, r.Options)
			}
			if back, ok := ParseOACK(AppendOACK(nil, answer)); !ok || len(back) != len(answer) {
				t.Fatalf("OACK of %v is read as %v", answer, back)
			}
		}
	})
}
