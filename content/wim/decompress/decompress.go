// Package decompress decodes the three compressions of Windows Imaging files,
// one chunk at a time: XPRESS, LZX and LZMS. It knows nothing of the files.
//
// Terms:
//
//   - a chunk is what is compressed by itself: nothing that was decoded before
//     has any influence on it;
//   - a literal is one byte that stands for itself, a match repeats bytes that
//     were decoded before, offset bytes back;
//   - a slot is a class of numbers: a Huffman code says the slot, plain bits
//     the number within it.
//
// A decoder is told how many bytes the chunk becomes and gives exactly so many
// or an Error. It never writes beyond them, and takes memory when it is made
// and not while it decodes. It has no state between chunks; that it is an
// object is for the sake of its tables. One goroutine uses it at a time.
package decompress

import "fmt"

// Decoder decompresses chunks.
type Decoder interface {
	// Decode makes all of dst from all of src. Its errors are of type Error.
	Decode(dst, src []byte) error
}

// Error says in which way the bytes of a chunk contradict the compression.
type Error string

func (e Error) Error() string { return string(e) }

func corrupt(format string, args ...any) error { return Error(fmt.Sprintf(format, args...)) }

// The chunks that each compression has. All are powers of two.
const (
	XPRESSMinChunk = 1 << 12
	XPRESSMaxChunk = 1 << 16 // its offsets have at most 16 bits
	LZXMinChunk    = 1 << 15
	LZXMaxChunk    = 1 << 21
	LZMSMinChunk   = 1 << 15
	LZMSMaxChunk   = 1 << 30 // Microsoft's have 128 KiB, and 64 MiB in solid resources
)
