package machine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/agent/disk"
	"castpoint/boot/bcd"
	"castpoint/boot/bcd/value"
	"castpoint/deploy/sequence"
)

// TestLinuxCommands compares what a whole installation runs with a golden file.
func TestLinuxCommands(t *testing.T) {
	for _, firmware := range []string{"uefi", "bios"} {
		t.Run(firmware, func(t *testing.T) {
			l, r := newTestLinux(t)
			ctx := t.Context()
			path := filepath.Join(r.dir, "sda")
			if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 64<<30), os.MkdirAll(l.grub, 0o755),
				os.WriteFile(filepath.Join(l.grub, "boot.img"), make([]byte, 512), 0o600), os.WriteFile(filepath.Join(l.grub, "core.img"), []byte("core"), 0o600)); err != nil {
				t.Fatal(err)
			}
			if firmware == "uefi" {
				if err := os.Mkdir(l.efi, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			r.says["efibootmgr"] = Result{Tail: "BootCurrent: 0002\nBootOrder: 0001,0002\nBoot0001* Windows Boot Manager\tHD\nBoot0002* Network\n"}
			p := plan(t, firmware, path, 64<<30)
			windows, system := volume(t, p, "Windows"), volume(t, p, "System")
			check := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			check(l.Partition(ctx, p))
			check(l.ApplyImage(ctx, p, windows, Image{Size: 100_000_001, Percent: func(float64) {}, Receive: func(_ context.Context, out string) error {
				wimFile(t, out)
				return nil
			}}))
			check(os.MkdirAll(filepath.Join(l.mounts, "Windows"), 0o755))
			windowsFiles(t, filepath.Join(l.mounts, "Windows"))
			check(l.Bootloader(ctx, p, system, windows, &sequence.InstallBootloader{}))
			check(l.Release())
			r.golden(t, "linux-"+firmware+".golden")

			store := "EFI/Microsoft/Boot/BCD"
			if firmware == "bios" {
				store = "Boot/BCD"
			}
			b, err := os.ReadFile(filepath.Join(l.mounts, "System", store))
			check(err)
			s, err := bcd.Parse(b)
			check(err)
			if s.Object(value.BootManager()) == nil {
				t.Error("the boot configuration has no boot manager")
			}
		})
	}
}

// TestLinuxApplyRefuses what cannot be applied, and says why.
func TestLinuxApplyRefuses(t *testing.T) {
	receive := func(_ context.Context, out string) error { return os.WriteFile(out, []byte("no WIM at all"), 0o600) }
	for _, c := range []struct {
		name string
		im   Image
		want string
	}{
		{"no WIM", Image{Size: 1 << 20, Receive: receive}, "no WIM"},
		{"no such image", Image{Size: 1 << 20, Index: "Enterprise", Receive: func(_ context.Context, out string) error { wimFile(t, out); return nil }}, "1 Windows Test"},
		{"too large", Image{Size: 64 << 30, Receive: receive}, "make it larger"},
		{"compact", Image{Compact: true}, "Windows PE"},
		{"cancelled", Image{Size: 1, Receive: func(context.Context, string) error { return errors.New("session cancelled") }}, "session cancelled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := newTestLinux(t)
			p := plan(t, "uefi", "/dev/sda", 64<<30)
			c.im.Percent = func(float64) {}
			err := l.ApplyImage(t.Context(), p, volume(t, p, "Windows"), c.im)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if said := r.b.String(); strings.Contains(said, "(loop /dev") && !strings.Contains(said, "(loop gone)") {
				t.Errorf("the loop device stays:\n%s", said)
			}
		})
	}
}

// TestLinuxBootloaderRefuses images that are not what they should be.
func TestLinuxBootloaderRefuses(t *testing.T) {
	l, _ := newTestLinux(t)
	p := plan(t, "uefi", "/dev/sda", 64<<30)
	windows, system := volume(t, p, "Windows"), volume(t, p, "System")
	err := l.Bootloader(t.Context(), p, system, windows, &sequence.InstallBootloader{Firmware: "uefi"})
	if !errors.Is(err, os.ErrNotExist) && (err == nil || !strings.Contains(err.Error(), "Windows/Boot/EFI")) {
		t.Errorf("no Windows: %v", err)
	}
	if err := l.Bootloader(t.Context(), p, system, windows, &sequence.InstallBootloader{Firmware: "bios"}); err == nil || !strings.Contains(err.Error(), "mbr") {
		t.Errorf("BIOS and a GPT: %v", err)
	}
	if err := l.Bootloader(t.Context(), p, system, windows, &sequence.InstallBootloader{Kind: "grub"}); err == nil || !strings.Contains(err.Error(), "grub-install") {
		t.Errorf("no GRUB: %v", err)
	}
}

func TestWipe(t *testing.T) {
	l, r := newTestLinux(t)
	path := filepath.Join(r.dir, "disk")
	const size = 40 << 20
	for _, method := range []string{"", "zero", "random"} {
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		last := 0.0
		err := l.Wipe(t.Context(), disk.Disk{Path: path, Size: size, Sector: 512}, &sequence.WipeDisk{Method: method, Passes: 2}, func(p float64) { last = p })
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b[:1<<20]), "xxxxxxxx") || strings.Contains(string(b[size-1<<20:]), "xxxxxxxx") {
			t.Errorf("method %q leaves data at the ends", method)
		}
		if method != "" && (strings.Contains(string(b), "xxxxxxxx") || last != 100) {
			t.Errorf("method %q leaves data, or ends at %.0f percent", method, last)
		}
	}
}

// TestTimeLimitEndsAll: a shell that has reached its time limit ends with the programs
// that it has started.
func TestTimeLimitEndsAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	limit := errors.New("it took too long")
	go func() {
		for t.Context().Err() == nil {
			if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		cancel(limit)
	}()
	_, err := System{}.Run(ctx, Program{Args: []string{"sh", "-c", "sleep 600 & echo $! > " + file + ".new; mv " + file + ".new " + file + "; wait"}})
	if !errors.Is(err, limit) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid := strings.TrimSpace(string(b))
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		// A process that has ended is there until its parent, here the system, has looked.
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the shell's program runs on: %s", stat)
		}
	}
}
