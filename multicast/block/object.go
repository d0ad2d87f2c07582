package block

import "fmt"

// Limits.
const (
	// MaxBlocks bounds a session to about 3 TB at the usual block size, and a
	// receiver's tables to what it can allocate.
	MaxBlocks = 1 << 24
	// HashSize is the size of a block hash (BLAKE3-256) in bytes.
	HashSize = 32
	// maxBlockSize bounds what a receiver allocates for a block, in bytes.
	maxBlockSize = 16 << 20
)

// Object describes one object of a session: the part of its manifest that
// travels.
type Object struct {
	Digest    [32]byte `json:"-"`                // SHA-256 of the whole object
	SHA256    string   `json:"sha256"`           // Digest in hexadecimal
	Size      int64    `json:"size"`             // bytes
	BlockSize int      `json:"block_size"`       // bytes, of every block but the last
	Hashes    []byte   `json:"hashes,omitempty"` // BLAKE3-256 of each block, one after the other
}

// blocks checks the object and counts its blocks.
func (o *Object) blocks() (int, error) {
	if o.Size < 0 {
		return 0, fmt.Errorf("object of %d bytes: there is no such thing", o.Size)
	}
	if o.BlockSize <= 0 || o.BlockSize > maxBlockSize {
		return 0, fmt.Errorf("block size %d: must be 1 to %d bytes", o.BlockSize, maxBlockSize)
	}
	n := o.Size / int64(o.BlockSize)
	if o.Size%int64(o.BlockSize) != 0 {
		n++
	}
	if n > MaxBlocks {
		return 0, fmt.Errorf("object of %d bytes has %d blocks: at most %d", o.Size, n, MaxBlocks)
	}
	if len(o.Hashes) != 0 && int64(len(o.Hashes)) != n*HashSize {
		return 0, fmt.Errorf("object of %d blocks comes with %d bytes of block hashes, want %d", n, len(o.Hashes), n*HashSize)
	}
	return int(n), nil
}
