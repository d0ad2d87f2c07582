package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// List returns the disks of this machine that something can be installed on: those
// that are read-only, empty card readers, CD drives and disks in memory are left
// out.
func List() ([]Disk, error) { return list("/sys") }

// skipped are block devices that are no disks.
var skipped = []string{"loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd", "mtdblock"}

func list(sys string) ([]Disk, error) {
	entries, err := os.ReadDir(filepath.Join(sys, "block"))
	if err != nil {
		return nil, fmt.Errorf("list the disks: %w", err)
	}
	var disks []Disk
	for _, e := range entries {
		name := e.Name()
		dir := filepath.Join(sys, "block", name)
		if slices.ContainsFunc(skipped, func(p string) bool { return strings.HasPrefix(name, p) }) ||
			strings.Contains(name, "boot") && strings.HasPrefix(name, "mmcblk") || attribute(dir, "ro") == "1" {
			continue
		}
		sectors, err := strconv.ParseInt(attribute(dir, "size"), 10, 64) // of 512 bytes, whatever the disk has
		if err != nil || sectors == 0 {
			continue
		}
		sector, err := strconv.Atoi(attribute(dir, "queue/logical_block_size"))
		if err != nil {
			sector = 512
		}
		d := Disk{
			Path: "/dev/" + name, Size: sectors * 512, Sector: sector,
			Model: attribute(dir, "device/model"), Serial: serial(dir), Bus: bus(dir, name),
			Removable: attribute(dir, "removable") == "1", Rotates: attribute(dir, "queue/rotational") == "1",
		}
		disks = append(disks, d)
	}
	order(disks)
	for i := range disks {
		disks[i].Number = i
	}
	return disks, nil
}

func attribute(dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func serial(dir string) string {
	for _, name := range []string{"device/serial", "serial", "device/wwid"} {
		if s := attribute(dir, name); s != "" {
			return s
		}
	}
	return ""
}

// bus is what the disk hangs on, by the path of its device.
func bus(dir, name string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return ""
	}
	for _, b := range []string{"usb", "nvme", "virtio", "mmc", "ata"} {
		if strings.Contains(path, "/"+b) {
			if b == "ata" {
				b = "sata"
			}
			return b
		}
	}
	if strings.HasPrefix(name, "sd") {
		return "scsi"
	}
	return ""
}
