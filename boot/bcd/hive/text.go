package hive

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// EncodeString gives UTF-16LE with a terminating zero, as values of type SZ are.
func EncodeString(s string) ([]byte, error) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		return nil, fmt.Errorf("text %q has a zero character at byte %d", s, i)
	}
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return append(b, 0, 0), nil
}

// DecodeString reads UTF-16LE up to its first zero, or to the end when the
// writer left the zero out.
func DecodeString(b []byte) (string, error) {
	if len(b)%2 != 0 {
		return "", fmt.Errorf("%d bytes are not UTF-16", len(b))
	}
	s, _, _ := strings.Cut(decodeUTF16(b), "\x00")
	return s, nil
}

// DecodeStrings reads the texts of a value of type MultiSZ: UTF-16LE, each ended
// by a zero. Empty ones are the list's own end, and are left out.
func DecodeStrings(b []byte) ([]string, error) {
	if len(b)%2 != 0 {
		return nil, fmt.Errorf("%d bytes are not UTF-16", len(b))
	}
	return strings.FieldsFunc(decodeUTF16(b), func(r rune) bool { return r == 0 }), nil
}

func decodeUTF16(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
