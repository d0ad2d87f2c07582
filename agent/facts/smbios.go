package facts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"castpoint/deploy/sequence"
)

// Structures of SMBIOS (DSP0134) that are read, and where their fields are.
const (
	smbiosSystem  = 1   // 0x07 serial number (string), 0x08 UUID
	smbiosChassis = 3   // 0x05 kind, 0x08 asset tag (string)
	smbiosMemory  = 17  // 0x0c size, 0x1c size of large ones, 0x28 what it is made of
	smbiosEnd     = 127 // end of the table
)

// readSMBIOS reads serial number, UUID, chassis, asset tag and the memory that is
// built in.
func readSMBIOS(f *sequence.Facts, b []byte) {
	eachSMBIOS(b, func(kind byte, body []byte, text func(at int) string) {
		switch kind {
		case smbiosSystem:
			f.Serial = text(0x07)
			if len(body) >= 0x18 {
				f.UUID = smbiosUUID(body[0x08:0x18])
			}
		case smbiosChassis:
			if len(body) > 5 {
				f.Chassis = chassisName(int(body[5] & 0x7f)) // bit 7: it can be locked
			}
			f.AssetTag = text(0x08)
		}
	})
	f.Memory = max(f.Memory, builtIn(b))
}

// builtIn is the memory of all modules in MiB: what the machine is sold with. The
// system has less of it, by what firmware, graphics and the system itself take before
// anybody counts.
func builtIn(b []byte) (mib int) {
	const (
		large   = 0x7fff // the size is in another field
		unknown = 0xffff
		kilo    = 1 << 15 // the size is in KiB
		most    = 1 << 30 // MiB; more is a damaged table
	)
	eachSMBIOS(b, func(kind byte, body []byte, _ func(int) string) {
		if kind != smbiosMemory || len(body) < 0x15 {
			return
		}
		// 4 to 7 are NVDIMMs and Optane: disks, in a way.
		if len(body) > 0x28 && body[0x28] >= 4 && body[0x28] <= 7 {
			return
		}
		switch size := binary.LittleEndian.Uint16(body[0x0c:]); {
		case size == unknown:
		case size == large && len(body) >= 0x20:
			mib += int(binary.LittleEndian.Uint32(body[0x1c:]) & 0x7fffffff)
		case size&kilo != 0:
			mib += int(size&^kilo) / 1024
		default:
			mib += int(size)
		}
	})
	if mib > most {
		return 0
	}
	return mib
}

// eachSMBIOS goes through the structures of a table. A damaged one ends it; what came
// before stays.
func eachSMBIOS(b []byte, f func(kind byte, body []byte, text func(at int) string)) {
	for len(b) >= 4 {
		kind, length := b[0], int(b[1])
		if length < 4 || length > len(b) || kind == smbiosEnd {
			return
		}
		body, rest := b[:length], b[length:]
		// Strings follow, each ended by a zero, all ended by one more.
		end := bytes.Index(rest, []byte{0, 0})
		if end < 0 {
			return
		}
		list := strings.Split(string(rest[:end]), "\x00")
		f(kind, body, func(at int) string {
			if at >= len(body) || body[at] == 0 || int(body[at]) > len(list) {
				return ""
			}
			return strings.TrimSpace(list[body[at]-1])
		})
		b = rest[end+2:]
	}
}

// smbiosUUID writes a UUID whose first three fields are little-endian (SMBIOS 2.6
// and newer).
func smbiosUUID(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
