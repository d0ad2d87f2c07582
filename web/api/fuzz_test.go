package api

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// FuzzFrames: a server's answer in frames may be anything. What is written is no more
// than has come, and an answer that was sent is read as it was.
func FuzzFrames(f *testing.F) {
	var good, failed bytes.Buffer
	SendFrames(&good, func(w io.Writer) error { _, err := w.Write([]byte("object")); return err })
	SendFrames(&failed, func(io.Writer) error { return errors.New("the disk") })
	for _, b := range [][]byte{good.Bytes(), failed.Bytes(), {}, {0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff, 1}, append([]byte{0, 0, 0, 0}, `{"problem":{"status":1}}`...)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		told := int64(0)
		err := ReadFrames(bytes.NewReader(b), &out, func(done int64) { told = done })
		if out.Len() > len(b) || err == nil && told != int64(out.Len()) {
			t.Errorf("%d bytes out of %d, told %d", out.Len(), len(b), told)
		}
		var sent, back bytes.Buffer
		SendFrames(&sent, func(w io.Writer) error { _, err := w.Write(b); return err })
		if err := ReadFrames(&sent, &back, nil); err != nil || !bytes.Equal(back.Bytes(), b) {
			t.Errorf("%d bytes came back as %d, %v", len(b), back.Len(), err)
		}
	})
}
