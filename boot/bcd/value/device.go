package value

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/hive"
)

// DeviceKind says what a device element points at.
type DeviceKind uint8

// Kinds of device that castpoint knows the bytes of.
const (
	DeviceBoot      DeviceKind = iota + 1 // what the boot manager was loaded from
	DevicePartition                       // a partition of a disk: Partition
	DeviceRamdisk                         // a disk in memory out of the file Path on Parent: a WIM
	DeviceFile                            // the file Path on Parent
	DeviceVHD                             // the virtual hard disk in the file Parent
	DeviceLocate                          // whichever device has Path, or the file that Element names
)

// Device is the value of a device element.
type Device struct {
	Kind DeviceKind
	// Options names an object of type TypeDeviceOptions; zero for none. It
	// belongs to the outermost device only.
	Options GUID
	// Path is the file, with backslashes: \Boot\boot.wim.
	Path string
	// Parent is where Path is, for RAM disks and files; the file of a VHD; where
	// to look, for locate (nil there: everywhere).
	Parent *Device
	// Partition belongs to DevicePartition.
	Partition Partition
	// Element belongs to DeviceLocate without a Path: the element of the same
	// object whose string is the file to look for.
	Element element.ID
}

// Partition names a partition. GPT: by the GUIDs of partition and disk. MBR: by
// the offset in bytes and the disk's signature.
type Partition struct {
	MBR       bool
	ID        GUID   // GPT
	Disk      GUID   // GPT
	Offset    uint64 // MBR: first byte of the partition
	Signature uint32 // MBR: bytes 440-443 of the disk's first sector, little-endian
}

// BootDevice is the device that the boot manager was loaded from: over the
// network, its TFTP or HTTP server.
func BootDevice() Device { return Device{Kind: DeviceBoot} }

// RamdiskDevice is a RAM disk made of a WIM on the boot device.
func RamdiskDevice(wim string, options GUID) Device {
	boot := BootDevice()
	return Device{Kind: DeviceRamdisk, Path: wim, Options: options, Parent: &boot}
}

// The bytes, all little-endian. Offsets are from the start of the descriptor,
// which follows the 16 bytes of the options GUID:
//
//	0x00  4  type of device
//	0x04  4  flags: 1 for a RAM disk
//	0x08  4  size of the descriptor
//	0x0c  4  0
//	0x10  .. what the type says; at least 56 bytes
//
// Sources: stores made by bcdedit and by Microsoft's setup media, published
// dumps of both; a boot manager has obeyed what is written here.
const (
	deviceHeaderSize  = 16
	deviceMinimumSize = 72 // header and 56 bytes

	devTypeLocal     = 0
	devTypeBoot      = 5
	devTypePartition = 6
	devTypeLocate    = 8

	localHardDisk = 0
	localRamdisk  = 3
	localFile     = 5
	localVHD      = 6

	// Local device, RAM disk: image base, size (8 bytes each) and offset (4)
	// stand between the local type at 0x10 and the file path at 0x28. All zero
	// in stores: the boot manager fills them when the image is in memory.
	ramdiskPathOffset = 0x28
	filePathOffset    = 0x14
	vhdParentOffset   = 0x28 // after the 20 bytes of a hard disk's name

	// File path: version 1, length of the whole, kind 5 (device and path).
	pathHeaderSize   = 12
	pathVersion      = 1
	pathDeviceAndEnd = 5

	partitionStyleGPT = 0
	partitionStyleMBR = 1

	flagRamdisk = 1

	// Deepest chain of parents that is read: locate, VHD, file, partition is 4.
	maxDeviceDepth = 6
)

// Encode gives the options and the descriptor of the device.
func (d Device) Encode() (hive.Type, []byte, error) {
	desc, err := d.appendDescriptor(nil, 0)
	if err != nil {
		return 0, nil, err
	}
	return hive.Binary, append(bytes.Clone(d.Options[:]), desc...), nil
}

