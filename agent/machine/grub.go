package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
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
	inside := func(args ...string) (string, error) {
		r, err := l.programs.Run(ctx, Program{Args: append([]string{"chroot", at}, args...),
			Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}})
		if err == nil && r.Code != 0 {
			err = &ExitError{Program: args[0], Code: r.Code, Tail: r.Tail}
		}
		return strings.TrimSpace(r.Tail), err
	}
	if bios {
		if _, err := inside("grub-install", "--target=i386-pc", "--recheck", p.Disk.Path); err != nil {
			return fmt.Errorf("install GRUB for BIOS: %w", err)
		}
	}
	if uefi {
		target := "x86_64-efi"
		if runtime.GOARCH == "arm64" {
			target = "arm64-efi"
		}
		// The fallback path in any case. The firmware's menu is not GRUB's business: it
		// would put itself before the network.
		args := []string{"grub-install", "--target=" + target, "--efi-directory=/boot/efi", "--recheck", "--no-nvram"}
		for _, args := range [][]string{append(args[:len(args):len(args)], "--removable"), args} {
			if _, err := inside(args...); err != nil {
				return fmt.Errorf("install GRUB for UEFI: %w", err)
			}
		}
	}
	if err := l.nameByUUID(inside, root); err != nil {
		return err
	}
	if _, err := inside("grub-mkconfig", "-o", "/boot/grub/grub.cfg"); err != nil {
		return fmt.Errorf("make the menu of GRUB: %w", err)
	}
	if !uefi || noEntry || l.Firmware() != sequence.FirmwareUEFI {
		return nil
	}
	label, loader, err := efiLoader(filepath.Join(at, "boot/efi/EFI"))
	if err != nil {
		return err
	}
	return l.firmwareEntry(ctx, p, system, label, loader)
}

// nameByUUID makes the link by which grub-mkconfig finds out that the root file system
// can be named by its UUID. Without udev there are none, and the kernel would be told
// the name that the disk has in the boot environment.
func (l *Linux) nameByUUID(inside func(...string) (string, error), root disk.Volume) error {
	id, err := inside("grub-probe", "--target=fs_uuid", "/")
	if err != nil || id == "" || strings.ContainsAny(id, "/\n") {
		return fmt.Errorf("find the UUID of volume %s: %q, %w", root.Name, id, err)
	}
	links := filepath.Join(l.dev, "disk/by-uuid")
	if err := os.MkdirAll(links, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(root.Path, filepath.Join(links, id)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// efiLoader finds what GRUB has installed beside the fallback path: shim where there
// is one, else GRUB itself. label is the folder, which is called after the
// distribution.
func efiLoader(folder string) (label, loader string, err error) {
	suffix := "x64.efi"
	if runtime.GOARCH == "arm64" {
		suffix = "aa64.efi"
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", "", fmt.Errorf("find the loader of GRUB: %w", err)
	}
	for _, name := range []string{"shim" + suffix, "grub" + suffix} {
		for _, e := range entries {
			if strings.EqualFold(e.Name(), "boot") {
				continue
			}
			if _, err := os.Stat(filepath.Join(folder, e.Name(), name)); err == nil {
				return e.Name(), `\EFI\` + e.Name() + `\` + name, nil
			}
		}
	}
	return "", "", fmt.Errorf("find the loader of GRUB: there is no grub%s below %s", suffix, folder)
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
