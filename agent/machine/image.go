package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/content/wim"
)

// Image is an image file and what is to become of it.
type Image struct {
	// Size is what the file takes on the machine while it is applied, in bytes.
	Size int64
	// Receive brings the file to out, a file or a block device; nil when the file
	// is Local already.
	Receive func(ctx context.Context, out string) error
	Local   string
	Index   string // number or name of the image in the file; "" is 1
	Compact bool
	// Percent is told how far applying is; never nil.
	Percent func(float64)
}

func (im *Image) index() string {
	if im.Index == "" {
		return "1"
	}
	return im.Index
}

// describe reads what image the file has, and its size when it is applied.
func (im *Image) describe(path string) (wim.Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return wim.Image{}, err
	}
	defer f.Close()
	// Of a block device Stat says 0; the end of a WIM is in its header.
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return wim.Image{}, err
	}
	info, err := wim.Describe(f, size)
	if err != nil {
		return wim.Image{}, fmt.Errorf("the image file is no WIM that can be applied: %w", err)
	}
	want := im.index()
	if n, err := strconv.Atoi(want); err == nil {
		if one, ok := info.Image(n); ok {
			return one, nil
		}
	}
	var names []string
	for _, one := range info.Images {
		if strings.EqualFold(one.Name, want) {
			return one, nil
		}
		names = append(names, fmt.Sprintf("%d %s", one.Index, one.Name))
	}
	return wim.Image{}, fmt.Errorf("the image file has no image %q; it has %s", want, strings.Join(names, ", "))
}

// imageBytes is what an image's files take: those that are there twice by hard links
// count once.
func imageBytes(one wim.Image) int64 { return one.TotalBytes - one.HardLinkBytes }

// ErrSpace says that something does not fit on a volume.
var ErrSpace = errors.New("not enough room")

// reserve is what a file system needs beside the files in it: a hundredth, and
// NTFS' own files.
func reserve(size int64) int64 { return size/100 + 32<<20 }

// progressPattern is how wimlib and DISM say how far they are: (27%), 27.0%.
var progressPattern = regexp.MustCompile(`(\d{1,3}(?:\.\d+)?)%`)

// follow reads how far a program is out of what it prints.
func follow(percent func(float64)) func([]byte) {
	return func(b []byte) {
		all := progressPattern.FindAllSubmatch(b, -1)
		if len(all) == 0 {
			return
		}
		if p, err := strconv.ParseFloat(string(all[len(all)-1][1]), 64); err == nil && p <= 100 {
			percent(p)
		}
	}
}

// ApplyImage applies an operating system to a volume, whose contents are lost. To
// an NTFS volume the image is written without mounting it, which keeps everything
// that NTFS has: permissions, short names, links, compression flags. The file waits
// at the end of the partition meanwhile, behind a file system that is made smaller
// and grows at the end.
func (l *Linux) ApplyImage(ctx context.Context, p *disk.Plan, v disk.Volume, im Image) error {
	switch {
	case im.Compact:
		return errors.New("compact is not possible in the Linux boot environment: leave it out, or use Windows PE")
	case v.Format != disk.NTFS:
		return l.ApplyFiles(ctx, v, "", im)
	}
	at, err := l.mountedAt(v)
	if err == nil && at != "" {
		err = fmt.Errorf("volume %s is in use by the system that runs (%s): restart into the boot image before the step", v.Name, at)
	}
	if err != nil {
		return err
	}
	if err := l.leave(v); err != nil {
		return err
	}
	if im.Receive == nil {
		if err := l.format(ctx, p, v, 0); err != nil {
			return err
		}
		return l.applyNTFS(ctx, v, v.Size, im.Local, im)
	}
	// The loop device has whole sectors.
	staging := (im.Size + int64(p.Disk.Sector) - 1) / int64(p.Disk.Sector) * int64(p.Disk.Sector)
	if v.Size-staging < reserve(0) {
		return fmt.Errorf("%w: the image file has %d MiB, volume %s has %d: make it larger", ErrSpace, im.Size>>20, v.Name, v.Size>>20)
	}
	if err := l.format(ctx, p, v, staging); err != nil {
		return err
	}
	if err := l.applyStaged(ctx, v, staging, im); err != nil {
		return err
	}
	if err := must(ctx, l.programs, Program{Args: []string{"ntfsresize", "--force", "--force", "--no-progress-bar", v.Path}}); err != nil {
		return fmt.Errorf("grow volume %s to its partition: %w", v.Name, err)
	}
	// ntfsresize asks Windows to check the volume at its first start.
	if err := must(ctx, l.programs, Program{Args: []string{"ntfsfix", "--clear-dirty", v.Path}}); err != nil {
		return fmt.Errorf("finish volume %s: %w", v.Name, err)
	}
	return nil
}

func (l *Linux) applyStaged(ctx context.Context, v disk.Volume, staging int64, im Image) (err error) {
	device, free, err := l.kernel.loop(v.Path, v.Size-staging, staging)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	if err := im.Receive(ctx, device); err != nil {
		return err
	}
	return l.applyNTFS(ctx, v, v.Size-staging, device, im)
}

