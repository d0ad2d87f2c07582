package disk

import (
	"fmt"
	"strconv"
	"strings"

	"castpoint/deploy/sequence"
)

// Sfdisk is the input of sfdisk that makes the plan's partition table.
func (p *Plan) Sfdisk() string {
	var b strings.Builder
	label := "gpt"
	if p.Table == MBR {
		label = "dos"
	}
	fmt.Fprintf(&b, "label: %s\nlabel-id: %s\nunit: sectors\n\n", label, p.ID)
	for _, v := range p.Volumes {
		k, _ := kindOf(v.Type)
		fmt.Fprintf(&b, "start=%d, size=%d", p.sectors(v.Start), p.sectors(v.Size))
		if p.Table == MBR {
			fmt.Fprintf(&b, ", type=%x", k.mbr)
			if v.Active {
				b.WriteString(", bootable")
			}
		} else {
			fmt.Fprintf(&b, ", type=%s, uuid=%s, name=%q", k.gpt, v.ID, v.Name)
			if v.Type == sequence.PartitionRecovery {
				// Windows wants it to be required, and without a letter.
				b.WriteString(`, attrs="RequiredPartition GUID:63"`)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (p *Plan) sectors(bytes int64) int64 { return bytes / int64(p.Disk.Sector) }

// SfdiskCommand takes Sfdisk on its input. Signatures of what was on the disk
// before are removed, or a file system of the past may be found again.
func (p *Plan) SfdiskCommand() []string {
	return []string{"sfdisk", "--quiet", "--wipe", "always", "--wipe-partitions", "always", p.Disk.Path}
}

// Geometry that the boot sectors of NTFS carry: what every BIOS translates to.
const (
	heads           = 255
	sectorsPerTrack = 63
)

// Mkfs is the command that formats a volume under Linux; nil where there is nothing
// to format. less is how many bytes at the end of an NTFS partition are left out of
// the file system.
func (p *Plan) Mkfs(v Volume, less int64) []string {
	switch v.Format {
	case FAT32:
		return []string{"mkfs.vfat", "-F", "32", "-n", strings.ToUpper(v.Label), v.Path}
	case ExFAT:
		return []string{"mkfs.exfat", "-n", v.Label, v.Path}
	case NTFS:
		args := []string{"mkntfs", "--quiet", "--force", "--label", v.Label,
			"--sector-size", strconv.Itoa(p.Disk.Sector),
			"--partition-start", strconv.FormatInt(p.sectors(v.Start), 10),
			"--heads", strconv.Itoa(heads), "--sectors-per-track", strconv.Itoa(sectorsPerTrack)}
		if !v.Full {
			args = append(args, "--quick")
		}
		args = append(args, v.Path)
		if less > 0 {
			args = append(args, strconv.FormatInt(p.sectors(v.Size-less), 10))
		}
		return args
	case Ext4:
		return []string{"mkfs.ext4", "-F", "-q", "-L", v.Label, v.Path}
	case XFS:
		return []string{"mkfs.xfs", "-f", "-q", "-L", v.Label, v.Path}
	case Swap:
		return []string{"mkswap", "-L", v.Label, v.Path}
	}
	return nil
}
