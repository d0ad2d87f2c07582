package machine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"castpoint/agent/disk"
)

// installGRUB has the Linux that was applied install its own GRUB: its version and
// its modules belong together, and its Secure Boot is its maker's. It writes
// /etc/fstab first, because the names of file systems in the image are those of
// the machine that it was made on.
func (l *Linux) installGRUB(ctx context.Context, p *disk.Plan, system, root disk.Volume, uefi, bios, noEntry bool) (err error) {
	at, err := l.Folder(ctx, root)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(at, "usr/sbin/grub-install")); err != nil {
		return fmt.Errorf("the Linux that was applied has no /usr/sbin/grub-install: install its GRUB in the image: %w", err)
	}
	if err := writeFstab(at, p, system, root); err != nil {
		return err
	}
	undo, err := l.enter(at, system, uefi)
	defer func() { err = errors.Join(err, undo()) }()
	if err != nil {
		return err
	}
	inside := func(args ...string) error {
		return must(ctx, l.programs, Program{Args: append([]string{"chroot", at}, args...),
			Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}})
	}
	if bios {
		if err := inside("grub-install", "--target=i386-pc", "--recheck", p.Disk.Path); err != nil {
			return fmt.Errorf("install GRUB for BIOS: %w", err)
		}
	}
	if uefi {
		target := "x86_64-efi"
		if runtime.GOARCH == "arm64" {
			target = "arm64-efi"
		}
		args := []string{"grub-install", "--target=" + target, "--efi-directory=/boot/efi", "--recheck"}
		// The fallback path in any case, then an entry of its own.
		if err := inside(append(args, "--removable")...); err != nil {
			return fmt.Errorf("install GRUB for UEFI: %w", err)
		}
		if !noEntry && l.Firmware() == "uefi" {
			if err := inside(args...); err != nil {
				return fmt.Errorf("install GRUB for UEFI: %w", err)
			}
		}
	}
	if err := inside("grub-mkconfig", "-o", "/boot/grub/grub.cfg"); err != nil {
		return fmt.Errorf("make the menu of GRUB: %w", err)
	}
	return nil
}

// enter makes a root file system ready for programs in it. undo takes it back, in
// any case.
func (l *Linux) enter(at string, system disk.Volume, uefi bool) (undo func() error, err error) {
	var bound []string
	undo = func() error {
		var errs []error
		for i := len(bound) - 1; i >= 0; i-- {
			errs = append(errs, l.kernel.unmount(bound[i]))
		}
		return errors.Join(errs...)
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		target := filepath.Join(at, dir)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return undo, err
		}
		if err := l.kernel.bind(dir, target); err != nil {
			return undo, fmt.Errorf("show %s to the Linux that was applied: %w", dir, err)
		}
		bound = append(bound, target)
	}
	if !uefi || system.Format != disk.FAT32 {
		return undo, nil
	}
	if err := l.leave(system); err != nil {
		return undo, err
	}
	target := filepath.Join(at, "boot/efi")
	if err := os.MkdirAll(target, 0o755); err != nil {
		return undo, err
	}
	if err := l.kernel.mount(system.Path, target, "vfat"); err != nil {
		return undo, fmt.Errorf("mount volume %s: %w", system.Name, err)
	}
	bound = append(bound, target)
	return undo, nil
}

// writeFstab names the file systems by their partitions, which castpoint has named.
func writeFstab(at string, p *disk.Plan, system, root disk.Volume) error {
	var b strings.Builder
	b.WriteString("# written by castpoint\n")
	line := func(v disk.Volume, where, options string, check int) {
		format := v.Format
		if format == disk.FAT32 {
			format = "vfat"
		}
		fmt.Fprintf(&b, "PARTUUID=%s %s %s %s 0 %d\n", p.PartUUID(v), where, format, options, check)
	}
	line(root, "/", "defaults,errors=remount-ro", 1)
	for _, v := range p.Volumes {
		switch {
		case v.Name == root.Name:
		case v.Format == disk.Swap:
			line(v, "none", "sw", 0)
		case v.Name == system.Name && v.Format == disk.FAT32:
			line(v, "/boot/efi", "umask=0077", 2)
		}
	}
	dir := filepath.Join(at, "etc")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, "fstab"), []byte(b.String())); err != nil {
		return fmt.Errorf("write /etc/fstab: %w", err)
	}
	return nil
}
