package sequence

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"castpoint/deploy/sequence/condition"
)

// Condition is a list of expressions, all of which have to be true; in YAML a
// single one needs no list. The language is that of package condition, with the names
// of Scope.
type Condition []string

// Environments that steps run in.
const (
	EnvironmentLinux     = "linux"      // castpoint's boot environment
	EnvironmentWindowsPE = "windows-pe" // a boot image of Windows
	EnvironmentWindows   = "windows"    // the Windows of the disk
	EnvironmentLinuxDisk = "linux-disk" // the Linux of the disk
)

// OnDisk says whether an environment is the operating system of the machine's disk.
func OnDisk(environment string) bool {
	return environment == EnvironmentWindows || environment == EnvironmentLinuxDisk
}

// Scope is what expressions can ask. Vars and Device are read when the condition is
// tried, the functions are called then.
type Scope struct {
	Vars        map[string]string `expr:"vars"`
	Device      Facts             `expr:"device"`
	Environment string            `expr:"environment"`
	// Last is the last step that ran.
	Last Outcome `expr:"last"`
	// Exists says whether there is a file or folder.
	Exists func(path string) bool `expr:"exists"`
	// WMI says whether a WQL query has a result, as in wmi("SELECT * FROM
	// Win32_Battery"). It is an error where there is no WMI.
	WMI func(query string) (bool, error) `expr:"wmi"`
	// Like compares with * and ?, whatever the letter case. Filled in by Holds.
	Like func(text, pattern string) bool `expr:"like"`
}

// Outcome is how a step ended, for conditions of later ones.
type Outcome struct {
	State    string `expr:"state"` // done, failed, skipped; "" before the first one
	ExitCode int    `expr:"exit_code"`
}

// Program is a condition that is ready to be tried. A nil one always holds.
type Program struct {
	texts    []string
	programs []*condition.Program
}

// Compile reads the expressions, so that what is wrong is found before a machine
// runs them.
func (c Condition) Compile() (*Program, error) {
	p := &Program{}
	for _, text := range c {
		one, err := condition.Compile(text, reflect.TypeFor[Scope]())
		if err != nil {
			return nil, fmt.Errorf("%w: condition %q: %w", ErrInvalid, text, err)
		}
		p.texts, p.programs = append(p.texts, text), append(p.programs, one)
	}
	return p, nil
}

// Holds says whether all expressions are true. why is the first that is not.
func (p *Program) Holds(s Scope) (ok bool, why string, err error) {
	if p == nil {
		return true, "", nil
	}
	s.Like = Like
	if s.Exists == nil {
		s.Exists = func(string) bool { return false }
	}
	if s.WMI == nil {
		s.WMI = func(string) (bool, error) { return false, fmt.Errorf("there is no WMI in %s", s.Environment) }
	}
	for i, text := range p.texts {
		switch holds, err := p.programs[i].Holds(s); {
		case err != nil:
			return false, text, fmt.Errorf("condition %q: %w", text, err)
		case !holds:
			return false, text, nil
		}
	}
	return true, "", nil
}

// Holds compiles and tries a condition once.
func (c Condition) Holds(s Scope) (ok bool, why string, err error) {
	p, err := c.Compile()
	if err != nil {
		return false, "", err
	}
	return p.Holds(s)
}

// Holds says whether a leaf is to run: its groups' conditions and its own hold.
func (l *Leaf) Holds(s Scope) (ok bool, why string, err error) {
	for _, one := range append(l.Groups[:len(l.Groups):len(l.Groups)], l.Step) {
		if ok, why, err = one.When.Holds(s); !ok || err != nil {
			return ok, why, err
		}
	}
	return true, "", nil
}

// Fits says whether a rule is one for the machine.
func (r *Rule) Fits(s Scope) (bool, error) {
	if r.Manufacturer != "" && !Like(s.Device.Manufacturer, r.Manufacturer) || r.Model != "" && !Like(s.Device.Model, r.Model) {
		return false, nil
	}
	ok, _, err := r.When.Holds(s)
	return ok, err
}

// Like compares a text with a pattern that has * and ?, whatever the letter case. It is
// called for each device and rule, so it makes nothing, and takes no longer than their
// lengths multiplied.
func Like(text, pattern string) bool {
	// Where the last * stands, and what it has swallowed so far.
	var afterStar, rest string
	star := false
	for text != "" {
		want, wide := utf8.DecodeRuneInString(pattern)
		have, size := utf8.DecodeRuneInString(text)
		switch {
		case pattern != "" && want == '*':
			star, pattern = true, pattern[wide:]
			afterStar, rest = pattern, text
		case pattern != "" && (want == '?' || unicode.ToLower(want) == unicode.ToLower(have)):
			pattern, text = pattern[wide:], text[size:]
		case star:
			_, size = utf8.DecodeRuneInString(rest)
			rest = rest[size:]
			pattern, text = afterStar, rest
		default:
			return false
		}
	}
	return strings.Trim(pattern, "*") == ""
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (c *Condition) UnmarshalYAML(node *yaml.Node) error {
	switch node.Kind {
	case yaml.ScalarNode:
		*c = Condition{node.Value}
	case yaml.SequenceNode:
		for _, one := range node.Content {
			if one.Kind != yaml.ScalarNode {
				return fmt.Errorf("line %d: %w: want an expression", one.Line, ErrInvalid)
			}
			*c = append(*c, one.Value)
		}
	default:
		return fmt.Errorf("line %d: %w: when: want an expression or a list of expressions", node.Line, ErrInvalid)
	}
	return nil
}
