package content_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"castpoint/content"
	"castpoint/content/object"

	"github.com/zeebo/blake3"
)

func manifestOf(t testing.TB, data []byte) *content.Manifest {
	t.Helper()
	m, err := object.Hash(context.Background(), bytes.NewReader(data), int64(len(data)), object.Pass{Advance: func(int64) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestManifestBinary(t *testing.T) {
	for _, size := range []int{0, 1, content.BlockSize, 5*content.BlockSize + 3} {
		m := manifestOf(t, make([]byte, size))
		b, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var got content.Manifest
		if err := got.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		if got.Digest != m.Digest || got.Size != m.Size || got.BlockSize != m.BlockSize || !bytes.Equal(got.Hashes, m.Hashes) {
			t.Errorf("size %d: %+v", size, got)
		}
		for cut := range len(b) {
			if err := new(content.Manifest).UnmarshalBinary(b[:cut]); !errors.Is(err, content.ErrManifest) {
				t.Fatalf("size %d cut at %d: %v", size, cut, err)
			}
		}
		for i := range b {
			bad := bytes.Clone(b)
			bad[i] ^= 0x80
			if err := new(content.Manifest).UnmarshalBinary(bad); !errors.Is(err, content.ErrManifest) {
				t.Fatalf("size %d byte %d changed: %v", size, i, err)
			}
		}
		if _, err := content.ReadManifest(bytes.NewReader(b), int64(size)); err != nil {
			t.Error(err)
		}
		if _, err := content.ReadManifest(bytes.NewReader(append(b, 0)), int64(size)); !errors.Is(err, content.ErrManifest) {
			t.Errorf("longer: %v", err)
		}
	}
}

// TestManifestGolden fixes the format: what one version wrote the next reads.
func TestManifestGolden(t *testing.T) {
	b, err := manifestOf(t, []byte("castpoint")).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	const want = "636173746d616e00" + "01000000" + "01000000" + "00c00200" + "00000000" + "0900000000000000" +
		"815e88c6b941a8e9ea93cbe384536fbf280b8a047c5b96ce1107cecc8d2b3c32" + // SHA-256 of the object
		"52d5555c9845e861f5e435149bda96694a77baffecd41a1d6770342d1821d146" + // BLAKE3 of its one block
		"59e034bb981c6b034cf92225416fe98b9bd4208c2366b1973104683b8e2bb4ce" // BLAKE3 of all before
	if have := hex.EncodeToString(b); have != want {
		t.Errorf("have %s", have)
	}
}

// TestManifestLies gives manifests with a right checksum and wrong fields.
func TestManifestLies(t *testing.T) {
	good, err := manifestOf(t, make([]byte, 2*content.BlockSize)).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func([]byte){
		"magic":      func(b []byte) { b[0]++ },
		"version":    func(b []byte) { b[8]++ },
		"hash":       func(b []byte) { b[12]++ },
		"block size": func(b []byte) { b[16]++ },
		"reserved":   func(b []byte) { b[20]++ },
		"more bytes": func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 2*content.BlockSize+1) },
		"fewer":      func(b []byte) { binary.LittleEndian.PutUint64(b[24:], content.BlockSize) },
		"huge":       func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 1<<63) },
		"most":       func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 1<<64-1) },
	} {
		b := bytes.Clone(good)
		change(b)
		sum := blake3.Sum256(b[:len(b)-content.HashSize])
		copy(b[len(b)-content.HashSize:], sum[:])
		if err := new(content.Manifest).UnmarshalBinary(b); !errors.Is(err, content.ErrManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, size := range []int{0, 1, 2 * content.BlockSize} {
		b, _ := manifestOf(f, make([]byte, size)).MarshalBinary()
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum is put right, or nothing behind it would be reached.
		if len(b) >= content.HashSize {
			sum := blake3.Sum256(b[:len(b)-content.HashSize])
			copy(b[len(b)-content.HashSize:], sum[:])
		}
		var m content.Manifest
		if err := m.UnmarshalBinary(b); err != nil {
			if !errors.Is(err, content.ErrManifest) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		again, err := m.MarshalBinary()
		if err != nil || !bytes.Equal(again, b) {
			t.Error("written differently than read")
		}
		for i := range m.Blocks() {
			if off, n, h := m.Block(i); off < 0 || n <= 0 || n > content.BlockSize || off+int64(n) > m.Size || len(h) != content.HashSize {
				t.Errorf("block %d: %d at %d of %d", i, n, off, m.Size)
			}
		}
	})
}

// BenchmarkManifest20GB reads the manifest of a 20 GB object.
func BenchmarkManifest20GB(b *testing.B) {
	m := &content.Manifest{Size: 20 << 30, BlockSize: content.BlockSize, Hashes: make([]byte, content.BlockCount(20<<30)*content.HashSize)}
	raw, _ := m.MarshalBinary()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if err := new(content.Manifest).UnmarshalBinary(raw); err != nil {
			b.Fatal(err)
		}
	}
}
