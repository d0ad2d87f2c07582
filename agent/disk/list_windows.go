package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/windows"
)

// Control codes and layouts of winioctl.h.
const (
	ioctlGeometryEx    = 0x000700a0 // IOCTL_DISK_GET_DRIVE_GEOMETRY_EX
	ioctlQueryProperty = 0x002d1400 // IOCTL_STORAGE_QUERY_PROPERTY
	mostDrives         = 64
	removableMedia     = 11 // MEDIA_TYPE RemovableMedia
)

// busNames are the values of STORAGE_BUS_TYPE that disks have.
var busNames = map[uint32]string{1: "scsi", 3: "sata", 7: "usb", 8: "raid", 10: "scsi", 11: "sata", 12: "sd", 13: "mmc", 17: "nvme"}

// List returns the disks of this machine.
func List() ([]Disk, error) {
	var disks []Disk
	for n := range mostDrives {
		path := fmt.Sprintf(`\\.\PhysicalDrive%d`, n)
		name, err := windows.UTF16PtrFromString(path)
		if err != nil {
			return nil, err
		}
		// No right is asked for: size and model are told to everybody.
		h, err := windows.CreateFile(name, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, nil, windows.OPEN_EXISTING, 0, 0)
		if err != nil {
			if errors.Is(err, windows.ERROR_FILE_NOT_FOUND) || errors.Is(err, windows.ERROR_PATH_NOT_FOUND) {
				continue // numbers may have gaps
			}
			return nil, fmt.Errorf("open %s: %w", path, os.NewSyscallError("CreateFile", err))
		}
		d := Disk{Path: path, Number: n, Sector: 512}
		err = d.read(h)
		_ = windows.CloseHandle(h)
		if err != nil || d.Size == 0 {
			continue // a card reader without a card
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// read asks the disk what it is.
func (d *Disk) read(h windows.Handle) error {
	// DISK_GEOMETRY_EX: cylinders (8), media type, tracks, sectors, bytes of a
	// sector (4 each), size (8).
	var g [64]byte
	var n uint32
	if err := windows.DeviceIoControl(h, ioctlGeometryEx, nil, 0, &g[0], uint32(len(g)), &n, nil); err != nil {
		return os.NewSyscallError("IOCTL_DISK_GET_DRIVE_GEOMETRY_EX", err)
	}
	le := binary.LittleEndian
	d.Removable = le.Uint32(g[8:]) == removableMedia
	d.Sector = int(le.Uint32(g[20:]))
	d.Size = int64(le.Uint64(g[24:]))

	// STORAGE_PROPERTY_QUERY of the device descriptor: property 0, query 0.
	var query [12]byte
	b := make([]byte, 1024)
	if windows.DeviceIoControl(h, ioctlQueryProperty, &query[0], uint32(len(query)), &b[0], uint32(len(b)), &n, nil) != nil || n < 36 {
		return nil // without a name it is a disk all the same
	}
	// STORAGE_DEVICE_DESCRIPTOR: offsets of strings from its start, 0 for none.
	text := func(at int) string {
		off := le.Uint32(b[at:])
		if off == 0 || off >= n {
			return ""
		}
		s, _, _ := bytes.Cut(b[off:n], []byte{0})
		return strings.TrimSpace(string(s))
	}
	d.Model = strings.TrimSpace(text(12) + " " + text(16))
	d.Serial = text(24)
	d.Bus = busNames[le.Uint32(b[28:])]
	return nil
}
