package hive

import (
	"encoding/binary"
	"fmt"
	"strings"
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

// Hive is a registry hive, whole in memory.
type Hive struct {
	Root *Key
	// Modified is the time of last change in the base block; every key is written
	// with it.
	Modified time.Time
	// Notes are what Read found odd but could live with, in words. They are not
	// written.
	Notes []string
}

// Key is one key of a hive with all below it.
type Key struct {
	Name   string
	Values []Value
	Keys   []*Key
}

// Value is a named, typed value of a key.
type Value struct {
	Name string
	Type Type
	Data []byte
}

// Add adds a key below k and returns it.
func (k *Key) Add(name string) *Key {
	child := &Key{Name: name}
	k.Keys = append(k.Keys, child)
	return child
}

// Set adds a value.
func (k *Key) Set(name string, typ Type, data []byte) {
	k.Values = append(k.Values, Value{name, typ, data})
}

// Find returns the key directly below k with that name in any case, or nil.
func (k *Key) Find(name string) *Key {
	for _, sub := range k.Keys {
		if strings.EqualFold(sub.Name, name) {
			return sub
		}
	}
	return nil
}

// Value returns the value of k with that name in any case.
func (k *Key) Value(name string) (Value, bool) {
	for _, v := range k.Values {
		if strings.EqualFold(v.Name, name) {
			return v, true
		}
	}
	return Value{}, false
}

// Type is the type of a registry value.
type Type uint32

// Types that boot configuration has, by their names without REG_.
const (
	SZ      Type = 1
	Binary  Type = 3
	DWord   Type = 4
	MultiSZ Type = 7
)

// String gives the usual name.
func (t Type) String() string {
	switch t {
	case 0:
		return "REG_NONE"
	case SZ:
		return "REG_SZ"
	case 2:
		return "REG_EXPAND_SZ"
	case Binary:
		return "REG_BINARY"
	case DWord:
		return "REG_DWORD"
	case MultiSZ:
		return "REG_MULTI_SZ"
	case 11:
		return "REG_QWORD"
	}
	return fmt.Sprintf("registry type %d", uint32(t))
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
