package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rate is bits per second, written as tc(8) writes rates: 900mbit, 1gbit; units
// that end in bps are bytes per second. 0 is no cap.
type Rate int64

// rateUnits are bits per second; the binary prefixes of tc are there too.
var rateUnits = map[string]float64{
	"": 1, "bit": 1, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9, "tbit": 1e12,
	"kibit": 1 << 10, "mibit": 1 << 20, "gibit": 1 << 30, "tibit": 1 << 40,
	"bps": 8, "kbps": 8e3, "mbps": 8e6, "gbps": 8e9, "tbps": 8e12,
}

// ParseRate reads a rate.
func ParseRate(s string) (Rate, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		i = len(text)
	}
	n, err := strconv.ParseFloat(text[:i], 64)
	unit, ok := rateUnits[strings.TrimSpace(text[i:])]
	bits := n * unit
	if err != nil || !ok || bits > math.MaxInt64/2 {
		return 0, fmt.Errorf("rate %q: want a number and a unit, as in 900mbit or 1gbit (mbps is megabytes per second)", s)
	}
	return Rate(bits), nil
}

// String writes the rate with the largest unit that leaves no fraction.
func (r Rate) String() string {
	for _, unit := range []string{"gbit", "mbit", "kbit"} {
		if n := int64(rateUnits[unit]); r != 0 && int64(r)%n == 0 {
			return strconv.FormatInt(int64(r)/n, 10) + unit
		}
	}
	if r == 0 {
		return "0"
	}
	return strconv.FormatInt(int64(r), 10) + "bit"
}

// Set reads a flag's value.
func (r *Rate) Set(s string) error {
	v, err := ParseRate(s)
	if err == nil {
		*r = v
	}
	return err
}

// Type is what help texts call the value.
func (*Rate) Type() string { return "RATE" }

// UnmarshalText reads a setting of the file.
func (r *Rate) UnmarshalText(b []byte) error { return r.Set(string(b)) }
