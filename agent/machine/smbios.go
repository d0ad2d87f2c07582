package machine

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
	smbiosEnd     = 127 // end of the table
)

// readSMBIOS reads serial number, UUID, chassis and asset tag. A damaged table ends
// the reading; what came before stays.
func readSMBIOS(f *sequence.Facts, b []byte) {
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
		text := func(at int) string {
			if at >= len(body) || body[at] == 0 || int(body[at]) > len(list) {
				return ""
			}
			return strings.TrimSpace(list[body[at]-1])
		}
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
		b = rest[end+2:]
	}
}

// smbiosUUID writes a UUID whose first three fields are little-endian (SMBIOS 2.6
// and newer).
func smbiosUUID(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}
