package decompress

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// fuzzDecoder demands that a decoder ends, with an Error or not, writes
// nothing beyond its output, and gives the same as the other, which may be itself.
func fuzzDecoder(f *testing.F, d, other Decoder, limit uint32) {
	f.Add([]byte{}, uint32(0))
	f.Add(bytes.Repeat([]byte{0x11}, 400), uint32(1000))
	f.Add(bytes.Repeat([]byte{0xff}, 400), uint32(1000))
	f.Add(make([]byte, 400), uint32(40_000))
	f.Fuzz(func(t *testing.T, src []byte, size uint32) {
		if size == 0 || size > limit {
			return
		}
		guarded := bytes.Repeat([]byte{0x5a}, int(size)+64)
		dst := guarded[:size:size]
		err := d.Decode(dst, src)
		var kind Error
		if err != nil && !errors.As(err, &kind) {
			t.Errorf("error of no kind: %v", err)
		}
		if !bytes.Equal(guarded[size:], bytes.Repeat([]byte{0x5a}, 64)) {
			t.Error("wrote beyond the output")
		}
		again := make([]byte, size)
		if err2 := other.Decode(again, src); fmt.Sprint(err2) != fmt.Sprint(err) || err == nil && !bytes.Equal(again, dst) {
			t.Errorf("%v, and from the other decoder: %v", err, err2)
		}
	})
}

// FuzzXPRESS has chunks made by wimlib in its corpus.
func FuzzXPRESS(f *testing.F) {
	d := new(XPRESS)
	fuzzDecoder(f, d, d, XPRESSMaxChunk)
}

// FuzzLZX has chunks made by wimlib in its corpus.
func FuzzLZX(f *testing.F) {
	d := NewLZX(LZXMinChunk)
	fuzzDecoder(f, d, d, LZXMinChunk)
}

// FuzzLZXLarge decodes with the largest window, whose block sizes are wider.
func FuzzLZXLarge(f *testing.F) {
	d := NewLZX(LZXMaxChunk)
	fuzzDecoder(f, d, d, 1<<17)
}

// FuzzLZMS has chunks made by wimlib in its corpus. The other decoder is the plain one.
func FuzzLZMS(f *testing.F) {
	plain := NewLZMS()
	plain.plain = true
	fuzzDecoder(f, NewLZMS(), plain, 1<<17)
}
