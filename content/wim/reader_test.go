package wim

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// readVariants are the kinds of WIM whose files Open reads.
var readVariants = []struct {
	name string
	args []string
}{
	{"none", []string{"--compress=none"}},
	{"xpress", []string{"--compress=xpress"}},
	{"xpress-4k", []string{"--compress=xpress", "--chunk-size=4096"}},
	{"xpress-64k", []string{"--compress=xpress", "--chunk-size=65536"}},
	{"xpress-best", []string{"--compress=xpress:100"}},
	{"lzx", []string{"--compress=lzx"}},
	{"lzx-fast", []string{"--compress=lzx:20"}},
	{"lzx-64k", []string{"--compress=lzx", "--chunk-size=65536"}},
	{"lzx-256k", []string{"--compress=lzx", "--chunk-size=262144"}},
	{"lzx-2m", []string{"--compress=lzx", "--chunk-size=2097152"}},
	{"pipable-lzx", []string{"--pipable"}},
	{"pipable-xpress", []string{"--pipable", "--compress=xpress"}},
	{"pipable-none", []string{"--pipable", "--compress=none"}},
	{"boot-lzx", []string{"--compress=lzx", "--boot", "--check"}},
	{"lzms", []string{"--compress=lzms"}},
	{"lzms-32k", []string{"--compress=lzms", "--chunk-size=32768"}},
	{"lzms-1m", []string{"--compress=lzms:20", "--chunk-size=1048576"}},
	{"lzms-64m", []string{"--compress=lzms:60", "--chunk-size=67108864"}},
	{"solid", []string{"--solid"}},
	{"solid-fast", []string{"--solid", "--solid-compress=lzms:20", "--compress=none"}},
	{"solid-64k", []string{"--solid", "--solid-chunk-size=65536"}},
	{"solid-1m", []string{"--solid", "--solid-chunk-size=1048576", "--check"}},
	{"solid-lzx", []string{"--solid", "--solid-compress=lzx", "--compress=lzx"}},
	{"solid-lzx-32k", []string{"--solid", "--solid-compress=lzx", "--solid-chunk-size=32768", "--compress=xpress"}},
	{"solid-xpress", []string{"--solid", "--solid-compress=xpress", "--solid-chunk-size=4096"}},
}

// richTree makes a folder with what images hold: programs (call translation),
// text, noise, sparse and empty files, sizes around chunks, links, odd names.
func richTree(t testing.TB) string {
	t.Helper()
	dir := sourceTree(t)
	write := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	self, err := os.Executable() // machine code
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	write("Windows/System32/program.exe", code[:min(len(code), 400_000)])
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 9, 10, 11, 255, 4095, 4096, 4097, 32767, 32768, 32769, 65535, 65536, 65537, 2<<20 + 1} {
		data := make([]byte, size)
		for i := range data { // compressible, with long and near repeats and call opcodes
			switch rng.IntN(8) {
			case 0:
				data[i] = byte(rng.Uint32())
			case 1:
				data[i] = 0xe8
			default:
				data[i] = data[max(0, i-1-rng.IntN(300))] + byte(i/5000)
			}
		}
		write(fmt.Sprintf("sizes/%d", size), data)
	}
	write("zeros", make([]byte, 1_000_000))
	// What the filter of LZMS looks at, and numbers in rows for its deltas.
	opcodes := make([]byte, 400_000)
	alphabet := []byte{0xe8, 0xe8, 0xe9, 0x48, 0x4c, 0x8b, 0x8d, 0x05, 0x0d, 0xf0, 0x83, 0xff, 0x15, 0, 0, 1}
	for i := range opcodes {
		if opcodes[i] = alphabet[rng.IntN(len(alphabet))]; i > 2000 && rng.IntN(3) == 0 {
			opcodes[i] = opcodes[i-1000]
		}
	}
	write("opcodes", opcodes)
	var rows []byte
	for i := range uint32(40_000) {
		rows = binary.LittleEndian.AppendUint32(rows, i*(1+i/8_000))
		rows = binary.LittleEndian.AppendUint16(rows, uint16(i*i>>9))
		rows = append(rows, byte(rng.Uint32()&3), 0)
	}
	write("rows", rows)
	write("mixed", append(append(bytes.Repeat([]byte("A"), 100_000), code[:100_000]...), make([]byte, 100_000)...))
	write("Ärger/ÖL", []byte("folded"))
	write(strings.Repeat("n", 255), []byte("long name"))
	write("😀/surrogate pairs", []byte("x"))
	if err := os.Mkdir(filepath.Join(dir, "emptydir"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("Windows/empty", filepath.Join(dir, "symlink")); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		write(fmt.Sprintf("many/file %03d", i), []byte(strconv.Itoa(i*i)))
	}
	return dir
}