// applyNTFS applies a file to an unmounted volume with room for that many bytes.
func (l *Linux) applyNTFS(ctx context.Context, v disk.Volume, room int64, file string, im Image) error {
	one, err := im.describe(file)
	if err != nil {
		return err
	}
	need := imageBytes(one)
	if need += reserve(need); need > room {
		return fmt.Errorf("%w: image %q takes %d MiB, volume %s has %d for it while its file is there: make it larger", ErrSpace, one.Name, need>>20, v.Name, room>>20)
	}
	return l.wimlib(ctx, v, im, file, v.Path)
}

// place is what an image is applied to that waits on its volume as a file.
type place interface {
	Folder(ctx context.Context, v disk.Volume) (string, error)
}

// applyTo brings the file of an image to the volume that it is applied to, looks
// whether the image fits, and has apply write it to a folder of the volume.
func applyTo(ctx context.Context, m place, v disk.Volume, folder string, im Image, apply func(file string, one wim.Image, into string) error) (err error) {
	root, err := m.Folder(ctx, v)
	if err != nil {
		return err
	}
	file := im.Local
	if im.Receive != nil {
		file = filepath.Join(root, "castpoint-image.wim")
		defer func() {
			if gone := os.Remove(file); gone != nil && !errors.Is(gone, os.ErrNotExist) {
				err = errors.Join(err, gone)
			}
		}()
		if err := im.Receive(ctx, file); err != nil {
			return err
		}
	}
	one, err := im.describe(file)
	if err != nil {
		return err
	}
	free, err := FreeSpace(root)
	if err == nil && imageBytes(one) > free && !im.Compact {
		err = fmt.Errorf("%w: image %q takes %d MiB, volume %s has %d left: make it larger", ErrSpace, one.Name, imageBytes(one)>>20, v.Name, free>>20)
	}
	if err != nil {
		return err
	}
	into, err := makeFolder(root, folder)
	if err != nil {
		return err
	}
	return apply(file, one, into)
}

// ApplyFiles applies an image to a folder of a mounted volume; what is there
// stays. The file waits on the same volume.
func (l *Linux) ApplyFiles(ctx context.Context, v disk.Volume, folder string, im Image) error {
	return applyTo(ctx, l, v, folder, im, func(file string, _ wim.Image, into string) error {
		return l.wimlib(ctx, v, im, file, into)
	})
}

func (l *Linux) wimlib(ctx context.Context, v disk.Volume, im Image, file, into string) error {
	args := []string{"wimlib-imagex", "apply", file, im.index(), into}
	if into != v.Path && v.Format != disk.NTFS && v.Format != disk.FAT32 && v.Format != disk.ExFAT {
		args = append(args, "--unix-data") // owners, modes, device files
	}
	if err := must(ctx, l.programs, Program{Args: args, Output: follow(im.Percent)}); err != nil {
		return fmt.Errorf("apply the image to volume %s: %w", v.Name, err)
	}
	return nil
}

// Capture makes a WIM file of a volume. One that this run has not made is named by its
// device.
func (l *Linux) Capture(ctx context.Context, v disk.Volume, file, image, compression string, percent func(float64)) error {
	if info, err := os.Stat(v.Name); v.Path == "" && err == nil && info.Mode().Type() == fs.ModeDevice {
		if v, err = found(v.Name); err != nil {
			return err
		}
	}
	source := v.Path
	args := []string{"wimlib-imagex", "capture"}
	if v.Format == disk.NTFS {
		if err := l.leave(v); err != nil {
			return err
		}
	} else {
		at, err := l.Folder(ctx, v)
		if err != nil {
			return err
		}
		source = at
	}
	args = append(args, source, file, image, "--compress="+compression, "--check")
	if v.Format == disk.Ext4 || v.Format == disk.XFS {
		args = append(args, "--unix-data")
	}
	if err := must(ctx, l.programs, Program{Args: args, Output: follow(percent)}); err != nil {
		return fmt.Errorf("capture volume %s: %w", v.Name, err)
	}
	return nil
}

// marks of file systems, and where they are on a volume.
var marks = []struct {
	at           int
	mark, format string
}{
	{3, "NTFS    ", disk.NTFS},
	{3, "EXFAT   ", disk.ExFAT},
	{0x52, "FAT32   ", disk.FAT32},
	{0x36, "FAT1", disk.FAT32}, // FAT12 and FAT16: the same driver
	{0, "XFSB", disk.XFS},
	{0x438, "\x53\xef", disk.Ext4}, // of ext2 and ext3, too, which its driver reads
}

// found is the volume on a device that somebody else has formatted.
func found(device string) (v disk.Volume, err error) {
	v = disk.Volume{Name: filepath.Base(device), Path: device}
	f, err := os.Open(device)
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, 0x440)
	if _, err := f.ReadAt(b, 0); err != nil {
		return v, fmt.Errorf("read the beginning of %s: %w", device, err)
	}
	for _, m := range marks {
		if string(b[m.at:m.at+len(m.mark)]) == m.mark {
			v.Format = m.format
			return v, nil
		}
	}
	return v, fmt.Errorf("%s has no file system that can be captured: want NTFS, FAT, exFAT, ext4 or XFS", device)
}

// Extract takes a WIM file apart into a folder, which is made.
func (l *Linux) Extract(ctx context.Context, file, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	return must(ctx, l.programs, Program{Args: []string{"wimlib-imagex", "apply", file, "1", folder, "--no-acls"}})
}
