package sequence

// PartitionDisk divides a disk.
type PartitionDisk struct {
	Disk       string      `yaml:"disk,omitempty" json:"disk,omitempty" doc:"Which disk: its number among the fixed disks, from 0 (the default), first, smallest, largest, serial:TEXT, or a path as in /dev/nvme0n1."`
	Table      string      `yaml:"table,omitempty" json:"table,omitempty" enum:"auto,gpt,mbr" doc:"The partition table; auto (the default) is gpt with UEFI firmware and mbr with BIOS."`
	Layout     string      `yaml:"layout,omitempty" json:"layout,omitempty" enum:"windows,linux,data" doc:"A layout that needs no list of partitions: windows has the volumes System, Windows and Recovery, linux System and Root, data has Data."`
	Partitions []Partition `yaml:"partitions,omitempty" json:"partitions,omitempty" doc:"The partitions, in the order on the disk."`
}

// Partition is one partition and the volume on it.
type Partition struct {
	Name     string `yaml:"name" json:"name" doc:"What later steps call the volume; also its name in a GPT."`
	Type     string `yaml:"type,omitempty" json:"type,omitempty" enum:"data,esp,msr,recovery,bios-boot,linux,linux-swap" doc:"What the partition is for; data is the default."`
	Size     Extent `yaml:"size" json:"size" doc:"Its size (300MiB, 60GiB), its share of what the sizes leave over (50%), or rest."`
	Format   string `yaml:"format,omitempty" json:"format,omitempty" enum:"none,ntfs,fat32,exfat,ext4,xfs,swap" doc:"The file system; without it that of the type."`
	Label    string `yaml:"label,omitempty" json:"label,omitempty" doc:"The label of the file system; without it the name."`
	Letter   string `yaml:"letter,omitempty" json:"letter,omitempty" doc:"The drive letter in Windows PE, A to Z; without it a free one."`
	Variable string `yaml:"variable,omitempty" json:"variable,omitempty" doc:"A variable that is set to where the volume can be reached: W: or a folder." raw:"true"`
	Firmware string `yaml:"firmware,omitempty" json:"firmware,omitempty" enum:"any,uefi,bios" doc:"The partition is made on machines with this firmware only."`
	Active   bool   `yaml:"active,omitempty" json:"active,omitempty" doc:"The BIOS boots from it; MBR only."`
	Full     bool   `yaml:"full,omitempty" json:"full,omitempty" doc:"Formats slowly, every sector of it."`
}

// Types of partitions.
const (
	PartitionData      = "data"
	PartitionESP       = "esp"
	PartitionMSR       = "msr"
	PartitionRecovery  = "recovery"
	PartitionBIOSBoot  = "bios-boot"
	PartitionLinux     = "linux"
	PartitionLinuxSwap = "linux-swap"
)

// Firmware of machines.
const (
	FirmwareAny  = "any"
	FirmwareUEFI = "uefi"
	FirmwareBIOS = "bios"
)

// Methods of wipe-disk.
const (
	WipeQuick       = "quick"
	WipeZero        = "zero"
	WipeRandom      = "random"
	WipeSecureErase = "secure-erase"
)

// WipeDisk destroys what is on disks.
type WipeDisk struct {
	Disk   string `yaml:"disk,omitempty" json:"disk,omitempty" doc:"As in partition-disk; all for every fixed disk."`
	Method string `yaml:"method,omitempty" json:"method,omitempty" enum:"quick,zero,random,secure-erase" doc:"quick (the default) destroys partition tables and the beginnings of file systems and discards blocks where the disk can; zero and random write all of it; secure-erase is the disk's own command (NVMe, SATA, eMMC). Windows PE does quick and zero."`
	Passes int    `yaml:"passes,omitempty" json:"passes,omitempty" doc:"How often zero or random write it, 1 to 7."`
}
