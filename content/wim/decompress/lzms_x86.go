package decompress

import "encoding/binary"

const (
	// The first byte of a chunk and its last are left alone, and short chunks as
	// a whole.
	lzmsFilterTail = 16
	// Two instructions with one target within this distance make both look
	// like a program.
	lzmsTargetReach = 65535
	// For so many bytes behind what looks like a program addresses are
	// translated; for calls, whose byte is common elsewhere, half as many.
	lzmsProgramReach = 1023
)

// lzmsOpcodes marks the bytes that instructions of interest begin with.
var lzmsOpcodes = [256]bool{0x48: true, 0x4c: true, 0xe8: true, 0xe9: true, 0xf0: true, 0xff: true}

// lzmsOperand is the length of the instruction that begins b up to its
// address, 0 when it is none of those with an address to translate, and how
// far from a program it may be.
func lzmsOperand(b []byte) (length, reach int) {
	switch b[0] {
	case 0x48: // mov or lea of 64 bits, relative
		if b[1] == 0x8b && (b[2] == 0x05 || b[2] == 0x0d) || b[1] == 0x8d && b[2]&7 == 5 {
			return 3, lzmsProgramReach
		}
	case 0x4c: // lea of the upper registers
		if b[1] == 0x8d && b[2]&7 == 5 {
			return 3, lzmsProgramReach
		}
	case 0xe8: // call
		return 1, lzmsProgramReach / 2
	case 0xf0: // lock add
		if b[1] == 0x83 && b[2] == 0x05 {
			return 3, lzmsProgramReach
		}
	case 0xff: // call through a table
		if b[1] == 0x15 {
			return 2, lzmsProgramReach
		}
	}
	return 0, 0
}

// untranslate turns absolute addresses in x86 programs back into relative ones.
// There is no mark of what is a program: the filter takes two instructions with
// the same target, by its low 16 bits, that are near each other for one. So it
// runs over everything, as the compressor's did.
func (d *LZMS) untranslate(b []byte) {
	if len(b) <= lzmsFilterTail+1 {
		return
	}
	for i := range d.targets {
		d.targets[i] = -lzmsTargetReach - 1
	}
	program := -lzmsProgramReach - 1 // end of the last instruction that looked like one
	end := len(b) - lzmsFilterTail
	for i := 1; i < end; i++ {
		if !lzmsOpcodes[b[i]] {
			continue
		}
		if b[i] == 0xe9 { // jump: its address is left alone
			i += 4
			continue
		}
		length, reach := lzmsOperand(b[i:])
		if length == 0 {
			continue
		}
		operand := b[i+length:]
		if i-program <= reach {
			binary.LittleEndian.PutUint32(operand, binary.LittleEndian.Uint32(operand)-uint32(i))
		}
		target := uint16(i) + binary.LittleEndian.Uint16(operand)
		i += length + 3
		if i-int(d.targets[target]) <= lzmsTargetReach {
			program = i
		}
		d.targets[target] = int32(i)
	}
}
