package disk

import (
	"fmt"
	"strings"

	"castpoint/deploy/sequence"
)

// Diskpart is the script of diskpart that makes the plan's partitions and formats
// them. diskpart places partitions by itself, at the same whole MiB.
func (p *Plan) Diskpart() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("select disk %d", p.Disk.Number)
	line("clean")
	line("convert %s", p.Table)
	for _, v := range p.Volumes {
		k, _ := kindOf(v.Type)
		size := v.Size / mib
		switch {
		case p.Table == MBR:
			line("create partition primary size=%d", size)
		case v.Type == sequence.PartitionESP:
			line("create partition efi size=%d", size)
		case v.Type == sequence.PartitionMSR:
			line("create partition msr size=%d", size)
		default:
			line("create partition primary size=%d", size)
		}
		switch v.Format {
		case FAT32, ExFAT, NTFS:
			quick := " quick"
			if v.Full {
				quick = ""
			}
			line("format%s fs=%s label=%q", quick, v.Format, v.Label)
		}
		switch {
		case p.Table == MBR && k.mbr != 0x07:
			line("set id=%02x override", k.mbr)
		case p.Table == GPT && v.Type != sequence.PartitionData && v.Type != sequence.PartitionESP && v.Type != sequence.PartitionMSR:
			line("set id=%q override", strings.ToLower(k.gpt))
		}
		if v.Active {
			line("active")
		}
		if p.Table == GPT && v.Type == sequence.PartitionRecovery {
			line("gpt attributes=0x8000000000000001")
		}
		if v.Letter != "" {
			line("assign letter=%s", v.Letter)
		}
	}
	line("exit")
	return b.String()
}

// CheckWindows says which of the plan's volumes Windows cannot format.
func (p *Plan) CheckWindows() error {
	for _, v := range p.Volumes {
		switch v.Format {
		case Ext4, XFS, Swap:
			return fmt.Errorf("partition %s: Windows PE cannot format %s: use the Linux boot environment", v.Name, v.Format)
		}
	}
	return nil
}
