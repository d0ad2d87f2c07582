package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/boot/bcd"
	"castpoint/boot/bcd/value"
	"castpoint/deploy/sequence"
)

// Bootloader makes a disk boot the operating system on a volume of it.
func (l *Linux) Bootloader(ctx context.Context, p *disk.Plan, system, windows disk.Volume, step *sequence.InstallBootloader) error {
	uefi, bios := l.wanted(step.Firmware)
	if step.Kind == sequence.BootloaderGRUB {
		return l.installGRUB(ctx, p, system, windows, uefi, bios, step.NoEntry)
	}
	to, err := l.Folder(ctx, system)
	if err != nil {
		return err
	}
	from, err := l.Folder(ctx, windows)
	if err != nil {
		return err
	}
	if uefi {
		if err := copyWindowsEFI(ctx, from, to); err != nil {
			return err
		}
		if err := writeBCD(p, system, windows, bcd.UEFI, to, "EFI/Microsoft/Boot"); err != nil {
			return err
		}
	}
	if bios {
		if p.Table != disk.MBR {
			return errors.New("a BIOS boots Windows from an MBR disk only: say table: mbr in the partition-disk step")
		}
		if err := copyWindowsBIOS(ctx, from, to); err != nil {
			return err
		}
		if err := writeBCD(p, system, windows, bcd.BIOS, to, "Boot"); err != nil {
			return err
		}
		if err := l.writeMBR(p); err != nil {
			return err
		}
	}
	if uefi && !step.NoEntry && l.Firmware() == sequence.FirmwareUEFI {
		return l.firmwareEntry(ctx, p, system, "Windows Boot Manager", `\EFI\Microsoft\Boot\bootmgfw.efi`)
	}
	return nil
}

// wanted says for which firmware a boot loader is installed.
func (l *Linux) wanted(firmware string) (uefi, bios bool) {
	if firmware == "" {
		firmware = l.Firmware()
	}
	return firmware != sequence.FirmwareBIOS, firmware != sequence.FirmwareUEFI
}

// missing says what an image that cannot be booted lacks.
func missing(err error, what string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the image has no %s: it is no Windows that can be booted with this firmware", what)
	}
	return err
}

// copyWindowsEFI copies what bcdboot copies: the boot manager with its languages,
// fonts and resources; and the boot manager once more under the name that firmware
// tries by itself.
func copyWindowsEFI(ctx context.Context, from, to string) error {
	boot, err := Find(from, "Windows/Boot/EFI")
	if err != nil {
		return missing(err, "Windows/Boot/EFI")
	}
	manager, err := Find(boot, "bootmgfw.efi")
	if err != nil {
		return missing(err, "Windows/Boot/EFI/bootmgfw.efi")
	}
	into, err := makeFolder(to, "EFI/Microsoft/Boot")
	if err != nil {
		return fmt.Errorf("make EFI/Microsoft/Boot: %w", err)
	}
	if err := copyTree(ctx, boot, into); err != nil {
		return fmt.Errorf("copy the boot manager: %w", err)
	}
	for _, folder := range []string{"Fonts", "Resources"} {
		source, err := Find(from, "Windows/Boot/"+folder)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = copyTree(ctx, source, filepath.Join(into, folder))
		}
		if err != nil {
			return fmt.Errorf("copy the boot manager's %s: %w", folder, err)
		}
	}
	fallback, err := makeFolder(to, "EFI/Boot")
	if err == nil {
		err = copyFile(manager, filepath.Join(fallback, efiName()))
	}
	if err != nil {
		return fmt.Errorf("copy the boot manager to EFI/Boot: %w", err)
	}
	return nil
}

// copyWindowsBIOS copies bootmgr to the top of the active partition, and the rest
// to Boot.
func copyWindowsBIOS(ctx context.Context, from, to string) error {
	manager, err := Find(from, "Windows/Boot/PCAT/bootmgr")
	if err != nil {
		return missing(err, "Windows/Boot/PCAT/bootmgr")
	}
	if err := copyFile(manager, filepath.Join(to, "bootmgr")); err != nil {
		return err
	}
	into, err := makeFolder(to, "Boot")
	if err != nil {
		return fmt.Errorf("make Boot: %w", err)
	}
	for source, dest := range map[string]string{"Windows/Boot/PCAT": into, "Windows/Boot/Fonts": filepath.Join(into, "Fonts"),
		"Windows/Boot/Resources": filepath.Join(into, "Resources")} {
		folder, err := Find(from, source)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = copyTree(ctx, folder, dest)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", source, err)
		}
	}
	return nil
}

// writeBCD writes the boot configuration into a folder of the system volume.
func writeBCD(p *disk.Plan, system, windows disk.Volume, firmware bcd.Firmware, to, folder string) error {
	o := bcd.InstalledOptions{Firmware: firmware}
	var err error
	if o.System, err = bcdPartition(p, system); err != nil {
		return err
	}
	if o.Windows, err = bcdPartition(p, windows); err != nil {
		return err
	}
	store, err := bcd.Installed(o)
	if err != nil {
		return err
	}
	b, err := store.Bytes()
	if err != nil {
		return fmt.Errorf("write boot configuration: %w", err)
	}
	into, err := makeFolder(to, folder)
	if err == nil {
		err = writeFile(filepath.Join(into, "BCD"), b)
	}
	if err != nil {
		return fmt.Errorf("write boot configuration: %w", err)
	}
	return nil
}

