package content

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// copyBuffer is the unit of reading and writing while an object is hashed: a
// whole number of blocks, large enough that handing it to the SHA-256 goroutine
// costs nothing.
const copyBuffer = 8 * BlockSize

// errSourceSize says that a source gave more or fewer bytes than it should.
var errSourceSize = errors.New("source changed size while it was read")

// digestReader reads exactly size bytes from r, writes them to every one of
// dst, and returns their digest and block hashes. SHA-256, the slowest part,
// runs in a goroutine of its own beside the block hashes and the writing; it
// ends before digestReader returns. advance is called after each buffer with
// its length; an error from it ends the reading.
func digestReader(ctx context.Context, r io.Reader, size int64, advance func(int64) error, dst ...io.Writer) (*Manifest, error) {
	sum := sha256.New()
	work, done := make(chan []byte), make(chan struct{})
	go func() {
		defer close(done)
		for b := range work {
			sum.Write(b)
			done <- struct{}{}
		}
	}()
	defer func() {
		close(work)
		<-done
	}()

	m := &Manifest{Size: size, BlockSize: BlockSize}
	m.Hashes = make([]byte, 0, BlockCount(size)*HashSize)
	buf := make([]byte, min(copyBuffer, size+1))
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		b := buf[:min(int64(len(buf)), left)]
		if _, err := io.ReadFull(r, b); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, fmt.Errorf("%w: it ended %d bytes early", errSourceSize, left)
			}
			return nil, err
		}
		work <- b
		err := hashAndWrite(m, b, dst)
		<-done
		if err != nil {
			return nil, err
		}
		left -= int64(len(b))
		if err := advance(int64(len(b))); err != nil {
			return nil, err
		}
	}
	if n, err := r.Read(buf[:1]); n > 0 {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", errSourceSize, size)
	} else if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	sum.Sum(m.Digest[:0])
	return m, nil
}

// hashAndWrite appends the hashes of the blocks in b to m and writes b. All
// calls but the last have whole blocks.
func hashAndWrite(m *Manifest, b []byte, dst []io.Writer) error {
	for rest := b; len(rest) > 0; {
		n := min(len(rest), BlockSize)
		h := blake3.Sum256(rest[:n])
		m.Hashes = append(m.Hashes, h[:]...)
		rest = rest[n:]
	}
	for _, w := range dst {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return nil
}
