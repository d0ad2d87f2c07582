package sequence

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// ErrInvalid says that a sequence, or a text in it, is not what the format says.
var ErrInvalid = errors.New("not usable")

// Duration is a time span, written as in 90s, 10m or 1h30m.
type Duration time.Duration

// String is the written form.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%w: %q: want a time as in 90s, 10m or 1h30m", ErrInvalid, text)
	}
	*d = Duration(v)
	return nil
}

// Extent is a size: bytes, a share, or all that is left. The zero Extent is none.
type Extent struct {
	Bytes int64
	Share float64 // percent
	Rest  bool
}

var (
	extentPattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?B|B|%)$`)
	extentUnits   = map[string]float64{
		"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
	}
)

// ParseExtent reads a size: 300MiB, 60GB, 50% or rest.
func ParseExtent(s string) (Extent, error) {
	s = strings.TrimSpace(s)
	if s == "rest" {
		return Extent{Rest: true}, nil
	}
	fail := fmt.Errorf("%w: size %q: want one as in 300MiB, 64GB, 50%% or rest", ErrInvalid, s)
	m := extentPattern.FindStringSubmatch(s)
	if m == nil {
		return Extent{}, fail
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return Extent{}, fail
	}
	if m[2] == "%" {
		if n <= 0 || n > 100 {
			return Extent{}, fmt.Errorf("%w: share %q: want more than 0%% and at most 100%%", ErrInvalid, s)
		}
		return Extent{Share: n}, nil
	}
	if n *= extentUnits[m[2]]; n < 1 || n > math.MaxInt64/2 {
		return Extent{}, fail
	}
	return Extent{Bytes: int64(n)}, nil
}

// String is the written form; "" for the zero Extent.
func (e Extent) String() string {
	switch {
	case e.Rest:
		return "rest"
	case e.Share > 0:
		return strconv.FormatFloat(e.Share, 'f', -1, 64) + "%"
	case e.Bytes == 0:
		return ""
	}
	n, unit := e.Bytes, "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

// IsZero says whether no size is given.
func (e Extent) IsZero() bool { return e == Extent{} }

// MarshalText implements encoding.TextMarshaler.
func (e Extent) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Extent) UnmarshalText(text []byte) (err error) {
	if len(text) == 0 {
		*e = Extent{}
		return nil
	}
	*e, err = ParseExtent(string(text))
	return err
}

// variableName is what variables may be called. Names that begin with an
// underscore are castpoint's own and cannot be set.
var variableName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]{0,62}$`)

// MaxValue is how long a variable's value may be, in bytes.
const MaxValue = 4096

// CheckVariable says what is wrong with a variable's name.
func CheckVariable(name string) error {
	if !variableName.MatchString(name) {
		return fmt.Errorf("%w: variable %q: want up to 63 letters, digits, dots, hyphens and underscores that begin with a letter", ErrInvalid, name)
	}
	return nil
}

// Accept says what is wrong with a value for the variable.
func (v *Variable) Accept(name, value string) error {
	return accept("variable "+name, value, v.Pattern, v.Choices, v.Secret)
}

// Accept says what is wrong with an answer to the question.
func (q *Question) Accept(answer string) error {
	if answer == "" {
		if q.Optional {
			return nil
		}
		return fmt.Errorf("%w: %s: an answer is needed", ErrInvalid, q.Variable)
	}
	return accept(q.Variable, answer, q.Pattern, q.Choices, q.Secret)
}

func accept(what, value, pattern string, choices []string, secret bool) error {
	shown := strconv.Quote(value)
	if secret {
		shown = "its value"
	}
	if len(value) > MaxValue {
		return fmt.Errorf("%w: %s: it is longer than %d bytes", ErrInvalid, what, MaxValue)
	}
	if len(choices) > 0 {
		for _, c := range choices {
			if c == value {
				return nil
			}
		}
		return fmt.Errorf("%w: %s: %s is none of %s", ErrInvalid, what, shown, strings.Join(choices, ", "))
	}
	if pattern != "" {
		re, err := regexp.Compile(`^(?:` + pattern + `)$`)
		if err != nil {
			return fmt.Errorf("%w: %s: pattern %q: %w", ErrInvalid, what, pattern, err)
		}
		if !re.MatchString(value) {
			return fmt.Errorf("%w: %s: %s does not match %s", ErrInvalid, what, shown, pattern)
		}
	}
	return nil
}
