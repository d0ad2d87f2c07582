// Package objects makes objects of multicast sessions for tests, and targets that keep
// them in memory.
package objects

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/zeebo/blake3"

	"castpoint/multicast/block"
)

// BlockSize is that of the objects, in bytes.
const BlockSize = 128 * block.DefaultSymbolSize

// New makes an object of n bytes and its description.
func New(n int, seed uint64) (block.Object, []byte) {
	data := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = rng.Read(data)
	o := block.Object{Digest: sha256.Sum256(data), Size: int64(n), BlockSize: BlockSize}
	o.SHA256 = fmt.Sprintf("%x", o.Digest)
	for at := 0; at < n; at += BlockSize {
		h := blake3.Sum256(data[at:min(at+BlockSize, n)])
		o.Hashes = append(o.Hashes, h[:]...)
	}
	return o, data
}

// Several makes objects of the given sizes.
func Several(sizes ...int) (list []block.Object, data [][]byte) {
	for i, n := range sizes {
		o, d := New(n, uint64(i+1))
		list, data = append(list, o), append(data, d)
	}
	return list, data
}

// Memory is a target.
type Memory struct {
	mu sync.Mutex
	B  []byte // what was written
}

// WriteAt grows the memory as needed.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if need := int(off) + len(p); need > len(m.B) {
		m.B = append(m.B, make([]byte, need-len(m.B))...)
	}
	return copy(m.B[off:], p), nil
}

// ReadAt reads what was written.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if off >= int64(len(m.B)) {
		return 0, io.EOF
	}
	n := copy(p, m.B[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Sync has nothing to do.
func (m *Memory) Sync() error { return nil }
