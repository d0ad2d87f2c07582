package wire

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
		if e, ok := ParseError(b); ok {
			if len(e.Text) > maxErrorText || bytes.ContainsFunc([]byte(e.Text), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("text %q", e.Text)
			}
		}
		if _, payload, ok := ParseData(b); ok && len(payload) != len(b)-HeaderSize {
			t.Fatalf("%d bytes of %d", len(payload), len(b))
		}
		if len(b) >= HeaderSize {
			ParseOACK(b)
		}
		ParseAck(b)
	})
}
