package sequence

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// namePattern is what sequences, and volumes within them, may be called.
var namePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// BuiltIn are the variables that every run has. They cannot be set.
func BuiltIn() []string {
	return []string{
		"_Architecture", "_AssetTag", "_Deployment", "_Device", "_Environment", "_Firmware", "_LastExitCode", "_MAC",
		"_Manufacturer", "_Model", "_Run", "_Sequence", "_Serial", "_Server", "_UUID", "_WorkFolder",
	}
}

// Check reads a sequence and says all that is wrong with it, in the order of lines.
// The sequence is nil when it could not be read.
func Check(data []byte) (*Sequence, []Problem) {
	s, root, problems := decode(data)
	if s == nil {
		return nil, problems
	}
	c := &checker{sequence: s, root: root, variables: make(map[string]bool), volumes: make(map[string]bool)}
	c.all()
	slices.SortStableFunc(c.problems, func(a, b Problem) int { return a.Line - b.Line })
	return s, slices.Compact(c.problems)
}

// checker goes through the steps in the order in which they run and knows what
// earlier ones have made.
type checker struct {
	sequence  *Sequence
	root      *yaml.Node // that it was read from
	problems  []Problem
	variables map[string]bool // that have a value, or are declared
	volumes   map[string]bool
	applied   bool // an operating system
	bootable  bool

	step *Step
	kind string // its action
}

// add notes a problem of the step's field; field "" is the step itself.
func (c *checker) add(warning bool, field, format string, args ...any) {
	p := Problem{Warning: warning, Text: fmt.Sprintf(format, args...)}
	if c.step != nil {
		name := c.step.Title()
		node := c.step.at.node
		if node != nil {
			p.Line = node.Line
		}
		for _, part := range []string{c.kind, field} {
			if v := child(node, part); part != "" && v != nil {
				p.Line, node = v.Line, v
			}
		}
		if field != "" {
			p.Text = field + ": " + p.Text
		}
		p.Text = "step " + name + ": " + p.Text
	}
	c.problems = append(c.problems, p)
}

func (c *checker) wrong(field, format string, args ...any) { c.add(false, field, format, args...) }
func (c *checker) warn(field, format string, args ...any)  { c.add(true, field, format, args...) }

// child is the value of a mapping's field.
func child(node *yaml.Node, name string) *yaml.Node {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if node.Content[i].Value == name {
			return node.Content[i+1]
		}
	}
	return nil
}

func (c *checker) all() {
	s := c.sequence
	if !namePattern.MatchString(s.Name) {
		c.wrong("", "name %q: want up to 63 letters, digits, dots, hyphens and underscores, as in install-windows", s.Name)
	}
	for _, name := range BuiltIn() {
		c.variables[name] = true
	}
	for name, v := range s.Variables {
		c.declared(name, &v)
	}
	if len(s.Steps) == 0 {
		c.wrong("", "the sequence has no steps")
	}
	for _, name := range s.Contents {
		c.text("contents", name)
	}
	count := 0
	c.list(s.Steps, &count)
	c.step, c.kind = nil, ""
	if count > maxSteps {
		c.wrong("", "the sequence has %d steps, at most %d are run", count, maxSteps)
	}
	if c.applied && !c.bootable {
		c.warn("", "an operating system is applied, and no install-bootloader step makes the disk boot it")
	}
}

func (c *checker) declared(name string, v *Variable) {
	wrong := func(format string, args ...any) {
		p := Problem{Text: "variables: " + fmt.Sprintf(format, args...)}
		if node := child(child(c.root, "variables"), name); node != nil {
			p.Line = node.Line
		}
		c.problems = append(c.problems, p)
	}
	if err := CheckVariable(name); err != nil {
		wrong("%s", trim(err))
	}
	c.variables[name] = true
	if v.Pattern != "" {
		if _, err := regexp.Compile(v.Pattern); err != nil {
			wrong("%s: pattern: %v", name, err)
			return
		}
	}
	if v.Secret && v.Value != "" {
		wrong("%s is secret: its value is set for a collection or a device, not in the sequence", name)
		return
	}
	if v.Value != "" {
		if err := v.Accept(name, v.Value); err != nil {
			wrong("%s", trim(err))
		}
	}
}

