package tftp

import (
	"bytes"
	"testing"
)

// FuzzAnswers: what the other end of a transfer may send is understood or not, and
// texts of it can be shown.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte("\x00\x05\x00\x08gone\x00"))
	f.Add([]byte("\x00\x05\x00\x00\x1b[2J\xff\xfe no end"))
	f.Add([]byte("\x00\x03\x00\x01data"))
	f.Add([]byte("\x00\x06blksize\x001468\x00"))
	f.Add([]byte("\x00\x04\x00\x01\x08"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := parseError(b); ok {
			if len(e.Text) > maxErrorText || bytes.ContainsFunc([]byte(e.Text), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("text %q", e.Text)
			}
		}
		if _, payload, ok := parseData(b); ok && len(payload) != len(b)-headerSize {
			t.Fatalf("%d bytes of %d", len(payload), len(b))
		}
		if len(b) >= headerSize {
			parseOACK(b)
		}
		parseAck(b)
	})
}

// FuzzArrival: control messages come from the kernel, and are of other kinds now and
// then.
func FuzzArrival(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0}, 40))
	f.Add([]byte("\x1c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x08\x00\x00\x00\x02\x00\x00\x00\x0a\x4d\x00\x01\x0a\x4d\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("\x24\x00\x00\x00\x00\x00\x00\x00\x29\x00\x00\x00\x32\x00\x00\x00\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseArrival(b); ok && !a.dst.IsValid() {
			t.Fatalf("%+v", a)
		}
	})
}