// appendDescriptor appends the descriptor of d, without the options GUID.
func (d Device) appendDescriptor(b []byte, depth int) ([]byte, error) {
	if depth >= maxDeviceDepth {
		return nil, fmt.Errorf("device inside device %d deep", depth)
	}
	if depth > 0 && !d.Options.IsZero() {
		return nil, errors.New("only the outermost device can have options")
	}
	le := binary.LittleEndian
	start := len(b)
	begin := func(typ, flags uint32) {
		b = le.AppendUint32(b, typ)
		b = le.AppendUint32(b, flags)
		b = le.AppendUint32(b, 0) // size, below
		b = le.AppendUint32(b, 0)
	}
	parent := func() error {
		if d.Parent == nil {
			return fmt.Errorf("%s device without a parent", d.Kind)
		}
		var err error
		b, err = d.Parent.appendDescriptor(b, depth+1)
		return err
	}
	filePath := func() error {
		if d.Path == "" {
			return fmt.Errorf("%s device without a path", d.Kind)
		}
		path, err := hive.EncodeString(d.Path)
		if err != nil {
			return err
		}
		at := len(b)
		b = le.AppendUint32(b, pathVersion)
		b = le.AppendUint32(b, 0) // length, below
		b = le.AppendUint32(b, pathDeviceAndEnd)
		if err := parent(); err != nil {
			return err
		}
		b = append(b, path...)
		le.PutUint32(b[at+4:], uint32(len(b)-at))
		return nil
	}

	switch d.Kind {
	case DeviceBoot:
		begin(devTypeBoot, 0)
	case DevicePartition:
		begin(devTypePartition, 0)
		p := d.Partition
		if p.MBR {
			b = le.AppendUint64(b, p.Offset)
			b = append(b, make([]byte, 8)...)
			b = le.AppendUint32(b, localHardDisk)
			b = le.AppendUint32(b, partitionStyleMBR)
			b = le.AppendUint32(b, p.Signature)
		} else {
			b = append(b, p.ID[:]...)
			b = le.AppendUint32(b, localHardDisk)
			b = le.AppendUint32(b, partitionStyleGPT)
			b = append(b, p.Disk[:]...)
		}
	case DeviceRamdisk:
		begin(devTypeLocal, flagRamdisk)
		b = le.AppendUint32(b, localRamdisk)
		b = append(b, make([]byte, ramdiskPathOffset-filePathOffset)...)
		if err := filePath(); err != nil {
			return nil, err
		}
	case DeviceFile:
		begin(devTypeLocal, 0)
		b = le.AppendUint32(b, localFile)
		if err := filePath(); err != nil {
			return nil, err
		}
	case DeviceVHD:
		begin(devTypeLocal, 0)
		b = le.AppendUint32(b, localVHD)
		b = append(b, make([]byte, vhdParentOffset-filePathOffset)...)
		if err := parent(); err != nil {
			return nil, err
		}
	case DeviceLocate:
		begin(devTypeLocate, 0)
		path, err := hive.EncodeString(d.Path)
		if err != nil {
			return nil, err
		}
		how := uint32(0)
		if d.Path != "" {
			how = 1
		}
		b = le.AppendUint32(b, how)
		b = le.AppendUint32(b, uint32(d.Element))
		at := len(b)
		b = le.AppendUint32(b, 0) // offset of the parent, below
		b = append(b, path...)
		if d.Parent != nil {
			le.PutUint32(b[at:], uint32(len(b)-start))
			if err := parent(); err != nil {
				return nil, err
			}
		}
	default:
		return nil, fmt.Errorf("cannot write a device of kind %d", d.Kind)
	}
	if n := deviceMinimumSize - (len(b) - start); n > 0 {
		b = append(b, make([]byte, n)...)
	}
	le.PutUint32(b[start+8:], uint32(len(b)-start))
	return b, nil
}

