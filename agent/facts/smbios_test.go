package facts

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"castpoint/deploy/sequence"
)

// FuzzSMBIOS reads tables that firmware may have written in any way.
func FuzzSMBIOS(f *testing.F) {
	table := append([]byte{1, 27, 0, 0, 1, 2, 3, 4}, bytes.Repeat([]byte{0xab}, 19)...)
	table = append(table, []byte("Maker\x00Model\x001\x00Serial\x00\x00")...)
	f.Add(append(table, 127, 4, 0, 0, 0, 0))
	f.Fuzz(func(_ *testing.T, b []byte) {
		var facts sequence.Facts
		readSMBIOS(&facts, b)
	})
}

func TestSMBIOS(t *testing.T) {
	system := append([]byte{1, 27, 1, 0, 1, 2, 3, 4, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66}, 0x88, 0x99, 1, 2, 3, 4, 5, 6, 6, 0, 0)
	system = append(system, []byte("Maker\x00Model\x001\x00Serial 9 \x00\x00")...)
	chassis := append([]byte{3, 9, 2, 0, 1, 0x8a, 0, 0, 2}, []byte("Maker\x00Asset 7\x00\x00")...)
	var facts sequence.Facts
	module := func(size uint16, large uint32, technology byte) []byte {
		b := make([]byte, 0x29)
		b[0], b[1] = 17, byte(len(b))
		binary.LittleEndian.PutUint16(b[0x0c:], size)
		binary.LittleEndian.PutUint32(b[0x1c:], large)
		b[0x28] = technology
		return append(b, 0, 0)
	}
	table := slices.Concat(system, chassis, module(4096, 0, 3), module(0x7fff, 65536, 3), module(0, 0, 0), module(0xffff, 0, 3),
		module(0x8000|2048, 0, 3), module(0x7fff, 131072, 7), []byte{127, 4, 0, 0, 0, 0})
	facts.Memory = 68000
	readSMBIOS(&facts, table)
	if facts.Memory != 4096+65536+2 {
		t.Errorf("%d MiB of memory", facts.Memory)
	}
	if facts.Serial != "Serial 9" || facts.UUID != "00112233-4455-6677-8899-010203040506" || facts.Chassis != "notebook" || facts.AssetTag != "Asset 7" {
		t.Errorf("facts %+v", facts)
	}
}
