package wim_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/content/wim"
)

// BenchmarkVerify reads and checks all blobs with one thread, for each
// compression: the text and programs of this machine's Go.
func BenchmarkVerify(b *testing.B) {
	for _, v := range []struct {
		name string
		args []string
	}{
		{"XPRESS", []string{"--compress=xpress"}},
		{"LZX", []string{"--compress=lzx"}},
		{"LZMS", []string{"--compress=lzms"}},
		{"solid", []string{"--solid"}},
	} {
		b.Run(v.name, func(b *testing.B) {
			dir := b.TempDir()
			list, file := filepath.Join(dir, "list"), filepath.Join(dir, "x.wim")
			out, err := exec.Command("go", "env", "GOROOT").Output()
			if err != nil {
				b.Fatal(err)
			}
			root := strings.TrimSpace(string(out))
			if err := os.WriteFile(list, []byte(root+"/src/runtime text\n"+root+"/bin/go program\n"), 0o600); err != nil {
				b.Fatal(err)
			}
			if out, err := exec.Command("wimlib-imagex", append([]string{"capture", list, file, "bench", "--source-list", "--no-acls"}, v.args...)...).CombinedOutput(); err != nil {
				b.Fatalf("wimlib-imagex: %v: %s", err, out)
			}
			f, err := os.Open(file)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				r, err := wim.Open(f, info.Size())
				if err != nil {
					b.Fatal(err)
				}
				if err := r.VerifyBlobs(b.Context(), 1, func(_, total int64) { b.SetBytes(total) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
