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

// untranslate turns absolute addresses in x86 programs back into relative ones.
// There is no mark of what is a program: the filter takes two instructions with
// the same target, by its low 16 bits, that are near each other for one. So it
// runs over everything, as the compressor's did.
func (d *LZMS) untranslate(b []byte) {
	if len(b) <= lzmsFilterTail+1 {
		return
	}
	// What was met in chunks before must be out of reach.
	if d.base == 0 || int64(d.base)+int64(len(b)) > 1<<31-2-lzmsTargetReach {
		clear(d.targets[:])
		d.base = lzmsTargetReach + 1
	}
	base := int(d.base)
	program := -lzmsProgramReach - 1 // end of the last instruction that looked like one
	end := len(b) - lzmsFilterTail
	head := b[:end]
	for i := 1; uint(i) < uint(len(head)); i++ {
		op := head[i]
		if !lzmsOpcodes[op] {
			continue
		}
		// How long the instruction is before its address, and how far from a
		// program it may be.
		length, reach := 3, lzmsProgramReach
		next := binary.LittleEndian.Uint16(b[i+1:])
		switch op {
		case 0x48: // mov or lea of 64 bits, relative
			if next != 0x058b && next != 0x0d8b && next&0x07ff != 0x058d {
				continue
			}
		case 0x4c: // lea of the upper registers
			if next&0x07ff != 0x058d {
				continue
			}
		case 0xe8: // call
			length, reach = 1, lzmsProgramReach/2
		case 0xe9: // jump: its address is left alone
			i += 4
			continue
		case 0xf0: // lock add
			if next != 0x0583 {
				continue
			}
		case 0xff: // call through a table
			if byte(next) != 0x15 {
				continue
			}
			length = 2
		}
		operand := b[i+length:][:4]
		if i-program <= reach {
			binary.LittleEndian.PutUint32(operand, binary.LittleEndian.Uint32(operand)-uint32(i))
		}
		target := uint16(i) + binary.LittleEndian.Uint16(operand)
		i += length + 3
		if base+i-int(d.targets[target]) <= lzmsTargetReach {
			program = i
		}
		d.targets[target] = int32(base + i)
	}
	d.base = int32(base + len(b) + lzmsTargetReach + 1)
}
