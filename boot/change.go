package boot

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/boot/bcd"
)

// Change is a change of [Settings], made of words of the form name=value. The
// zero Change changes nothing.
type Change struct {
	words []string
	steps []func(*Settings)
}

// Words are what the change was made of.
func (c Change) Words() []string { return slices.Clone(c.words) }

// Then is this change and then another, which wins where both say something.
func (c Change) Then(other Change) Change {
	return Change{words: append(slices.Clone(c.words), other.words...), steps: append(slices.Clone(c.steps), other.steps...)}
}

func (c Change) apply(s *Settings) {
	for _, step := range c.steps {
		step(s)
	}
}

// ParseChange reads words of the form name=value; [ChangeNames] are the names.
func ParseChange(words []string) (Change, error) {
	c := Change{words: slices.Clone(words)}
	seen := map[string]bool{}
	for _, word := range words {
		name, value, ok := strings.Cut(word, "=")
		i := slices.IndexFunc(changes, func(k changeKind) bool { return k.name == name })
		switch {
		case i < 0:
			return Change{}, fmt.Errorf("boot setting %q: there is none of this name; there are %s", name, strings.Join(ChangeNames(), ", "))
		case !ok || value == "":
			return Change{}, fmt.Errorf("boot setting %s: want %s=VALUE, where VALUE is %s", name, name, changes[i].want)
		case seen[name]:
			return Change{}, fmt.Errorf("boot setting %s: it is given twice", name)
		}
		seen[name] = true
		step, err := changes[i].parse(value)
		if err == nil {
			// Limits are those of all settings.
			s := Settings{}
			step(&s)
			err = s.check()
		}
		if err != nil {
			return Change{}, fmt.Errorf("boot setting %s: %w; want %s", word, err, changes[i].want)
		}
		c.steps = append(c.steps, step)
	}
	return c, nil
}

// ChangeNames are the names that a [Change] knows.
func ChangeNames() (names []string) {
	for _, k := range changes {
		names = append(names, k.name)
	}
	return names
}

// changeKind is one name and how its value is read.
type changeKind struct {
	name  string
	want  string
	parse func(value string) (func(*Settings), error)
}

var changes = []changeKind{
	{"chain", "windows, ipxe, ipxe-shim, grub, local or auto", func(v string) (func(*Settings), error) {
		chain := Chain(v)
		if v == "auto" {
			chain = ChainAuto
		}
		return func(s *Settings) { s.Chain = chain }, nil
	}},
	{"ask", "yes or no: boot from the network only when a key is pressed", yesOrNo(func(s *Settings, v bool) { s.Ask = v })},
	{"ca", "2011 or 2023", integer(func(s *Settings, v int) { s.CA = v })},
	{"bcd", "FILE of a boot configuration that is served as it is", func(v string) (func(*Settings), error) {
		b, err := os.ReadFile(v)
		return func(s *Settings) { s.BCD = b }, err
	}},
	{"prompt", "yes or no: a command prompt when the agent in Windows PE fails", yesOrNo(func(s *Settings, v bool) { s.Prompt = v })},
	{"block-size", "bytes of a TFTP block, 512 to 65464", positive(func(s *Settings, v int) { s.Store.BlockSize = v })},
	{"window", "blocks of a TFTP window, 1 to 65535", positive(func(s *Settings, v int) { s.Store.WindowSize = v })},
	{"variable-window", "yes or no", yesOrNo(func(s *Settings, v bool) { s.Store.VariableWindow = &v })},
	{"menu", "yes or no: show the boot manager's menu", yesOrNo(func(s *Settings, v bool) { s.Store.ShowMenu = v })},
	{"timeout", "how long that menu waits, in whole seconds, as in 10s", func(v string) (func(*Settings), error) {
		d, err := time.ParseDuration(v)
		return func(s *Settings) { s.Store.Timeout = d }, err
	}},
	{"description", "the text in that menu, _ for a space", ofEntry(func(e *bcd.Entry, v string) { e.Description = strings.ReplaceAll(v, "_", " ") })},
	{"load-options", "the command line of the system, _ for a space", ofEntry(func(e *bcd.Entry, v string) { e.LoadOptions = strings.ReplaceAll(v, "_", " ") })},
	{"locale", "a language tag, as in de-DE", func(v string) (func(*Settings), error) {
		return func(s *Settings) { s.Store.Locale = v }, nil
	}},
	{"nx", "optin, optout, alwaysoff or alwayson", func(v string) (func(*Settings), error) {
		nx, err := bcd.ParseNX(v)
		return func(s *Settings) { entry(s).NX = nx }, err
	}},
	{"test-signing", "yes or no", yesOrNo(func(s *Settings, v bool) { entry(s).TestSigning = v })},
	{"debug", "no, serial:PORT[:BAUD], or network:ADDRESS:PORT:KEY", parseDebug},
	{"ems", "no, or PORT[:BAUD] of a serial port that shows menu and system", parseEMS},
}

