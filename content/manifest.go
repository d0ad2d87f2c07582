package content

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/blake3"
)

// The binary form of a manifest, on disk and on the wire; numbers are
// little-endian:
//
//	0x00   8  magic "castman\0"
//	0x08   4  version, 1
//	0x0c   4  hash algorithm, 1 = BLAKE3-256
//	0x10   4  block size in bytes
//	0x14   4  zero
//	0x18   8  size of the object in bytes
//	0x20  32  digest of the object (SHA-256)
//	0x40 32n  hash of each block
//	     32   BLAKE3-256 of everything before
const (
	manifestMagic   = "castman\x00"
	manifestVersion = 1
	manifestBLAKE3  = 1
	manifestHeader  = 0x40

	// MaxObjectSize (16 TiB) is above any image and keeps the arithmetic and
	// the memory for a manifest that claims to be one (3 GB) within bounds.
	MaxObjectSize = 16 << 40
)

// ErrManifest says that the bytes are not a manifest, or a damaged one.
var ErrManifest = errors.New("manifest is damaged")

// BlockCount is the number of blocks that an object of size bytes has.
func BlockCount(size int64) int64 { return (size + BlockSize - 1) / BlockSize }

// Block returns the place of block i in the object and its hash. It panics when
// there is no block i.
func (m *Manifest) Block(i int) (offset int64, length int, hash []byte) {
	hash = m.Hashes[i*HashSize : (i+1)*HashSize]
	offset = int64(i) * int64(m.BlockSize)
	return offset, int(min(int64(m.BlockSize), m.Size-offset)), hash
}

// AppendBinary appends the binary form of m to b. It never fails.
func (m *Manifest) AppendBinary(b []byte) ([]byte, error) {
	start := len(b)
	b = append(b, manifestMagic...)
	b = binary.LittleEndian.AppendUint32(b, manifestVersion)
	b = binary.LittleEndian.AppendUint32(b, manifestBLAKE3)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.BlockSize))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = binary.LittleEndian.AppendUint64(b, uint64(m.Size))
	b = append(b, m.Digest[:]...)
	b = append(b, m.Hashes...)
	sum := blake3.Sum256(b[start:])
	return append(b, sum[:]...), nil
}

// MarshalBinary gives the binary form of m. It never fails.
func (m *Manifest) MarshalBinary() ([]byte, error) {
	return m.AppendBinary(make([]byte, 0, manifestHeader+len(m.Hashes)+HashSize))
}

// UnmarshalBinary reads what MarshalBinary wrote and keeps no reference to b.
// Errors: ErrManifest.
func (m *Manifest) UnmarshalBinary(b []byte) error {
	if len(b) < manifestHeader+HashSize || string(b[:8]) != manifestMagic {
		return fmt.Errorf("%w: it has no header", ErrManifest)
	}
	body, sum := b[:len(b)-HashSize], [HashSize]byte(b[len(b)-HashSize:])
	if blake3.Sum256(body) != sum {
		return fmt.Errorf("%w: its checksum is wrong", ErrManifest)
	}
	version, algorithm := binary.LittleEndian.Uint32(b[0x08:]), binary.LittleEndian.Uint32(b[0x0c:])
	block, zero := binary.LittleEndian.Uint32(b[0x10:]), binary.LittleEndian.Uint32(b[0x14:])
	size := binary.LittleEndian.Uint64(b[0x18:])
	switch {
	case version != manifestVersion || algorithm != manifestBLAKE3 || zero != 0:
		return fmt.Errorf("%w: version %d with hash %d is not known", ErrManifest, version, algorithm)
	case block != BlockSize:
		return fmt.Errorf("%w: block size %d is not %d", ErrManifest, block, BlockSize)
	case size > MaxObjectSize:
		return fmt.Errorf("%w: object size %d is beyond any file", ErrManifest, size)
	}
	hashes := body[manifestHeader:]
	if want := BlockCount(int64(size)) * HashSize; int64(len(hashes)) != want {
		return fmt.Errorf("%w: %d bytes of hashes, %d bytes of object need %d", ErrManifest, len(hashes), size, want)
	}
	m.Size, m.BlockSize = int64(size), BlockSize
	copy(m.Digest[:], b[0x20:])
	m.Hashes = append([]byte(nil), hashes...)
	return nil
}

// ReadManifest reads a manifest in binary form to the end of r. limit is the
// size of the largest object that the caller accepts, and bounds the memory
// that is taken. Errors: ErrManifest, or the reader's.
func ReadManifest(r io.Reader, limit int64) (*Manifest, error) {
	most := manifestHeader + BlockCount(min(limit, MaxObjectSize))*HashSize + HashSize
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%w: longer than an object of %d bytes needs", ErrManifest, limit)
	}
	m := new(Manifest)
	if err := m.UnmarshalBinary(b); err != nil {
		return nil, err
	}
	return m, nil
}

// VerifyBlock says whether b is block i of the object that m describes.
func (m *Manifest) VerifyBlock(i int, b []byte) bool {
	if i < 0 || i >= m.Blocks() {
		return false
	}
	_, length, want := m.Block(i)
	have := blake3.Sum256(b)
	return len(b) == length && bytes.Equal(have[:], want)
}