// decodeDevice reads a device element. The note says what was passed over.
func decodeDevice(b []byte) (d Device, note string, err error) {
	if len(b) < 16+deviceHeaderSize {
		return d, "", fmt.Errorf("device of %d bytes, want at least %d", len(b), 16+deviceHeaderSize)
	}
	d, rest, err := readDescriptor(b[16:], 0)
	if err != nil {
		return d, "", err
	}
	copy(d.Options[:], b)
	if len(rest) > 0 {
		note = fmt.Sprintf("%d bytes after the device", len(rest))
	} else if _, again, err := d.Encode(); err != nil || !bytes.Equal(again, b) {
		note = "bytes of the device that should be zero are not"
	}
	return d, note, nil
}

// readDescriptor reads one descriptor and returns what follows it.
func readDescriptor(b []byte, depth int) (d Device, rest []byte, err error) {
	if depth >= maxDeviceDepth {
		return d, nil, fmt.Errorf("device inside device %d deep", depth)
	}
	le := binary.LittleEndian
	if len(b) < deviceHeaderSize {
		return d, nil, fmt.Errorf("device descriptor of %d bytes", len(b))
	}
	typ, size := le.Uint32(b), le.Uint32(b[8:])
	if size < deviceHeaderSize || uint64(size) > uint64(len(b)) {
		return d, nil, fmt.Errorf("device descriptor says %d bytes, %d are there", size, len(b))
	}
	b, rest = b[:size], b[size:]

	// need makes the fixed offsets below safe.
	need := func(n int) error {
		if len(b) < n {
			return fmt.Errorf("device of type %d has %d bytes, want at least %d", typ, len(b), n)
		}
		return nil
	}
	switch typ {
	case devTypeBoot:
		d.Kind = DeviceBoot
	case devTypePartition:
		if err := need(deviceMinimumSize); err != nil {
			return d, nil, err
		}
		d.Kind = DevicePartition
		if local := le.Uint32(b[0x20:]); local != localHardDisk {
			return d, nil, fmt.Errorf("partition of a device of local type %d, not of a hard disk", local)
		}
		switch style := le.Uint32(b[0x24:]); style {
		case partitionStyleGPT:
			d.Partition.ID = GUID(b[0x10:0x20])
			d.Partition.Disk = GUID(b[0x28:0x38])
		case partitionStyleMBR:
			d.Partition.MBR = true
			d.Partition.Offset = le.Uint64(b[0x10:])
			d.Partition.Signature = le.Uint32(b[0x28:])
		default:
			return d, nil, fmt.Errorf("partition table of style %d, want 0 (GPT) or 1 (MBR)", style)
		}
	case devTypeLocal:
		if err := need(0x14); err != nil {
			return d, nil, err
		}
		switch local := le.Uint32(b[0x10:]); local {
		case localRamdisk:
			d.Kind = DeviceRamdisk
			if err := need(ramdiskPathOffset); err != nil {
				return d, nil, err
			}
			d.Parent, d.Path, err = readFilePath(b[ramdiskPathOffset:], depth)
		case localFile:
			d.Kind = DeviceFile
			d.Parent, d.Path, err = readFilePath(b[filePathOffset:], depth)
		case localVHD:
			d.Kind = DeviceVHD
			if err := need(vhdParentOffset); err != nil {
				return d, nil, err
			}
			d.Parent, err = readParent(b[vhdParentOffset:], depth)
		default:
			return d, nil, fmt.Errorf("local device of type %d%s", local, localTypeName(local))
		}
		if err != nil {
			return d, nil, err
		}
	case devTypeLocate:
		if err := need(0x1e); err != nil {
			return d, nil, err
		}
		d.Kind = DeviceLocate
		d.Element = element.ID(le.Uint32(b[0x14:]))
		parentAt := le.Uint32(b[0x18:])
		text := b[0x1c:]
		if parentAt != 0 {
			if parentAt < 0x1e || uint64(parentAt) > uint64(len(b)) {
				return d, nil, fmt.Errorf("locate device has its parent at %d of %d bytes", parentAt, len(b))
			}
			text = b[0x1c:parentAt]
			if d.Parent, err = readParent(b[parentAt:], depth); err != nil {
				return d, nil, err
			}
		}
		if len(text)%2 != 0 {
			text = text[:len(text)-1]
		}
		if d.Path, err = hive.DecodeString(text); err != nil {
			return d, nil, err
		}
	default:
		return d, nil, fmt.Errorf("device of type %d%s", typ, deviceTypeName(typ))
	}
	return d, rest, nil
}

