package api

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// BytesType is the media type of bytes that are no text.
const BytesType = "application/octet-stream"

// Bytes whose end can say how it went travel in frames: a length of 4 bytes,
// big-endian, and as many bytes; a length of 0 ends them, and a Step follows.
const frameSize = 256 << 10

// SendFrames answers with the bytes that f writes, and says at their end how it went.
func SendFrames(w io.Writer, f func(w io.Writer) error) {
	buffer := bufio.NewWriterSize(frames{w}, frameSize)
	err := f(buffer)
	if err == nil {
		err = buffer.Flush()
	}
	last := Step{Result: json.RawMessage("true")}
	if err != nil {
		last = Step{Problem: AsProblem(err)}
	}
	if _, err := w.Write(make([]byte, 4)); err != nil {
		return // the client has gone
	}
	_ = json.NewEncoder(w).Encode(last) // likewise
}

// frames writes each Write as a frame.
type frames struct{ w io.Writer }

func (f frames) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if _, err := f.w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b)))); err != nil {
		return 0, err
	}
	return f.w.Write(b)
}

// ReadFrames copies the bytes of an answer in frames to w. progress, which may be nil,
// is told how many have been written.
func ReadFrames(r io.Reader, w io.Writer, progress func(done int64)) error {
	in := bufio.NewReaderSize(r, frameSize)
	for done := int64(0); ; {
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("answer of the server ends early: %w", err)
		}
		n := int64(binary.BigEndian.Uint32(head[:]))
		if n == 0 {
			break
		}
		if _, err := io.CopyN(w, in, n); err != nil {
			return fmt.Errorf("write export: %w", err)
		}
		if done += n; progress != nil {
			progress(done)
		}
	}
	var last Step
	if err := json.NewDecoder(in).Decode(&last); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	if last.Problem != nil {
		return last.Problem
	}
	return nil
}
