package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"castpoint/deploy/sequence"
)

// Partition tables, as sequences name them.
const (
	GPT = "gpt"
	MBR = "mbr"
)

// File systems, as sequences name them.
const (
	FAT32       = "fat32"
	ExFAT       = "exfat"
	NTFS        = "ntfs"
	Ext4        = "ext4"
	XFS         = "xfs"
	Swap        = "swap"
	Unformatted = "none"
)

// mib is the grain of every partition.
const mib = 1 << 20

// kind is what a type of partition means on disk.
type kind struct {
	gpt      string // type GUID
	mbr      byte   // type; 0 where an MBR has none
	format   string // of its own accord
	smallest int64  // bytes
}

// kinds are the types of partitions. Sources: UEFI specification 2.10 table 5.7;
// Microsoft, "UEFI/GPT-based hard drive partitions"; the Discoverable Partitions
// Specification; sfdisk's list of MBR types.
func kindOf(name string) (kind, bool) {
	switch name {
	case "", sequence.PartitionData:
		return kind{"EBD0A0A2-B9E5-4433-87C0-68B6B72699C7", 0x07, NTFS, 16 * mib}, true
	case sequence.PartitionESP:
		return kind{"C12A7328-F81F-11D2-BA4B-00A0C93EC93B", 0xef, FAT32, 34 * mib}, true // fewer are no FAT32
	case sequence.PartitionMSR:
		return kind{"E3C9E316-0B5C-4DB8-817D-F92DF00215AE", 0, Unformatted, mib}, true
	case sequence.PartitionRecovery:
		return kind{"DE94BBA4-06D1-4D40-A16A-BFD50179D6AC", 0x27, NTFS, 16 * mib}, true
	case sequence.PartitionBIOSBoot:
		return kind{"21686148-6449-6E6F-744E-656564454649", 0, Unformatted, mib}, true
	case sequence.PartitionLinux:
		return kind{"0FC63DAF-8483-4772-8E79-3D69D8477DE4", 0x83, Ext4, 8 * mib}, true
	case sequence.PartitionLinuxSwap:
		return kind{"0657FD6D-A4AB-43C4-84E5-0933C84B4F4F", 0x82, Swap, mib}, true
	}
	return kind{}, false
}

// standard are the layouts that need no list of partitions. Microsoft asks for an
// EFI system partition of 260 MiB on disks with sectors of 4096 bytes, and for
// 16 MiB of its own.
func standard(layout string) ([]sequence.Partition, error) {
	const uefi, bios = sequence.FirmwareUEFI, sequence.FirmwareBIOS
	bytes := func(n int64) sequence.Extent { return sequence.Extent{Bytes: n * mib} }
	rest := sequence.Extent{Rest: true}
	switch layout {
	case "windows":
		return []sequence.Partition{
			{Name: "System", Type: sequence.PartitionESP, Size: bytes(300), Firmware: uefi},
			{Name: "MSR", Type: sequence.PartitionMSR, Size: bytes(16), Firmware: uefi},
			{Name: "System", Size: bytes(500), Firmware: bios, Active: true},
			{Name: "Windows", Size: rest},
			{Name: "Recovery", Type: sequence.PartitionRecovery, Size: bytes(1024)},
		}, nil
	case "linux":
		return []sequence.Partition{
			{Name: "System", Type: sequence.PartitionESP, Size: bytes(300), Firmware: uefi},
			{Name: "System", Type: sequence.PartitionLinux, Size: bytes(500), Firmware: bios, Active: true},
			{Name: "Root", Type: sequence.PartitionLinux, Size: rest},
		}, nil
	case "data":
		return []sequence.Partition{{Name: "Data", Size: rest}}, nil
	}
	return nil, fmt.Errorf("layout %q: want windows, linux or data, or a list of partitions", layout)
}

