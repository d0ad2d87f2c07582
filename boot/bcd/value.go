package bcd

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Value is what an element is set to. Its dynamic type is one of Device, String,
// Object reference (Ref), Refs, Integer, Integers, Boolean and Raw.
type Value interface {
	// Format is the format that an element must have for this value; 0 means
	// that the value goes with any.
	Format() Format
	// encode gives the registry type and bytes to store.
	encode() (regType, []byte, error)
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
	Problem string // why Parse could not read it as its element's format; "" when unknown format
}

// Format is FormatDevice.
func (Device) Format() Format { return FormatDevice }

// Format is FormatString.
func (String) Format() Format { return FormatString }

// Format is FormatObject.
func (Ref) Format() Format { return FormatObject }

// Format is FormatObjectList.
func (Refs) Format() Format { return FormatObjectList }

// Format is FormatInteger.
func (Integer) Format() Format { return FormatInteger }

// Format is FormatIntegerList.
func (Integers) Format() Format { return FormatIntegerList }

// Format is FormatBoolean.
func (Boolean) Format() Format { return FormatBoolean }

// Format is 0: raw bytes go with any element.
func (Raw) Format() Format { return 0 }

func (s String) encode() (regType, []byte, error) {
	b, err := encodeString(string(s))
	return regString, b, err
}

func (r Ref) encode() (regType, []byte, error) {
	b, err := encodeString(GUID(r).String())
	return regString, b, err
}

func (r Refs) encode() (regType, []byte, error) {
	var b []byte
	for _, id := range r {
		one, err := encodeString(id.String())
		if err != nil {
			return 0, nil, err
		}
		b = append(b, one...)
	}
	return regMultiString, append(b, 0, 0), nil
}

func (i Integer) encode() (regType, []byte, error) {
	return regBinary, binary.LittleEndian.AppendUint64(nil, uint64(i)), nil
}

func (l Integers) encode() (regType, []byte, error) {
	var b []byte
	for _, v := range l {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return regBinary, b, nil
}

func (v Boolean) encode() (regType, []byte, error) {
	if v {
		return regBinary, []byte{1}, nil
	}
	return regBinary, []byte{0}, nil
}

func (r Raw) encode() (regType, []byte, error) { return regType(r.Type), r.Data, nil }

// decodeValue reads what an element stores. It never fails: what cannot be read
// as the element's format comes back as Raw with the problem in words. A note is
// returned for a value that was read and yet is not as it should be.
func decodeValue(id ElementID, v hiveValue) (value Value, note string) {
	raw := func(format string, args ...any) (Value, string) {
		problem := fmt.Sprintf(format, args...)
		return Raw{Type: uint32(v.typ), Data: v.data, Problem: problem}, problem
	}
	want := regBinary
	switch id.Format() {
	case FormatString, FormatObject:
		want = regString
	case FormatObjectList:
		want = regMultiString
	case FormatDevice, FormatInteger, FormatBoolean, FormatIntegerList:
	default:
		return Raw{Type: uint32(v.typ), Data: v.data}, ""
	}
	if v.typ != want {
		return raw("%s stored as %s, want %s", id.Format(), v.typ, want)
	}

	switch id.Format() {
	case FormatDevice:
		d, note, err := decodeDevice(v.data)
		if err != nil {
			return raw("%v", err)
		}
		return d, note
	case FormatString:
		s, err := decodeString(v.data)
		if err != nil {
			return raw("%v", err)
		}
		return String(s), ""
	case FormatObject:
		s, err := decodeString(v.data)
		if err != nil {
			return raw("%v", err)
		}
		ref, err := ParseGUID(s)
		if err != nil {
			return raw("%v", err)
		}
		return Ref(ref), ""
	case FormatObjectList:
		if len(v.data)%2 != 0 {
			return raw("%d bytes are not UTF-16", len(v.data))
		}
		refs := Refs{}
		for _, s := range strings.Split(decodeUTF16(v.data), "\x00") {
			if s == "" {
				continue
			}
			ref, err := ParseGUID(s)
			if err != nil {
				return raw("%v", err)
			}
			refs = append(refs, ref)
		}
		return refs, ""
	case FormatInteger:
		// Windows strips leading zeros in some stores: setup media have one and
		// three bytes.
		if n := len(v.data); n == 0 || n > 8 {
			return raw("integer of %d bytes, want 1 to 8", n)
		}
		var b [8]byte
		copy(b[:], v.data)
		return Integer(binary.LittleEndian.Uint64(b[:])), ""
	case FormatBoolean:
		// One byte; Vista's tools are known to have written longer ones.
		if len(v.data) == 0 {
			return raw("boolean of 0 bytes, want 1")
		}
		return Boolean(v.data[0] != 0), ""
	default: // FormatIntegerList
		if len(v.data)%8 != 0 {
			return raw("integer list of %d bytes, want a multiple of 8", len(v.data))
		}
		list := Integers{}
		for b := v.data; len(b) > 0; b = b[8:] {
			list = append(list, binary.LittleEndian.Uint64(b))
		}
		return list, ""
	}
}

// encodeString gives UTF-16LE with a terminating zero.
func encodeString(s string) ([]byte, error) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return nil, fmt.Errorf("text %q has a zero character at byte %d", s, i)
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, 0, 0), nil
}

// decodeString reads UTF-16LE up to its first zero, or to the end when the
// writer left the zero out.
func decodeString(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", fmt.Errorf("%d bytes are not UTF-16", len(b))
	}
	s, _, _ := strings.Cut(decodeUTF16(b), "\x00")
	return s, nil
}

func decodeUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}

// String prints the value without the help of its object: an element's numbers
// stay numbers.
func (r Raw) String() string {
	s := fmt.Sprintf("%s %s", regType(r.Type), hex.EncodeToString(r.Data))
	if r.Problem != "" {
		s += " (" + r.Problem + ")"
	}
	return s
}
