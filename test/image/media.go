package image

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Capture makes a WIM with one image per name and about size bytes that do
// not compress.
func Capture(t testing.TB, size int, args []string, names ...string) string {
	t.Helper()
	tool, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("wimlib-imagex is missing: install wimtools")
	}
	tree := t.TempDir()
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(data)
	if err := os.MkdirAll(filepath.Join(tree, "Windows"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "Windows", "data.bin"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "install.wim")
	for i, name := range names {
		cmd := []string{"append", tree, file, name}
		if i == 0 {
			cmd[0] = "capture"
			cmd = append(cmd, args...)
		}
		cmd = append(cmd, "--image-property=WINDOWS/ARCH=9",
			"--image-property=WINDOWS/VERSION/MAJOR=10", "--image-property=WINDOWS/VERSION/MINOR=0",
			"--image-property=WINDOWS/VERSION/BUILD=26100", "--image-property=WINDOWS/VERSION/SPBUILD=1742")
		if out, err := exec.Command(tool, cmd...).CombinedOutput(); err != nil {
			t.Fatalf("wimlib-imagex %v: %v\n%s", cmd, err, out)
		}
	}
	return file
}

// ISO makes an ISO image of a folder with genisoimage.
func ISO(t testing.TB, dir string, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "windows.iso")
	args = append(append([]string{"-quiet", "-V", "CCCOMA_X64FRE"}, args...), "-o", file, dir)
	if out, err := exec.Command("genisoimage", args...).CombinedOutput(); err != nil {
		t.Fatalf("genisoimage %v: %v\n%s", args, err, out)
	}
	return file
}

// Kernel is the head of an x86 kernel of protocol 2.15.
func Kernel(xloadflags uint16) []byte {
	b := make([]byte, 4096)
	copy(b, "MZ")
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	binary.LittleEndian.PutUint16(b[0x20e:], 0x300)
	binary.LittleEndian.PutUint16(b[0x236:], xloadflags)
	copy(b[0x500:], "6.8.0-45-generic (buildd@host) #45-Ubuntu\x00")
	return b
}