func bcdPartition(p *disk.Plan, v disk.Volume) (part value.Partition, err error) {
	if p.Table == disk.MBR {
		signature, err := strconv.ParseUint(strings.TrimPrefix(p.ID, "0x"), 16, 32)
		if err != nil {
			return part, fmt.Errorf("signature %q of disk %s: %w", p.ID, p.Disk.Path, err)
		}
		return value.Partition{MBR: true, Offset: uint64(v.Start), Signature: uint32(signature)}, nil
	}
	if part.ID, err = value.ParseGUID(v.ID); err != nil {
		return part, fmt.Errorf("partition %s: %w", v.Name, err)
	}
	if part.Disk, err = value.ParseGUID(p.ID); err != nil {
		return part, fmt.Errorf("disk %s: %w", p.Disk.Path, err)
	}
	return part, nil
}

// Of the first sector of an MBR disk the first 440 bytes are code; signature and
// partition table follow.
const (
	mbrCode  = 440
	coreMost = 512<<10 - 512 // up to the record of the run
)

// writeMBR writes what starts bootmgr: GRUB's boot.img into the first sector, and
// behind it, before the first partition, a core image that loads \bootmgr of the
// disk's own partitions (its command ntldr). boot.img loads the sector after
// itself, so nothing needs to be filled in.
func (l *Linux) writeMBR(p *disk.Plan) (err error) {
	boot, err := os.ReadFile(filepath.Join(l.grub, "boot.img"))
	if err != nil {
		return fmt.Errorf("this boot image cannot make a disk that a BIOS boots: build it anew: %w", err)
	}
	core, err := os.ReadFile(filepath.Join(l.grub, "core.img"))
	if err != nil {
		return fmt.Errorf("this boot image cannot make a disk that a BIOS boots: build it anew: %w", err)
	}
	if len(boot) < mbrCode || len(core) > coreMost {
		return fmt.Errorf("GRUB's boot.img has %d bytes and core.img %d: want at least %d, and at most %d", len(boot), len(core), mbrCode, coreMost)
	}
	f, err := os.OpenFile(p.Disk.Path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("write the boot sector: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(core, int64(p.Disk.Sector)); err != nil {
		return fmt.Errorf("write the boot loader to %s: %w", p.Disk.Path, err)
	}
	if _, err := f.WriteAt(boot[:mbrCode], 0); err != nil {
		return fmt.Errorf("write the boot sector of %s: %w", p.Disk.Path, err)
	}
	return f.Sync()
}

// firmwareEntry makes an entry in the boot menu of UEFI firmware, in place of
// those of the same name. The entry that the machine was booted by stays before it:
// who has his machines ask the network first keeps that.
func (l *Linux) firmwareEntry(ctx context.Context, p *disk.Plan, system disk.Volume, label, loader string) error {
	before, err := l.programs.Run(ctx, Program{Args: []string{"efibootmgr"}})
	if err != nil || before.Code != 0 {
		// Firmware without variables that can be written: the fallback path boots.
		return nil //nolint:nilerr // the disk boots by the fallback path
	}
	menu := parseBootMenu(before.Tail)
	for _, number := range menu.labelled(label) {
		if err := must(ctx, l.programs, Program{Args: []string{"efibootmgr", "--quiet", "--bootnum", number, "--delete-bootnum"}}); err != nil {
			return fmt.Errorf("remove the old boot entry %s: %w", number, err)
		}
	}
	if err := must(ctx, l.programs, Program{Args: []string{"efibootmgr", "--quiet", "--create", "--disk", p.Disk.Path,
		"--part", strconv.Itoa(system.Number), "--label", label, "--loader", loader}}); err != nil {
		return fmt.Errorf("make the boot entry of the firmware: %w", err)
	}
	after, err := l.programs.Run(ctx, Program{Args: []string{"efibootmgr"}})
	if err != nil {
		return fmt.Errorf("read the boot menu of the firmware: %w", err)
	}
	menu = parseBootMenu(after.Tail)
	order := menu.behindCurrent(label)
	if order == "" {
		return nil
	}
	return must(ctx, l.programs, Program{Args: []string{"efibootmgr", "--quiet", "--bootorder", order}})
}

// bootMenu is what efibootmgr prints.
type bootMenu struct {
	current string
	order   []string
	labels  map[string]string // number -> label
	paths   map[string]string // number -> device path
}

func parseBootMenu(text string) bootMenu {
	m := bootMenu{labels: make(map[string]string), paths: make(map[string]string)}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if v, ok := strings.CutPrefix(line, "BootCurrent: "); ok {
			m.current = v
		} else if v, ok := strings.CutPrefix(line, "BootOrder: "); ok {
			m.order = strings.Split(v, ",")
		} else if len(line) > 10 && strings.HasPrefix(line, "Boot") && (line[8] == '*' || line[8] == ' ') {
			m.labels[line[4:8]], m.paths[line[4:8]], _ = strings.Cut(line[10:], "\t")
		}
	}
	return m
}

func (m *bootMenu) labelled(label string) (numbers []string) {
	for _, number := range m.order {
		if m.labels[number] == label {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// behindCurrent is the order with the entries of that label moved behind the one
// that the machine was booted by; "" when that is not in it.
func (m *bootMenu) behindCurrent(label string) string {
	var order []string
	found := false
	for _, number := range m.order {
		if m.labels[number] == label {
			continue
		}
		order = append(order, number)
		if number == m.current {
			order = append(order, m.labelled(label)...)
			found = true
		}
	}
	if !found {
		return ""
	}
	return strings.Join(order, ",")
}