func yesOrNo(set func(*Settings, bool)) func(string) (func(*Settings), error) {
	return func(v string) (func(*Settings), error) {
		if v != "yes" && v != "no" {
			return nil, errors.New("it is neither")
		}
		return func(s *Settings) { set(s, v == "yes") }, nil
	}
}

func integer(set func(*Settings, int)) func(string) (func(*Settings), error) {
	return func(v string) (func(*Settings), error) {
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, errors.New("it is no number")
		}
		return func(s *Settings) { set(s, n) }, nil
	}
}

func positive(set func(*Settings, int)) func(string) (func(*Settings), error) {
	return func(v string) (func(*Settings), error) {
		if n, err := strconv.Atoi(v); err != nil || n <= 0 {
			return nil, errors.New("it is no such number")
		}
		return integer(set)(v)
	}
}

// entry is the first entry of the boot configuration, which the settings of a
// machine are about. The list is copied: it is shared with other machines.
func entry(s *Settings) *bcd.Entry {
	s.Store.Entries = slices.Clone(s.Store.Entries)
	if len(s.Store.Entries) == 0 {
		s.Store.Entries = []bcd.Entry{{}}
	}
	return &s.Store.Entries[0]
}

func ofEntry(set func(*bcd.Entry, string)) func(string) (func(*Settings), error) {
	return func(v string) (func(*Settings), error) {
		return func(s *Settings) { set(entry(s), v) }, nil
	}
}

func parseDebug(v string) (func(*Settings), error) {
	if v == "no" {
		return func(s *Settings) { s.Store.Debugger, s.Store.KernelDebug = nil, false }, nil
	}
	way, rest, _ := strings.Cut(v, ":")
	d := bcd.Debugger{}
	switch way {
	case "serial":
		port, baud, err := serialPort(rest)
		if err != nil {
			return nil, err
		}
		d.Port, d.BaudRate = port, baud
	case "network":
		parts := strings.Split(rest, ":")
		if len(parts) != 3 {
			return nil, errors.New("it has not three parts")
		}
		host, err := netip.ParseAddr(parts[0])
		if err != nil {
			return nil, err
		}
		port, err := strconv.ParseUint(parts[1], 10, 16)
		if err != nil {
			return nil, err
		}
		d.Host, d.HostPort, d.Key = host, uint16(port), parts[2]
	default:
		return nil, errors.New("it is neither serial nor network")
	}
	return func(s *Settings) { s.Store.Debugger, s.Store.KernelDebug = &d, true }, nil
}

func parseEMS(v string) (func(*Settings), error) {
	if v == "no" {
		return func(s *Settings) { s.Store.EMS = nil }, nil
	}
	port, baud, err := serialPort(v)
	return func(s *Settings) { s.Store.EMS = &bcd.EMS{Port: port, BaudRate: baud} }, err
}

// serialPort reads PORT[:BAUD].
func serialPort(text string) (port, baud int, err error) {
	p, b, hasBaud := strings.Cut(text, ":")
	if port, err = strconv.Atoi(p); err == nil && hasBaud {
		baud, err = strconv.Atoi(b)
	}
	if err != nil {
		return 0, 0, errors.New("it is no serial port")
	}
	return port, baud, nil
}
