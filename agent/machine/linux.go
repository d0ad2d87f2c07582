package machine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
)

// kernel is what Linux' machine asks of the kernel itself.
type kernel interface {
	mount(source, target, format string) error
	unmount(target string) error
	// bind shows a folder at a second place.
	bind(source, target string) error
	// loop makes a block device of a part of another one; free removes it.
	loop(path string, offset, size int64) (device string, free func() error, err error)
	// flush has what was written to a file system and to its device be on the disk. It
	// is not mounted when folder is "".
	flush(folder, device string) error
	// sync is flush for all there is.
	sync()
	// nvmeNamespace is the number of an NVMe drive's namespace.
	nvmeNamespace(path string) (uint32, error)
	// nvme has a drive do an admin command, and waits as long as it takes.
	nvme(path string, c nvmeCommand) error
	// discardSecurely has a disk give up its blocks and erase what was in them.
	discardSecurely(path string, size int64) error
}

// Linux is castpoint's boot environment, or the Linux of the disk.
type Linux struct {
	programs Programs
	kernel   kernel
	list     func() ([]disk.Disk, error)
	// mounts is where volumes are mounted, by name.
	mounts string
	// grub holds boot.img and core.img, which start \bootmgr on BIOS machines.
	grub string
	// efi is the folder of the firmware's variables.
	efi     string
	dev     string            // where devices are
	mounted map[string]string // path of a volume -> folder
	onDisk  bool              // it is the Linux of the disk, not the boot environment
}

// NewLinux makes the machine of this boot environment.
func NewLinux(p Programs) *Linux {
	return &Linux{
		programs: p, kernel: newKernel(), list: disk.List, mounts: "/mnt", grub: "/usr/lib/castpoint/grub",
		efi: "/sys/firmware/efi", dev: "/dev", mounted: make(map[string]string),
	}
}

// NewLinuxOnDisk makes the machine of a Linux that was installed and runs.
func NewLinuxOnDisk(p Programs) *Linux {
	l := NewLinux(p)
	l.onDisk, l.mounts = true, "/run/castpoint/mnt"
	return l
}

// Environment is what conditions and the server call it.
func (l *Linux) Environment() string {
	if l.onDisk {
		return sequence.EnvironmentLinuxDisk
	}
	return sequence.EnvironmentLinux
}

// Firmware is uefi or bios.
func (l *Linux) Firmware() string {
	if _, err := os.Stat(l.efi); err == nil {
		return sequence.FirmwareUEFI
	}
	return sequence.FirmwareBIOS
}

// Disks are the disks of the machine.
func (l *Linux) Disks() ([]disk.Disk, error) { return l.list() }

// Partition makes a plan true: table, file systems, and every volume in reach.
func (l *Linux) Partition(ctx context.Context, p *disk.Plan) error {
	if err := errors.Join(l.notInUse(p.Disk), l.Release()); err != nil {
		return err
	}
	if err := must(ctx, l.programs, Program{Args: p.SfdiskCommand(), Input: strings.NewReader(p.Sfdisk())}); err != nil {
		return fmt.Errorf("divide disk %s: %w", p.Disk.Path, err)
	}
	for _, v := range p.Volumes {
		if err := l.format(ctx, p, v, 0); err != nil {
			return err
		}
	}
	return nil
}

func (l *Linux) format(ctx context.Context, p *disk.Plan, v disk.Volume, less int64) error {
	args := p.Mkfs(v, less)
	if args == nil {
		return nil
	}
	if err := must(ctx, l.programs, Program{Args: args}); err != nil {
		return fmt.Errorf("format volume %s: %w", v.Name, err)
	}
	return nil
}

// Folder is where the files of a volume are; it is mounted when it is not yet. A
// volume without a partition is a folder by itself.
func (l *Linux) Folder(ctx context.Context, v disk.Volume) (string, error) {
	if v.Path == "" {
		return v.Name, nil
	}
	if at, ok := l.mounted[v.Path]; ok {
		return at, nil
	}
	if at, err := l.mountedAt(v); err != nil || at != "" {
		return at, err
	}
	at := filepath.Join(l.mounts, v.Name)
	if err := os.MkdirAll(at, 0o755); err != nil {
		return "", fmt.Errorf("mount volume %s: %w", v.Name, err)
	}
	var err error
	switch v.Format {
	case disk.NTFS:
		// Not the kernel's own driver: ntfs-3g has written to NTFS for longer.
		err = must(ctx, l.programs, Program{Args: []string{"ntfs-3g", v.Path, at, "-o", "big_writes,noatime"}})
	case disk.FAT32, disk.ExFAT, disk.Ext4, disk.XFS:
		format := v.Format
		if format == disk.FAT32 {
			format = "vfat"
		}
		err = l.kernel.mount(v.Path, at, format)
	default:
		return "", fmt.Errorf("volume %s has no file system: it has no folder", v.Name)
	}
	if err != nil {
		return "", fmt.Errorf("mount volume %s: %w", v.Name, err)
	}
	l.mounted[v.Path] = at
	return at, nil
}

