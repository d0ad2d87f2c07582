package windows_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/boot/windows"
	"castpoint/content"
	"castpoint/test/bootable"
	"castpoint/test/image"
)

// BenchmarkWindowsDevices is the work for two hundred machines that boot one
// image of 500 MB with 300 attached drivers: from the request to the WIM that is
// ready to be read, and the memory that each holds.
func BenchmarkWindowsDevices(b *testing.B) {
	const devices, drivers = 200, 300
	l := newLab(b, windows.Config{}, bootable.WinPE(b))
	ct := *l.library.Contents[0]
	store := func(write func(path string) error) (content.Digest, int64) {
		b.Helper()
		path := filepath.Join(b.TempDir(), "object")
		if err := write(path); err != nil {
			b.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		h := sha256.New()
		n, err := io.Copy(h, f)
		if err != nil {
			b.Fatal(err)
		}
		d := content.Digest(h.Sum(nil))
		if err := os.Rename(path, filepath.Join(l.library.Dir, d.String())); err != nil {
			b.Fatal(err)
		}
		return d, n
	}
	d, size := store(func(path string) error {
		if err := image.Make(b.Context(), path, "big", 500<<20); err != nil {
			return err
		}
		// What makes it one that boots.
		loader := filepath.Join(b.TempDir(), "winload.efi")
		if err := os.WriteFile(loader, []byte("winload.efi"), 0o644); err != nil {
			return err
		}
		return exec.CommandContext(b.Context(), "wimlib-imagex", "update", path, "1",
			"--command", "add '"+loader+"' /Windows/System32/Boot/winload.efi").Run()
	})
	ct.Files = []content.File{{Role: content.RoleImage, Name: "boot.wim", Size: size, Digest: d}}
	for i := range drivers {
		d, n := store(func(path string) error {
			return os.WriteFile(path, fmt.Appendf(make([]byte, 200_000), "driver %d", i), 0o644)
		})
		ct.Files = append(ct.Files, content.File{Role: content.RoleAttached, Name: fmt.Sprintf("castpoint/drivers/d%d/x.sys", i), Size: n, Digest: d})
	}
	get := func(round, i int) (time.Duration, int64) {
		began := time.Now()
		f, err := l.files.Open(b.Context(), fmt.Sprintf("winpe/efi-x64/52-54-%02x-00-00-%02x/boot.wim", round, i), boot.Client{Remote: testRemote})
		if err != nil {
			b.Fatal(err)
		}
		took := time.Since(began)
		_ = f.Close()
		return took, f.Size
	}
	round := 0
	for b.Loop() {
		round++
		ct.Revision = round // opened anew
		l.library.Contents[0] = &ct
		first, size := get(round, 0)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var each []time.Duration
		for i := range devices {
			took, _ := get(round, i+1)
			each = append(each, took)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		slices.Sort(each)
		b.ReportMetric(float64(first.Milliseconds()), "ms/first")
		b.ReportMetric(float64(each[devices/2].Microseconds())/1000, "ms/device")
		b.ReportMetric(float64(each[devices-1].Microseconds())/1000, "ms/slowest")
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/devices/1000, "kB/device")
		b.ReportMetric(float64(size)/1e6, "MB/WIM")
	}
}
