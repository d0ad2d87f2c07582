package decompress

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// chunk is a compressed chunk and what it stands for the bytes of.
type chunk struct {
	data []byte
	size int
}

// chunks takes what wimlib has compressed with LZMS out of a WIM whose chunks are as
// large as its largest file, so that a resource is one chunk.
func chunks(t testing.TB, file string) (list []chunk) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A resource: size and flags, offset, size when decompressed, of 8 bytes each. The
	// header has that of the blob table at 48. An entry has 50 bytes.
	const compressed = 4
	at := binary.LittleEndian.Uint64(b[56:])
	table := b[at:][:binary.LittleEndian.Uint64(b[64:])]
	for ; len(table) >= 50; table = table[50:] {
		size := binary.LittleEndian.Uint64(table) & (1<<56 - 1)
		if whole := binary.LittleEndian.Uint64(table[16:]); table[7] == compressed && size < whole {
			list = append(list, chunk{b[binary.LittleEndian.Uint64(table[8:]):][:size], int(whole)})
		}
	}
	return list
}

// sources writes files that use all that LZMS has: text, a program, tables whose
// columns grow (delta matches), long repeats from near and far, and noise.
func sources(t *testing.T, dir string) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	text := func(n int) []byte {
		words := []string{"the ", "boot ", "image ", "of ", "a ", "machine ", "is ", "not ", "there\n"}
		var b []byte
		for len(b) < n {
			b = append(b, words[int(random.ExpFloat64()*2)%len(words)]...)
		}
		return b[:n]
	}
	noise := make([]byte, 40_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var tables, repeats []byte
	for i := range uint32(60_000) {
		tables = binary.LittleEndian.AppendUint32(tables, i*i)
		tables = binary.LittleEndian.AppendUint64(tables, uint64(i)*0x10_0001)
	}
	for period := 1; period < 40; period++ {
		repeats = append(repeats, noise[:period]...)
		for range 200 + 13*period {
			repeats = append(repeats, repeats[len(repeats)-period])
		}
		repeats = append(repeats, noise[random.IntN(30_000):][:random.IntN(300)]...)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"text": text(500_000), "short": text(90), "tables": tables, "repeats": repeats,
		"program": code[:min(len(code), 3<<20)], "zeros": make([]byte, 1<<20), "noisy": append(text(3000), append(noise, text(70_000)...)...),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// The fast way and the plain way to decode LZMS give the same, of good chunks and of
// damaged ones, with the same errors.
func TestLZMSPlain(t *testing.T) {
	dir := t.TempDir()
	tree, file := filepath.Join(dir, "tree"), filepath.Join(dir, "x.wim")
	if err := os.Mkdir(tree, 0o700); err != nil {
		t.Fatal(err)
	}
	sources(t, tree)
	if out, err := exec.Command("wimlib-imagex", "capture", tree, file, "--compress=lzms", "--chunk-size=4M", "--no-acls").CombinedOutput(); err != nil {
		t.Fatalf("wimlib-imagex: %v: %s", err, out)
	}
	list := chunks(t, file)
	if len(list) < 6 {
		t.Fatalf("%d chunks", len(list))
	}
	fast, plain := NewLZMS(), NewLZMS()
	plain.plain = true
	random := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for _, c := range list {
		want, have := make([]byte, c.size), make([]byte, c.size)
		if err := plain.Decode(want, c.data); err != nil {
			t.Fatal(err)
		}
		if err := fast.Decode(have, c.data); err != nil || !bytes.Equal(want, have) {
			t.Errorf("a chunk of %d bytes for %d: not the same: %v", len(c.data), c.size, err)
		}
		for range 20 {
			bad := bytes.Clone(c.data)
			for range 1 + random.IntN(3) {
				bad[random.IntN(len(bad))] ^= 1 << random.IntN(8)
			}
			size := c.size - random.IntN(min(c.size, 100))
			clear(want)
			clear(have)
			e1, e2 := plain.Decode(want[:size], bad), fast.Decode(have[:size], bad)
			if (e1 == nil) != (e2 == nil) || e1 != nil && e1.Error() != e2.Error() || e1 == nil && !bytes.Equal(want, have) {
				t.Errorf("a damaged chunk of %d bytes for %d: %v, %v", len(bad), size, e1, e2)
			}
			if e1 != nil {
				refused++
			}
		}
	}
	if refused == 0 {
		t.Error("no damage was found")
	}
}

// Where instructions begin is found in the same places, whatever the length.
func TestLZMSMark(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	parts := []byte{0x48, 0x4c, 0x8b, 0x8d, 0xe8, 0xe9, 0xf0, 0x83, 0xff, 0x15, 0x00, 0x05}
	b := make([]byte, 600)
	for n := range len(b) {
		for i := range b {
			if b[i] = parts[random.IntN(len(parts))]; random.IntN(3) == 0 {
				b[i] = byte(random.Uint32())
			}
		}
		var want, have [8]uint64
		words := random.IntN(len(want) + 1)
		for i := range have {
			have[i] = random.Uint64()
		}
		lzmsMarkPlain(want[:words], b[:n])
		lzmsMark(have[:words], b[:n])
		for i := range words {
			if want[i] != have[i] {
				t.Fatalf("%d bytes, %d words, word %d: %#x, want %#x", n, words, i, have[i], want[i])
			}
		}
	}
}
