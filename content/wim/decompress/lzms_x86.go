package decompress

import (
	"encoding/binary"
	"math/bits"
)

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

// lzmsOpcodes has a bit for every two bytes that instructions of interest begin
// with. Both are looked at, as the first alone is often something else, and a
// branch that goes either way is what costs most here.
var lzmsOpcodes = func() (t [1 << 10]uint64) {
	set := func(first, second byte) {
		at := uint16(first) | uint16(second)<<8
		t[at>>6] |= 1 << (at & 63)
	}
	for i := range 256 {
		set(0xe8, byte(i)) // call
		set(0xe9, byte(i)) // jump
	}
	set(0x48, 0x8b) // mov
	set(0x48, 0x8d) // lea
	set(0x4c, 0x8d) // lea of the upper registers
	set(0xf0, 0x83) // lock add
	set(0xff, 0x15) // call through a table
	return t
}()

// lzmsMarkPlain sets the bits of marks for the bytes of b that one of the instructions
// begins with, and clears the others.
func lzmsMarkPlain(marks []uint64, b []byte) {
	for w := range marks {
		part := b[min(64*w, len(b)):]
		part = part[:min(64+1, len(part))]
		word := uint64(0)
		for k := 1; k < len(part); k++ {
			two := uint16(part[k-1]) | uint16(part[k])<<8
			word |= lzmsOpcodes[two>>6] >> (two & 63) & 1 << (k - 1)
		}
		marks[w] = word
	}
}

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
	next := 1                        // behind the last instruction
	end := len(b) - lzmsFilterTail
	var marks [64]uint64
	for start := 1; start < end; start += 64 * len(marks) {
		part := marks[:(min(64*len(marks), end-start)+63)/64]
		lzmsMark(part, b[start:])
		for w, word := range part {
			for ; word != 0; word &= word - 1 {
				i := start + 64*w + bits.TrailingZeros64(word)
				if i < next {
					continue
				}
				if i >= end {
					break
				}
				// How long the instruction is before its address, and how far from a
				// program it may be.
				length, reach := 3, lzmsProgramReach
				third := b[i+2]
				switch b[i] {
				case 0x48:
					if third&7 != 5 || b[i+1] == 0x8b && third != 0x05 && third != 0x0d {
						continue
					}
				case 0x4c:
					if third&7 != 5 {
						continue
					}
				case 0xe8:
					length, reach = 1, lzmsProgramReach/2
				case 0xe9: // its address is left alone
					next = i + 5
					continue
				case 0xf0:
					if third != 0x05 {
						continue
					}
				case 0xff:
					length = 2
				}
				operand := b[i+length:][:4]
				if i-program <= reach {
					binary.LittleEndian.PutUint32(operand, binary.LittleEndian.Uint32(operand)-uint32(i))
				}
				target := uint16(i) + binary.LittleEndian.Uint16(operand)
				next = i + length + 4
				if base+next-1-int(d.targets[target]) <= lzmsTargetReach {
					program = next - 1
				}
				d.targets[target] = int32(base + next - 1)
			}
		}
	}
	d.base = int32(base + len(b) + lzmsTargetReach + 1)
}
