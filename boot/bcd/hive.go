package bcd

import (
	"encoding/binary"
	"fmt"
	"time"
)

// The registry hive format (regf), version 1.3. Offsets in a hive count from the
// end of the base block; -1 is "none". All numbers are little-endian.
const (
	baseBlockSize = 4096
	binHeaderSize = 32
	binAlign      = 4096
	cellAlign     = 8
	cellHeader    = 4
	checksumAt    = 508 // XOR of the 127 numbers before it
	noCell        = 0xffffffff

	keyHeaderSize   = 76 // nk, before the name
	valueHeaderSize = 20 // vk, before the name

	keyFlagRoot       = 0x2c // hive entry, cannot be deleted, name in one byte a character
	keyFlagCompressed = 0x20 // name in one byte a character (Latin-1), else UTF-16LE
	valueFlagASCII    = 0x01 // as keyFlagCompressed, for value names

	dataInline = 0x80000000 // in a value's data size: data of up to 4 bytes is in the offset field

	// Data longer than this is in several cells from version 1.4 on.
	bigDataSegment = 16344

	// Keys in one list. A longer one does not fit the rest of a 4096 byte bin,
	// and the lists go into a list of lists.
	keysPerList = 500
)

// regType is the type of a registry value.
type regType uint32

const (
	regString      regType = 1
	regBinary      regType = 3
	regDword       regType = 4
	regMultiString regType = 7
)

// String gives the usual name.
func (t regType) String() string {
	switch t {
	case 0:
		return "REG_NONE"
	case regString:
		return "REG_SZ"
	case 2:
		return "REG_EXPAND_SZ"
	case regBinary:
		return "REG_BINARY"
	case regDword:
		return "REG_DWORD"
	case regMultiString:
		return "REG_MULTI_SZ"
	case 11:
		return "REG_QWORD"
	}
	return fmt.Sprintf("registry type %d", uint32(t))
}

// hiveKey is one key of a hive with all below it.
type hiveKey struct {
	name   string
	values []hiveValue
	keys   []*hiveKey
}

type hiveValue struct {
	name string
	typ  regType
	data []byte
}

// sub adds a key.
func (k *hiveKey) sub(name string) *hiveKey {
	child := &hiveKey{name: name}
	k.keys = append(k.keys, child)
	return child
}

// set adds a value.
func (k *hiveKey) set(name string, typ regType, data []byte) {
	k.values = append(k.values, hiveValue{name, typ, data})
}

// filetime converts to 100 ns since 1601-01-01 UTC.
func filetime(t time.Time) uint64 {
	const unixEpoch = 116444736000000000
	return uint64(t.Unix()*10_000_000 + int64(t.Nanosecond())/100 + unixEpoch)
}

// fromFiletime is the inverse; times that time.Time cannot hold in 64 bits of
// seconds do not exist here.
func fromFiletime(v uint64) time.Time {
	const unixEpochSeconds = 11644473600
	return time.Unix(int64(v/10_000_000)-unixEpochSeconds, int64(v%10_000_000)*100).UTC()
}

// checksum is what bytes 508-511 of a base block must be. 0 and all ones are
// never stored: they become 1 and all ones less 1.
func checksum(base []byte) uint32 {
	var sum uint32
	for i := 0; i < checksumAt; i += 4 {
		sum ^= binary.LittleEndian.Uint32(base[i:])
	}
	switch sum {
	case 0:
		return 1
	case 0xffffffff:
		return 0xfffffffe
	}
	return sum
}