func readParent(b []byte, depth int) (*Device, error) {
	parent, _, err := readDescriptor(b, depth+1)
	if err != nil {
		return nil, err
	}
	return &parent, nil
}

// readFilePath reads a file path descriptor: device, then path.
func readFilePath(b []byte, depth int) (*Device, string, error) {
	le := binary.LittleEndian
	if len(b) < pathHeaderSize {
		return nil, "", fmt.Errorf("file path of %d bytes, want at least %d", len(b), pathHeaderSize)
	}
	version, length, kind := le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])
	if version != pathVersion || kind != pathDeviceAndEnd {
		return nil, "", fmt.Errorf("file path of version %d and kind %d, want 1 and 5", version, kind)
	}
	if length < pathHeaderSize || uint64(length) > uint64(len(b)) {
		return nil, "", fmt.Errorf("file path says %d bytes, %d are there", length, len(b))
	}
	parent, rest, err := readDescriptor(b[pathHeaderSize:length], depth+1)
	if err != nil {
		return nil, "", err
	}
	path, err := hive.DecodeString(rest)
	if err != nil {
		return nil, "", fmt.Errorf("path of the file: %w", err)
	}
	return &parent, path, nil
}

func deviceTypeName(t uint32) string {
	switch t {
	case 2:
		return " (legacy partition)"
	case 3:
		return " (serial line)"
	case 4:
		return " (network)"
	case 7:
		return " (VMBus)"
	}
	return ""
}

func localTypeName(t uint32) string {
	switch t {
	case localHardDisk:
		return " (hard disk)"
	case 1:
		return " (floppy disk)"
	case 2:
		return " (CD or DVD)"
	}
	return ""
}

// String names the kind as bcdedit does.
func (k DeviceKind) String() string {
	switch k {
	case DeviceBoot:
		return "boot"
	case DevicePartition:
		return "partition"
	case DeviceRamdisk:
		return "ramdisk"
	case DeviceFile:
		return "file"
	case DeviceVHD:
		return "vhd"
	case DeviceLocate:
		return "locate"
	}
	return fmt.Sprintf("device kind %d", uint8(k))
}

// String prints the device as bcdedit does, except that partitions are named by
// what identifies them and not by a drive letter, which only a running Windows
// knows: ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}.
func (d Device) String() string {
	s := d.Kind.String()
	parent := func() string {
		if d.Parent == nil {
			return "?"
		}
		return d.Parent.String()
	}
	switch d.Kind {
	case DevicePartition:
		p := d.Partition
		if p.MBR {
			s += fmt.Sprintf("={mbr disk %08x, offset %d}", p.Signature, p.Offset)
		} else {
			s += fmt.Sprintf("={gpt disk %s, partition %s}", p.Disk, p.ID)
		}
	case DeviceRamdisk, DeviceFile:
		s += "=[" + parent() + "]" + d.Path
	case DeviceVHD:
		if d.Parent != nil && d.Parent.Kind == DeviceFile && d.Parent.Parent != nil {
			s += "=[" + d.Parent.Parent.String() + "]" + d.Parent.Path
		} else {
			s += "=[" + parent() + "]"
		}
	case DeviceLocate:
		how := "=" + d.Path
		if d.Path == "" {
			how = "=custom:" + d.Element.String()
		}
		s += how
		if d.Parent != nil {
			s = d.Parent.String() + "," + s
		}
	}
	if !d.Options.IsZero() {
		name := d.Options.String()
		if alias, _ := d.Options.WellKnown(); alias != "" {
			name = alias
		}
		s += "," + name
	}
	return s
}
