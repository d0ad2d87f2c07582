package value

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/hive"
)

// Value is what an element is set to. Its dynamic type is one of Device, String,
// Object reference (Ref), Refs, Integer, Integers, Boolean and Raw.
type Value interface {
	// Format is the format that an element must have for this value; 0 means
	// that the value goes with any.
	Format() element.Format
	// Encode gives the registry type and bytes to store.
	Encode() (hive.Type, []byte, error)
}

// String is text.
type String string

// Ref names another object.
type Ref GUID

// Refs names other objects, in order.
type Refs []GUID

// Integer is a number; units depend on the element.
type Integer uint64

// Integers is a list of numbers.
type Integers []uint64

// Boolean is yes or no.
type Boolean bool

// Raw is a value as stored, whose meaning is not known.
type Raw struct {
	Type    uint32 // registry type: 1 REG_SZ, 3 REG_BINARY, 7 REG_MULTI_SZ, ...
	Data    []byte
	Problem string // why Decode could not read it as its element's format; "" when unknown format
}

// Format is element.FormatDevice.
func (Device) Format() element.Format { return element.FormatDevice }

// Format is element.FormatString.
func (String) Format() element.Format { return element.FormatString }

// Format is element.FormatObject.
func (Ref) Format() element.Format { return element.FormatObject }

// Format is element.FormatObjectList.
func (Refs) Format() element.Format { return element.FormatObjectList }

// Format is element.FormatInteger.
func (Integer) Format() element.Format { return element.FormatInteger }

// Format is element.FormatIntegerList.
func (Integers) Format() element.Format { return element.FormatIntegerList }

// Format is element.FormatBoolean.
func (Boolean) Format() element.Format { return element.FormatBoolean }

// Format is 0: raw bytes go with any element.
func (Raw) Format() element.Format { return 0 }

// Encode gives text of type SZ.
func (s String) Encode() (hive.Type, []byte, error) {
	b, err := hive.EncodeString(string(s))
	return hive.SZ, b, err
}

// Encode gives the text form of the GUID.
func (r Ref) Encode() (hive.Type, []byte, error) {
	b, err := hive.EncodeString(GUID(r).String())
	return hive.SZ, b, err
}

// Encode gives a list of text forms, of type MultiSZ.
func (r Refs) Encode() (hive.Type, []byte, error) {
	var b []byte
	for _, id := range r {
		one, err := hive.EncodeString(id.String())
		if err != nil {
			return 0, nil, err
		}
		b = append(b, one...)
	}
	return hive.MultiSZ, append(b, 0, 0), nil
}

// Encode gives eight bytes.
func (i Integer) Encode() (hive.Type, []byte, error) {
	return hive.Binary, binary.LittleEndian.AppendUint64(nil, uint64(i)), nil
}

// Encode gives eight bytes for each number.
func (l Integers) Encode() (hive.Type, []byte, error) {
	var b []byte
	for _, v := range l {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return hive.Binary, b, nil
}

// Encode gives one byte.
func (v Boolean) Encode() (hive.Type, []byte, error) {
	if v {
		return hive.Binary, []byte{1}, nil
	}
	return hive.Binary, []byte{0}, nil
}

// Encode gives what was stored.
func (r Raw) Encode() (hive.Type, []byte, error) { return hive.Type(r.Type), r.Data, nil }

// Decode reads what an element stores. It never fails: what cannot be read as
// the element's format comes back as Raw with the problem in words. A note is
// returned for a value that was read and yet is not as it should be.
func Decode(id element.ID, v hive.Value) (value Value, note string) {
	raw := func(format string, args ...any) (Value, string) {
		problem := fmt.Sprintf(format, args...)
		return Raw{Type: uint32(v.Type), Data: v.Data, Problem: problem}, problem
	}
	want := hive.Binary
	switch id.Format() {
	case element.FormatString, element.FormatObject:
		want = hive.SZ
	case element.FormatObjectList:
		want = hive.MultiSZ
	case element.FormatDevice, element.FormatInteger, element.FormatBoolean, element.FormatIntegerList:
	default:
		return Raw{Type: uint32(v.Type), Data: v.Data}, ""
	}
	if v.Type != want {
		return raw("%s stored as %s, want %s", id.Format(), v.Type, want)
	}

	switch id.Format() {
	case element.FormatDevice:
		d, note, err := decodeDevice(v.Data)
		if err != nil {
			return raw("%v", err)
		}
		return d, note
	case element.FormatString:
		s, err := hive.DecodeString(v.Data)
		if err != nil {
			return raw("%v", err)
		}
		return String(s), ""
	case element.FormatObject:
		s, err := hive.DecodeString(v.Data)
		if err != nil {
			return raw("%v", err)
		}
		ref, err := ParseGUID(s)
		if err != nil {
			return raw("%v", err)
		}
		return Ref(ref), ""
	case element.FormatObjectList:
		list, err := hive.DecodeStrings(v.Data)
		if err != nil {
			return raw("%v", err)
		}
		refs := Refs{}
		for _, s := range list {
			ref, err := ParseGUID(s)
			if err != nil {
				return raw("%v", err)
			}
			refs = append(refs, ref)
		}
		return refs, ""
	case element.FormatInteger:
		// Windows strips leading zeros in some stores: setup media have one and
		// three bytes.
		if n := len(v.Data); n == 0 || n > 8 {
			return raw("integer of %d bytes, want 1 to 8", n)
		}
		var b [8]byte
		copy(b[:], v.Data)
		return Integer(binary.LittleEndian.Uint64(b[:])), ""
	case element.FormatBoolean:
		// One byte; Vista's tools are known to have written longer ones.
		if len(v.Data) == 0 {
			return raw("boolean of 0 bytes, want 1")
		}
		return Boolean(v.Data[0] != 0), ""
	default: // element.FormatIntegerList
		if len(v.Data)%8 != 0 {
			return raw("integer list of %d bytes, want a multiple of 8", len(v.Data))
		}
		list := Integers{}
		for b := v.Data; len(b) > 0; b = b[8:] {
			list = append(list, binary.LittleEndian.Uint64(b))
		}
		return list, ""
	}
}

// String prints the value without the help of its object: an element's numbers
// stay numbers.
func (r Raw) String() string {
	s := fmt.Sprintf("%s %s", hive.Type(r.Type), hex.EncodeToString(r.Data))
	if r.Problem != "" {
		s += " (" + r.Problem + ")"
	}
	return s
}