// layout is what a step wants on a machine with that firmware: a table, and the
// partitions for that firmware with everything filled in.
func layout(step *sequence.PartitionDisk, firmware string) (table string, list []sequence.Partition, err error) {
	all := step.Partitions
	if len(all) == 0 {
		if all, err = standard(step.Layout); err != nil {
			return "", nil, err
		}
	}
	all = slices.DeleteFunc(slices.Clone(all), func(p sequence.Partition) bool {
		return p.Firmware != "" && p.Firmware != sequence.FirmwareAny && p.Firmware != firmware
	})
	if table, err = tableOf(step.Table, firmware, all); err != nil {
		return "", nil, err
	}
	names := make(map[string]bool)
	for i, p := range all {
		if err := complete(&p, table); err != nil {
			return "", nil, fmt.Errorf("partition %d (%s): %w", i+1, p.Name, err)
		}
		if names[strings.ToLower(p.Name)] {
			return "", nil, fmt.Errorf("partition %d: the name %s is there twice", i+1, p.Name)
		}
		names[strings.ToLower(p.Name)] = true
		list = append(list, p)
	}
	return table, list, checkTogether(table, list)
}

// tableOf is the partition table: of its own accord what the firmware boots from,
// which for a BIOS is a GPT when there is a partition for GRUB in it.
func tableOf(want, firmware string, list []sequence.Partition) (string, error) {
	switch want {
	case GPT, MBR:
		return want, nil
	case "", "auto":
	default:
		return "", fmt.Errorf("partition table %q: want auto, gpt or mbr", want)
	}
	grub := func(p sequence.Partition) bool { return p.Type == sequence.PartitionBIOSBoot }
	if firmware == sequence.FirmwareBIOS && !slices.ContainsFunc(list, grub) {
		return MBR, nil
	}
	return GPT, nil
}

func checkTogether(table string, list []sequence.Partition) error {
	share, rest, active := 0.0, 0, 0
	for _, p := range list {
		share += p.Size.Share
		if p.Size.Rest {
			rest++
		}
		if p.Active {
			active++
		}
	}
	switch {
	case len(list) == 0:
		return errors.New("it has no partition for this machine's firmware")
	case table == MBR && len(list) > 4:
		return fmt.Errorf("%d partitions: an MBR has room for 4", len(list))
	case share > 100:
		return fmt.Errorf("the shares of the partitions add up to %g%%", share)
	case rest > 1:
		return errors.New("more than one partition is to have the rest")
	case active > 1:
		return errors.New("more than one partition is active")
	}
	return nil
}

// complete checks a partition by itself and puts in what it leaves out.
func complete(p *sequence.Partition, table string) error {
	k, ok := kindOf(p.Type)
	switch {
	case p.Name == "":
		return errors.New("it has no name")
	case !ok:
		return fmt.Errorf("type %q: want data, esp, msr, recovery, bios-boot, linux or linux-swap", p.Type)
	case table == MBR && k.mbr == 0:
		return fmt.Errorf("a partition of type %s belongs to a GPT disk", p.Type)
	case table == GPT && p.Active:
		return errors.New("only an MBR has active partitions")
	case p.Size.IsZero():
		return errors.New("it has no size")
	case p.Size.Bytes > 0 && p.Size.Bytes < k.smallest:
		return fmt.Errorf("size %s: a partition of type %s has at least %d MiB", p.Size, p.Type, k.smallest/mib)
	}
	if p.Type == "" {
		p.Type = sequence.PartitionData
	}
	if p.Format == "" {
		p.Format = k.format
	}
	if p.Label == "" {
		p.Label = p.Name
	}
	p.Letter = strings.ToUpper(strings.TrimSuffix(p.Letter, ":"))
	if len(p.Letter) > 1 || p.Letter != "" && !strings.Contains("ABCDEFGHIJKLMNOPQRSTUVWYZ", p.Letter) {
		return fmt.Errorf("letter %q: want A to Z but X, which is Windows PE", p.Letter)
	}
	return checkLabel(p.Format, p.Label)
}

// checkLabel knows how much of a label each file system takes.
func checkLabel(format, label string) error {
	limits := map[string]int{FAT32: 11, ExFAT: 11, NTFS: 32, Ext4: 16, XFS: 12, Swap: 15, Unformatted: 36}
	limit, ok := limits[format]
	switch {
	case !ok:
		return fmt.Errorf("format %q: want none, ntfs, fat32, exfat, ext4, xfs or swap", format)
	case len(label) > limit:
		return fmt.Errorf("label %q: %s takes %d characters", label, format, limit)
	case strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"*?/\|,;:+=<>[]`, r) }):
		return fmt.Errorf("label %q: want letters, digits, spaces, hyphens and underscores", label)
	}
	return nil
}
