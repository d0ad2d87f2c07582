package value

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID names an object. The bytes are in the order of a Windows GUID in memory
// and on disk: the first three groups of the text form are little-endian.
type GUID [16]byte

// NewGUID makes a GUID from its four fields, in the order of the text form.
func NewGUID(a uint32, b, c uint16, d [8]byte) GUID {
	var g GUID
	binary.LittleEndian.PutUint32(g[0:], a)
	binary.LittleEndian.PutUint16(g[4:], b)
	binary.LittleEndian.PutUint16(g[6:], c)
	copy(g[8:], d[:])
	return g
}

// ParseGUID reads the text form, with or without braces, in either case.
func ParseGUID(text string) (GUID, error) {
	var g GUID
	s := text
	if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
		s = s[1 : len(s)-1]
	}
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("%q is not a GUID: want {xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx}", text)
	}
	raw, err := hex.DecodeString(s[0:8] + s[9:13] + s[14:18] + s[19:23] + s[24:36])
	if err != nil {
		return g, fmt.Errorf("%q is not a GUID: want hexadecimal digits between the hyphens", text)
	}
	return NewGUID(binary.BigEndian.Uint32(raw), binary.BigEndian.Uint16(raw[4:]),
		binary.BigEndian.Uint16(raw[6:]), [8]byte(raw[8:])), nil
}

// IsZero reports whether g names nothing.
func (g GUID) IsZero() bool { return g == GUID{} }

// String is the form that stores use for key names and references: lower case,
// in braces.
func (g GUID) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("{%08x-%04x-%04x-%x-%x}",
		le.Uint32(g[0:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:16])
}

// MarshalText gives the form of String.
func (g GUID) MarshalText() ([]byte, error) { return []byte(g.String()), nil }

// UnmarshalText reads what ParseGUID reads.
func (g *GUID) UnmarshalText(text []byte) error {
	parsed, err := ParseGUID(string(text))
	if err != nil {
		return err
	}
	*g = parsed
	return nil
}