func openWIM(t testing.TB, path string) *Reader {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, st.Size())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func image(t testing.TB, r *Reader, index int) *Tree {
	t.Helper()
	tree, err := r.Image(index)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// TestReadAgainstWimlib reads every file of every variant and compares it with
// the source and with what wimlib says of it.
func TestReadAgainstWimlib(t *testing.T) {
	tree := richTree(t)
	for _, v := range readVariants {
		t.Run(v.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.wim")
			wimlib(t, append([]string{"capture", tree, file, "image"}, v.args...)...)
			r := openWIM(t, file)
			compareTree(t, image(t, r, 1), tree)
			compareDir(t, image(t, r, 1), file, 1)
			compareExtracted(t, image(t, r, 1), file, 1)
			var last, total int64
			err := r.VerifyBlobs(context.Background(), 2, func(done, all int64) {
				if done < last || done > all {
					t.Errorf("progress went from %d to %d of %d", last, done, all)
				}
				last, total = done, all
			})
			if err != nil || last != total || total < 3_500_000 {
				t.Errorf("verify: %v, %d of %d", err, last, total)
			}
		})
	}
}

// compareTree compares an image with the folder that it was made of.
func compareTree(t *testing.T, tree *Tree, dir string) {
	t.Helper()
	want := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		want["/"+strings.TrimPrefix(rel, ".")] = true
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = tree.Walk(func(path string, e Entry) error {
		if !want[path] {
			t.Errorf("%s is not in the source", path)
		}
		delete(want, path)
		st, err := os.Lstat(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		if st.IsDir() != e.IsDir() {
			t.Errorf("%s: attributes %#x", path, e.Attributes)
		}
		// The image has 100 ns.
		if want := st.ModTime().Truncate(100 * time.Nanosecond); !e.Modified.Equal(want) {
			t.Errorf("%s: modified %v, want %v", path, e.Modified, want)
		}
		if st.Mode()&fs.ModeSymlink != 0 {
			if e.ReparseTag != ReparseSymlink || len(e.Streams) == 0 || e.Streams[0].Kind != StreamReparsePoint {
				t.Errorf("%s: %+v", path, e)
			}
			if _, err := tree.Open(path); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s: open gives %v", path, err)
			}
			return nil
		}
		if !st.Mode().IsRegular() {
			return nil
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			return err
		}
		compareFile(t, tree, path, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range want {
		t.Errorf("%s is missing", path)
	}
}

// compareFile reads a file as a whole, in order with the check, and at random.
func compareFile(t *testing.T, tree *Tree, path string, want []byte) {
	t.Helper()
	b, err := tree.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.Size() != int64(len(want)) {
		t.Fatalf("%s: size %d, want %d", path, b.Size(), len(want))
	}
	if len(want) > 0 && b.Hash() != sha1.Sum(want) || len(want) == 0 && b.Hash() != (Hash{}) {
		t.Errorf("%s: hash %v", path, b.Hash())
	}
	have, err := io.ReadAll(b.Reader())
	if err != nil || !bytes.Equal(have, want) {
		t.Fatalf("%s: %v, same %v", path, err, bytes.Equal(have, want))
	}
	have, err = tree.ReadFile(path, int64(len(want)))
	if err != nil || !bytes.Equal(have, want) {
		t.Fatalf("%s: ReadFile: %v", path, err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		off := rng.Int64N(int64(len(want)) + 10)
		p := make([]byte, rng.IntN(100_000))
		n, err := b.ReadAt(p, off)
		rest := want[min(off, int64(len(want))):]
		rest = rest[:min(len(rest), len(p))]
		if !bytes.Equal(p[:n], rest) || n < len(p) && !errors.Is(err, io.EOF) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %d bytes at %d: %d, %v", path, len(p), off, n, err)
		}
	}
}

// compareDir compares all details with the listing of wimlib.
func compareDir(t *testing.T, tree *Tree, file string, index int) {
	t.Helper()
	listing := string(wimlib(t, "dir", file, strconv.Itoa(index), "--detailed"))
	entries := map[string]map[string][]string{}
	for _, part := range strings.Split(listing, "----------------------------------------------------------------------------\n") {
		fields := map[string][]string{}
		for line := range strings.Lines(part) {
			if k, v, ok := strings.Cut(strings.TrimRight(line, "\n"), " = "); ok {
				k = strings.TrimSpace(k)
				fields[k] = append(fields[k], strings.TrimSpace(v))
			}
		}
		if p := fields["Full Path"]; p != nil {
			entries[strings.Trim(p[0], `"`)] = fields
		}
	}
	links := map[uint64]int{}
	err := tree.Walk(func(path string, e Entry) error {
		if e.HardLink != 0 {
			links[e.HardLink]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	err = tree.Walk(func(path string, e Entry) error {
		count++
		f := entries[path]
		if f == nil {
			t.Errorf("wimlib does not list %q", path)
			return nil
		}
		attributes, err := strconv.ParseUint(f["Attributes"][0], 0, 32)
		if err != nil || uint32(attributes) != e.Attributes {
			t.Errorf("%s: attributes %#x, wimlib says %v", path, e.Attributes, f["Attributes"])
		}
		for i, have := range []time.Time{e.Created, e.Modified, e.Accessed} {
			key := []string{"Creation Time", "Last Write Time", "Last Access Time"}[i]
			want, err := time.Parse("Mon Jan 2 15:04:05 2006 MST", f[key][0])
			if err != nil || !have.Truncate(time.Second).Equal(want) {
				t.Errorf("%s: %s %v, wimlib says %v", path, key, have, f[key])
			}
		}
		var hashes []string
		for _, s := range e.Streams {
			if s.Hash != (Hash{}) {
				hashes = append(hashes, "0x"+s.Hash.String())
			}
		}
		want := slices.DeleteFunc(slices.Clone(f["Hash"]), func(h string) bool { return strings.Trim(h, "0x") == "" })
		slices.Sort(hashes)
		slices.Sort(want)
		if !slices.Equal(hashes, want) {
			t.Errorf("%s: streams %v, wimlib says %v", path, hashes, want)
		}
		if e.ReparseTag != 0 {
			tag, err := strconv.ParseUint(f["Reparse Tag"][0], 0, 32)
			if err != nil || uint32(tag) != e.ReparseTag {
				t.Errorf("%s: reparse tag %#x, wimlib says %v", path, e.ReparseTag, f["Reparse Tag"])
			}
		}
		if e.HardLink != 0 && f["Link Count"] != nil && f["Link Count"][0] != strconv.Itoa(links[e.HardLink]) {
			t.Errorf("%s: %d links, wimlib says %v", path, links[e.HardLink], f["Link Count"])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if count != len(entries) {
		t.Errorf("%d entries, wimlib lists %d", count, len(entries))
	}
}
