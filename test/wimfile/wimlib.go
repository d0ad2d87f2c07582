package wimfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"castpoint/content/wim/format"
)

// Wimlib runs wimlib-imagex and returns what it printed.
func Wimlib(t testing.TB, args ...string) []byte {
	t.Helper()
	path, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("wimlib-imagex is missing: install wimtools")
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("wimlib-imagex %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// SourceTree makes a folder with files that compress well and badly, a hard
// link and an empty file.
func SourceTree(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	if err := os.MkdirAll(filepath.Join(dir, "Windows", "System32"), 0o755); err != nil {
		t.Fatal(err)
	}
	random := make([]byte, 300_000)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(random)
	for name, data := range map[string][]byte{
		"random.bin":                      random,
		"Windows/System32/text.txt":       bytes.Repeat([]byte("all work and no play\r\n"), 20_000),
		"Windows/System32/winload.exe":    []byte("MZ"),
		"Windows/empty":                   nil,
		"Windows/Übergrößenträger — 図.md": []byte("name beyond ASCII"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(dir, "random.bin"), filepath.Join(dir, "hardlink.bin")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Variants are the kinds of WIM that exist, with the options that make them.
var Variants = []struct {
	Name        string
	Args        []string
	Compression format.Compression
	Solid       bool
	Pipable     bool
}{
	{"none", []string{"--compress=none"}, format.CompressionNone, false, false},
	{"xpress", []string{"--compress=xpress"}, format.CompressionXPRESS, false, false},
	{"xpress-4k", []string{"--compress=xpress", "--chunk-size=4096"}, format.CompressionXPRESS, false, false},
	{"lzx", []string{"--compress=lzx"}, format.CompressionLZX, false, false},
	{"lzx-2m", []string{"--compress=lzx", "--chunk-size=2097152"}, format.CompressionLZX, false, false},
	{"lzms", []string{"--compress=lzms"}, format.CompressionLZMS, false, false},
	{"solid", []string{"--solid"}, format.CompressionLZMS, true, false},
	{"solid-lzx", []string{"--solid", "--solid-compress=lzx", "--compress=lzx"}, format.CompressionLZX, true, false},
	{"pipable", []string{"--pipable"}, format.CompressionLZX, false, true},
	{"pipable-none", []string{"--pipable", "--compress=none"}, format.CompressionNone, false, true},
}

// Capture makes a WIM of the tree with one image and Windows properties.
func Capture(t testing.TB, tree, file string, args ...string) {
	t.Helper()
	Wimlib(t, append([]string{"capture", tree, file, "Windows 11 Pro", "a <test> & more", "--boot",
		"--flags=Professional",
		"--image-property=WINDOWS/ARCH=9",
		"--image-property=WINDOWS/EDITIONID=Professional",
		"--image-property=WINDOWS/INSTALLATIONTYPE=Client",
		"--image-property=WINDOWS/PRODUCTNAME=Microsoft® Windows® Operating System",
		"--image-property=WINDOWS/SYSTEMROOT=WINDOWS",
		"--image-property=WINDOWS/LANGUAGES/LANGUAGE[1]=de-DE",
		"--image-property=WINDOWS/LANGUAGES/LANGUAGE[2]=en-US",
		"--image-property=WINDOWS/LANGUAGES/DEFAULT=de-DE",
		"--image-property=WINDOWS/VERSION/MAJOR=10",
		"--image-property=WINDOWS/VERSION/MINOR=0",
		"--image-property=WINDOWS/VERSION/BUILD=26100",
		"--image-property=WINDOWS/VERSION/SPBUILD=1742",
		"--image-property=DISPLAYNAME=Windows 11 Pro 🖥"}, args...)...)
}

// ReadFile reads a file that must be there.
func ReadFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RichTree makes a folder with what images hold: programs (call translation),
// text, noise, sparse and empty files, sizes around chunks, links, odd names.
func RichTree(t testing.TB) string {
	t.Helper()
	dir := SourceTree(t)
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

// SplitFile makes the parts of a split WIM of richTree.
func SplitFile(t testing.TB, tree, size string, args ...string) []string {
	t.Helper()
	dir := t.TempDir()
	whole := filepath.Join(t.TempDir(), "whole.wim")
	Wimlib(t, append([]string{"capture", tree, whole, "image"}, args...)...)
	Wimlib(t, "split", whole, filepath.Join(dir, "part.swm"), size)
	names, err := filepath.Glob(filepath.Join(dir, "*.swm"))
	if err != nil || len(names) < 3 {
		t.Fatalf("split made %v, %v", names, err)
	}
	return names
}
