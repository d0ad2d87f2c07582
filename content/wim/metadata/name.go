package metadata

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Names in an image are UTF-16 as NTFS has them: any units at all, also halves
// of surrogate pairs by themselves. As Go strings they are UTF-8, in which such
// a half stands as the three bytes it would have by the pattern of UTF-8
// ("WTF-8"), so that no two names become one.

// maxName is the number of UTF-16 units of a name in NTFS.
const maxName = 255

// DecodeName makes a string of the UTF-16LE in b.
func DecodeName(b []byte) string {
	var s strings.Builder
	s.Grow(len(b)/2 + len(b)/8)
	for i := 0; i+1 < len(b); i += 2 {
		u := rune(binary.LittleEndian.Uint16(b[i:]))
		if !utf16.IsSurrogate(u) {
			s.WriteRune(u)
			continue
		}
		if i+3 < len(b) {
			if r := utf16.DecodeRune(u, rune(binary.LittleEndian.Uint16(b[i+2:]))); r != unicode.ReplacementChar {
				s.WriteRune(r)
				i += 2
				continue
			}
		}
		s.Write([]byte{0xe0 | byte(u>>12), 0x80 | byte(u>>6)&0x3f, 0x80 | byte(u)&0x3f})
	}
	return s.String()
}

// AppendName appends the UTF-16LE of s to b.
func AppendName(b []byte, s string) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 && len(s) >= 3 && s[0] == 0xed && s[1] >= 0xa0 && s[1] < 0xc0 && s[2]&0xc0 == 0x80 {
			r, n = rune(s[0]&0xf)<<12|rune(s[1]&0x3f)<<6|rune(s[2]&0x3f), 3
			b = binary.LittleEndian.AppendUint16(b, uint16(r))
		} else if r >= 0x10000 {
			high, low := utf16.EncodeRune(r)
			b = binary.LittleEndian.AppendUint16(b, uint16(high))
			b = binary.LittleEndian.AppendUint16(b, uint16(low))
		} else {
			b = binary.LittleEndian.AppendUint16(b, uint16(r))
		}
		s = s[n:]
	}
	return b
}

// Upper is the case folding of file names: one UTF-16 unit becomes one, as in
// NTFS.
func Upper(u uint16) uint16 {
	if u < 0x80 {
		if 'a' <= u && u <= 'z' {
			u -= 'a' - 'A'
		}
		return u
	}
	// Not ı and ſ: their capitals I and S belong to i and s.
	if r := unicode.ToUpper(rune(u)); r >= 0x80 && r < 0x10000 {
		return uint16(r)
	}
	return u
}

// CompareFold compares two names in UTF-16LE without regard to case, in the
// order that folders have.
func CompareFold(a, b []byte) int {
	for i := 0; i+1 < len(a) && i+1 < len(b); i += 2 {
		x := Upper(binary.LittleEndian.Uint16(a[i:]))
		y := Upper(binary.LittleEndian.Uint16(b[i:]))
		if x != y {
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// SplitPath takes a path apart. Both / and \ separate; empty parts at either
// end mean nothing, so "" and "\" are the root. Names that cannot be in an
// image are refused with fs.ErrInvalid.
func SplitPath(path string) ([]string, error) {
	trimmed := strings.Trim(strings.ReplaceAll(path, `\`, "/"), "/")
	if trimmed == "" {
		return nil, nil
	}
	parts := strings.Split(trimmed, "/")
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || strings.IndexByte(p, 0) >= 0 {
			return nil, fmt.Errorf("path %q: %q is no name: %w", path, p, fs.ErrInvalid)
		}
	}
	return parts, nil
}

// CheckNewName refuses names that Windows does not allow for new files.
func CheckNewName(path, name string) error {
	if strings.ContainsAny(name, `<>:"|?*`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }) {
		return fmt.Errorf("path %q: Windows does not allow the name %q (none of < > : \" | ? * and control characters): %w", path, name, fs.ErrInvalid)
	}
	if strings.HasSuffix(name, ".") || strings.HasSuffix(name, " ") {
		return fmt.Errorf("path %q: Windows does not allow the name %q to end in a dot or a space: %w", path, name, fs.ErrInvalid)
	}
	raw := AppendName(nil, name)
	if DecodeName(raw) != name {
		return fmt.Errorf("path %q: the name %q is not UTF-8: %w", path, name, fs.ErrInvalid)
	}
	if n := len(raw) / 2; n > maxName {
		return fmt.Errorf("path %q: a name of %d characters, at most %d are possible: %w", path, n, maxName, fs.ErrInvalid)
	}
	return nil
}
