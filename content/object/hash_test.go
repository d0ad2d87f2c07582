package object

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"castpoint/content"

	"github.com/zeebo/blake3"
)

// TestObjectHash compares with hashes made in one go, at sizes around the
// borders of blocks and buffers, from readers that give odd pieces.
func TestObjectHash(t *testing.T) {
	for _, size := range []int{0, 1, content.BlockSize - 1, content.BlockSize, content.BlockSize + 1, copyBuffer - 1, copyBuffer, copyBuffer + 1, 3*copyBuffer + 77} {
		data := bytes.Repeat([]byte("0123456789abcde"), size/15+1)[:size]
		var copied bytes.Buffer
		var advanced int64
		m, err := Hash(context.Background(), iotest.HalfReader(bytes.NewReader(data)), int64(size), Pass{Advance: func(n int64) error {
			advanced += n
			return nil
		}}, &copied)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		for i := 0; i < size; i += content.BlockSize {
			h := blake3.Sum256(data[i:min(i+content.BlockSize, size)])
			want = append(want, h[:]...)
		}
		if m.Digest != sha256.Sum256(data) || !bytes.Equal(m.Hashes, want) || m.Size != int64(size) ||
			!bytes.Equal(copied.Bytes(), data) || advanced != int64(size) || int64(m.Blocks()) != content.BlockCount(int64(size)) {
			t.Errorf("size %d: %d blocks, %d copied, %d advanced", size, m.Blocks(), copied.Len(), advanced)
		}
	}
	nothing := func(int64) error { return nil }
	if _, err := Hash(context.Background(), strings.NewReader("short"), 6, Pass{Advance: nothing}); !errors.Is(err, errSourceSize) || !errors.Is(err, ErrSource) {
		t.Errorf("short: %v", err)
	}
	if _, err := Hash(context.Background(), strings.NewReader("longer"), 5, Pass{Advance: nothing}); !errors.Is(err, errSourceSize) || !errors.Is(err, ErrSource) {
		t.Errorf("long: %v", err)
	}
	if _, err := Hash(context.Background(), iotest.ErrReader(io.ErrNoProgress), 5, Pass{Advance: nothing}); !errors.Is(err, io.ErrNoProgress) || !errors.Is(err, ErrSource) {
		t.Errorf("failing: %v", err)
	}
}

// TestObjectHashForeign compares the digest with the one of sha256sum.
func TestObjectHashForeign(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	data := bytes.Repeat([]byte("castpoint"), 100_000)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sha256sum", path).Output()
	if err != nil {
		t.Fatalf("sha256sum: %v: install coreutils", err)
	}
	m, err := Hash(context.Background(), bytes.NewReader(data), int64(len(data)), Pass{Advance: func(int64) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if have := m.Digest.String(); have != strings.Fields(string(out))[0] {
		t.Errorf("%s, sha256sum says %s", have, out)
	}
}

func BenchmarkHash(b *testing.B) {
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Hash(context.Background(), bytes.NewReader(data), int64(len(data)), Pass{Advance: func(int64) error { return nil }}); err != nil {
			b.Fatal(err)
		}
	}
}