// leave unmounts a volume.
func (l *Linux) leave(v disk.Volume) error {
	at, ok := l.mounted[v.Path]
	if !ok {
		return nil
	}
	if err := l.kernel.unmount(at); err != nil {
		return fmt.Errorf("unmount volume %s: %w", v.Name, err)
	}
	delete(l.mounted, v.Path)
	return nil
}

// Release unmounts all volumes: before the machine restarts, or its disk is divided
// anew.
func (l *Linux) Release() error {
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(l.mounted)) {
		at := l.mounted[path]
		if err := l.kernel.unmount(at); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", at, err))
			continue
		}
		delete(l.mounted, path)
	}
	return errors.Join(errs...)
}

// Flush has what was written to volumes be on the disk.
func (l *Linux) Flush(volumes []disk.Volume) error {
	if l.onDisk {
		l.kernel.sync()
		return nil
	}
	paths := slices.Collect(maps.Keys(l.mounted)) // more than the volumes, where some were there before
	for _, v := range volumes {
		if v.Path != "" {
			paths = append(paths, v.Path)
		}
	}
	slices.Sort(paths)
	for _, path := range slices.Compact(paths) {
		if err := l.kernel.flush(l.mounted[path], path); err != nil {
			return fmt.Errorf("write what was written to volume %s to its disk: %w", path, err)
		}
	}
	return nil
}

// Shell is a command line as sh takes it.
func (l *Linux) Shell(command string) Program { return Program{Args: []string{"sh", "-c", command}} }

// PowerShell is for Windows.
func (l *Linux) PowerShell(*sequence.RunPowerShell, string) (Program, error) {
	return Program{}, errors.New("there is no PowerShell in Linux: run the step in Windows PE or in Windows (condition: environment startsWith \"windows\")")
}

// Programs runs what steps are told to run.
func (l *Linux) Programs() Programs { return l.programs }

// OpenRecord opens a disk for the state of a run.
func (l *Linux) OpenRecord(d disk.Disk) (*os.File, error) { return os.OpenFile(d.Path, os.O_RDWR, 0) }

// wipePiece is how much of a disk is written at once.
const wipePiece = 4 << 20

// Wipe destroys what is on a disk. percent is told how far it is.
func (l *Linux) Wipe(ctx context.Context, d disk.Disk, w *sequence.WipeDisk, percent func(float64)) (err error) {
	if err := errors.Join(l.notInUse(d), l.Release()); err != nil {
		return err
	}
	if w.Method == sequence.WipeSecureErase {
		if err := l.secureErase(ctx, d); err != nil {
			return fmt.Errorf("secure-erase of disk %s: %w", d.Path, err)
		}
		return nil
	}
	f, err := os.OpenFile(d.Path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("wipe disk: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	switch w.Method {
	case "", sequence.WipeQuick:
		// Tables lie at both ends, and so do the signatures of RAID and LVM.
		const ends = 16 << 20
		err = overwrite(ctx, f, 0, min(ends, d.Size), zeros{}, func(float64) {})
		if at := d.Size - ends; err == nil && at > 0 {
			err = overwrite(ctx, f, at, ends, zeros{}, func(float64) {})
		}
		if err == nil {
			// A disk that cannot discard is no failure.
			_ = must(ctx, l.programs, Program{Args: []string{"blkdiscard", d.Path}})
		}
	case sequence.WipeZero, sequence.WipeRandom:
		passes := max(w.Passes, 1)
		for i := range passes {
			var from io.Reader = zeros{}
			if w.Method == sequence.WipeRandom {
				from = rand.Reader
			}
			err = overwrite(ctx, f, 0, d.Size, from, func(p float64) { percent((float64(i)*100 + p) / float64(passes)) })
			if err != nil {
				break
			}
		}
	default:
		return fmt.Errorf("wipe disk %s: method %s is not possible in the Linux boot environment: take zero or random", d.Path, w.Method)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("wipe disk %s: %w", d.Path, err)
	}
	return nil
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func overwrite(ctx context.Context, f io.WriterAt, at, size int64, from io.Reader, percent func(float64)) error {
	b := make([]byte, wipePiece)
	for done := int64(0); done < size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := min(int64(len(b)), size-done)
		if _, err := io.ReadFull(from, b[:n]); err != nil {
			return err
		}
		if _, err := f.WriteAt(b[:n], at+done); err != nil {
			return err
		}
		done += n
		percent(float64(done) / float64(size) * 100)
	}
	return nil
}

// efiName is what removable media are booted by (UEFI 2.10 section 3.5.1.1).
func efiName() string {
	if runtime.GOARCH == "arm64" {
		return "bootaa64.efi"
	}
	return "bootx64.efi"
}