// list checks steps. Those that are disabled are checked as well, but set nothing.
func (c *checker) list(steps []Step, count *int) {
	for i := range steps {
		one := &steps[i]
		*count++
		c.step = one
		kind, action := one.Action()
		c.kind = ""
		c.common(one)
		switch n := one.actions(); {
		case n > 1:
			c.wrong("", "has %d actions: make a step of each", n)
			continue
		case n == 1 && one.Steps != nil:
			c.wrong("", "has steps and the action %s: a group has steps only", kind)
			continue
		case n == 0 && len(one.Steps) == 0:
			c.wrong("", "has no action: want one of %s, or steps", strings.Join(Kinds(), ", "))
			continue
		case n == 0:
			if one.Retry != nil {
				c.wrong("retry", "is for single steps, not for groups")
			}
			if one.Timeout != 0 {
				c.wrong("timeout", "is for single steps, not for groups")
			}
			if one.Patience != 0 {
				c.wrong("patience", "is for single steps, not for groups")
			}
			c.list(one.Steps, count)
			continue
		}
		c.patience(one, kind)
		c.kind = kind
		c.expansions(action)
		action.check(c)
	}
}

func (s *Step) actions() (n int) {
	for _, kind := range Kinds() {
		if child(s.at.node, kind) != nil {
			n++
		}
	}
	return n
}

func (c *checker) common(s *Step) {
	if len(s.Name) > 100 || strings.ContainsAny(s.Name, "\n\r\t") {
		c.wrong("name", "want at most 100 bytes in one line")
	}
	if _, err := s.When.Compile(); err != nil {
		c.wrong("when", "%s", trim(err))
	}
	if r := s.Retry; r != nil && (r.Count < 1 || r.Count > 100) {
		c.wrong("retry", "count %d: want 1 to 100", r.Count)
	}
}

// patience checks that of a step: only what waits for the server has any.
func (c *checker) patience(s *Step, kind string) {
	switch {
	case s.Patience == 0:
	case !slices.Contains(patientKinds(), kind):
		c.wrong("patience", "is for steps that receive or send something, not for %s: want %s, or timeout here", kind, strings.Join(patientKinds(), ", "))
	case time.Duration(s.Patience) < leastPatience:
		c.wrong("patience", "%s: want at least %s", s.Patience, leastPatience)
	}
}

// patientKinds are the actions that receive contents, or send something.
func patientKinds() []string {
	return []string{"apply-image", "apply-data-image", "apply-drivers", "download-content", "install-package", "run-command", "run-powershell", "copy-log"}
}

// expansions checks the variables in the texts of an action.
func (c *checker) expansions(action Action) {
	// The texts are put back as they are.
	_ = texts(valueOf(action), "", func(field, format, text string) (string, error) {
		c.text(field, text)
		if format == formatXML && text != "" {
			c.xml(field, text)
		}
		return text, nil
	})
}

func (c *checker) text(field, text string) {
	err := references(text, func(name string, needed bool) {
		if needed && !c.variables[name] {
			c.warn(field, "variable %s is declared nowhere and set by no earlier step%s", name, nearest(name, c.names()))
		}
	})
	if err != nil {
		c.wrong(field, "%s", trim(err))
	}
}

// xml reads a text as the machine will, with some value in place of each variable.
func (c *checker) xml(field, text string) {
	filled, err := Expand(text, func(string) (string, bool) { return "x", true })
	if err != nil {
		return // said already
	}
	for d := xml.NewDecoder(strings.NewReader(filled)); ; {
		switch _, err := d.Token(); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			c.warn(field, "%v of the text: write & as &amp; and < as &lt;", err)
			return
		}
	}
}

func (c *checker) names() []string {
	var names []string
	for name := range c.variables {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// sets notes that a variable has a value from here on.
func (c *checker) sets(field, name string) {
	if name == "" {
		return
	}
	if err := CheckVariable(name); err != nil {
		c.wrong(field, "%s", trim(err))
	}
	c.variables[name] = true
}

func (c *checker) required(field, value string) {
	if strings.TrimSpace(value) == "" {
		c.wrong(field, "is missing")
	}
}

// volume checks a text that names a volume, or is a path.
func (c *checker) volume(field, name string) {
	switch {
	case name == "":
		c.wrong(field, "is missing: want the name of a partition, or a path")
	case strings.Contains(name, "${"), strings.ContainsAny(name, `/\:`), c.volumes[name]:
	case len(c.volumes) == 0:
		c.wrong(field, "there is no volume %q: no earlier step makes partitions (a path, as in C: or /mnt, is taken as it is)", name)
	default:
		var known []string
		for v := range c.volumes {
			known = append(known, v)
		}
		slices.Sort(known)
		c.wrong(field, "there is no volume %q: earlier steps make %s%s", name, strings.Join(known, ", "), nearest(name, known))
	}
}

// secret warns of secrets that stand in the sequence.
func (c *checker) secret(field, value string) {
	if value != "" && !strings.Contains(value, "${") {
		c.warn(field, "a secret stands in the sequence, where everybody reads it: put it in a secret variable and write ${NAME}")
	}
}

func trim(err error) string { return strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": ") }
