package wire

import (
	"bytes"
	"errors"
	"testing"
)

// The bytes are those of docs/protocol.md.
const goldenProbe = "14000000a1b2c3d40000000000000102000000070000002100abcdef"

func TestProbe(t *testing.T) {
	p := Probe{ID: 0xa1b2c3d4, Number: 258, Train: 7, Index: 33, Sent: 0xabcdef}
	b := p.Append(nil)
	if want := unhex(t, goldenProbe); !bytes.Equal(b, want) || len(b) != ProbeSize {
		t.Fatalf("probe is\n%x, want\n%x", b, want)
	}
	full := append(b, make([]byte, TagSize)...)
	if got, err := ParseProbe(full); err != nil || got != p {
		t.Fatalf("parsed %+v, %v; want %+v", got, err, p)
	}
	for n := range len(full) {
		if _, err := ParseProbe(full[:n]); !errors.Is(err, ErrShort) {
			t.Fatalf("probe cut to %d bytes: %v, want %v", n, err, ErrShort)
		}
	}
	for first, want := range map[byte]error{0x04: ErrVersion, 0x24: ErrVersion, 0x11: ErrType, 0x13: ErrType} {
		full[0] = first
		if _, err := ParseProbe(full); !errors.Is(err, want) {
			t.Errorf("first byte %#x: %v, want %v", first, err, want)
		}
	}
	// To members of sessions it is a foreign datagram.
	full[0] = 0x14
	if _, err := ParseHeader(full); !errors.Is(err, ErrType) {
		t.Errorf("as a datagram of a session: %v, want %v", err, ErrType)
	}
}

func FuzzProbe(f *testing.F) {
	f.Add(append(unhex(f, goldenProbe), make([]byte, TagSize)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProbe(b)
		if err != nil {
			return
		}
		if again := p.Append(nil); !bytes.Equal(again[4:], b[4:ProbeSize]) {
			t.Errorf("%x parses as %+v, which is written as %x", b[:ProbeSize], p, again)
		}
	})
}
