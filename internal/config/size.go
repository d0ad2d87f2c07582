package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with a unit as in 500MB or 20GiB.
type Size int64

// sizeUnits are bytes; "G" alone is a GiB, as ls and dd have it.
var sizeUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
}

// ParseSize reads a size.
func ParseSize(s string) (Size, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(text)
	}
	n, err := strconv.ParseFloat(text[:i], 64)
	unit, ok := sizeUnits[strings.TrimSpace(text[i:])]
	bytes := n * unit
	if err != nil || !ok || bytes > math.MaxInt64/2 {
		return 0, fmt.Errorf("size %q: want a number and a unit, as in 500MB or 20GiB", s)
	}
	return Size(bytes), nil
}

// String writes the size with the largest unit that leaves no fraction.
func (s Size) String() string {
	for _, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n := int64(sizeUnits[strings.ToLower(unit)]); s != 0 && int64(s)%n == 0 {
			return strconv.FormatInt(int64(s)/n, 10) + unit
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Set reads a flag's value.
func (s *Size) Set(text string) error {
	v, err := ParseSize(text)
	if err == nil {
		*s = v
	}
	return err
}

// Type is what help texts call the value.
func (*Size) Type() string { return "SIZE" }

// UnmarshalText reads a setting of the file.
func (s *Size) UnmarshalText(b []byte) error { return s.Set(string(b)) }
