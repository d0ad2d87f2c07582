package collection

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"castpoint/deploy/named"
	"castpoint/deploy/sequence"
)

// Collection is a set of devices and the variables that they have in common.
type Collection struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Notes     string            `json:"notes,omitempty"`
	Devices   []string          `json:"devices,omitempty"` // ids
	Except    []string          `json:"except,omitempty"`  // ids that no rule brings in
	Rules     []MemberRule      `json:"rules,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
	// Secrets are the names of its secret variables. Their values are never shown.
	Secrets []string  `json:"secrets,omitempty"`
	Changed time.Time `json:"changed"`
}

// MemberRule brings devices into a collection. All that is given has to fit; texts have *
// and ?, whatever the letter case.
type MemberRule struct {
	// Unknown takes machines that are not on record, and only those. Of them no
	// more is known than Architecture and Firmware.
	Unknown      bool              `json:"unknown,omitempty"`
	Architecture string            `json:"architecture,omitempty"` // amd64, arm64
	Firmware     string            `json:"firmware,omitempty"`     // uefi, bios
	Manufacturer string            `json:"manufacturer,omitempty"`
	Model        string            `json:"model,omitempty"`
	Name         string            `json:"name,omitempty"`
	MAC          string            `json:"mac,omitempty"`
	Group        string            `json:"group,omitempty"`
	Variables    map[string]string `json:"variables,omitempty"` // of the device's record
	// When are expressions over vars and device, as in conditions of steps.
	When []string `json:"when,omitempty"`

	when *sequence.Program
}

// Limits.
const (
	maxRules   = 100
	maxMembers = 100_000
)

func (c *Collection) clone() *Collection {
	n := *c
	n.Devices, n.Except, n.Rules, n.Secrets = slices.Clone(c.Devices), slices.Clone(c.Except), slices.Clone(c.Rules), slices.Clone(c.Secrets)
	n.Variables = maps.Clone(c.Variables)
	return &n
}

// normalize checks what can be checked without the devices and compiles the rules.
func (c *Collection) normalize() error {
	c.Name, c.Notes = strings.TrimSpace(c.Name), strings.TrimSpace(c.Notes)
	if err := named.Check(c.Name); err != nil {
		return err
	}
	if len(c.Notes) > named.MaxNotes || !utf8.ValidString(c.Notes) {
		return named.Invalid("notes: want at most %d bytes of text", named.MaxNotes)
	}
	slices.Sort(c.Devices)
	slices.Sort(c.Except)
	c.Devices, c.Except = slices.Compact(c.Devices), slices.Compact(c.Except)
	if len(c.Devices) > maxMembers || len(c.Rules) > maxRules {
		return named.Invalid("at most %d devices and %d rules are kept", maxMembers, maxRules)
	}
	for i := range c.Rules {
		if err := c.Rules[i].normalize(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
	}
	return checkVariables(c.Variables)
}

func checkVariables(vars map[string]string) error {
	for name, value := range vars {
		if err := sequence.CheckVariable(name); err != nil {
			return err
		}
		if len(value) > sequence.MaxValue || !utf8.ValidString(value) {
			return named.Invalid("variable %s: want at most %d bytes of text", name, sequence.MaxValue)
		}
	}
	return nil
}

func (r *MemberRule) normalize() (err error) {
	if !slices.Contains([]string{"", "amd64", "arm64"}, r.Architecture) {
		return named.Invalid("architecture %q: want amd64 or arm64", r.Architecture)
	}
	if !slices.Contains([]string{"", sequence.FirmwareUEFI, sequence.FirmwareBIOS}, r.Firmware) {
		return named.Invalid("firmware %q: want uefi or bios", r.Firmware)
	}
	known := r.Manufacturer + r.Model + r.Name + r.MAC + r.Group + strings.Join(r.When, "")
	if r.Unknown && (known != "" || len(r.Variables) > 0) {
		return named.Invalid("of unknown machines only architecture and firmware are known")
	}
	if !r.Unknown && known == "" && r.Architecture == "" && r.Firmware == "" && len(r.Variables) == 0 {
		return named.Invalid("an empty rule would take all devices: name: \"*\" says so")
	}
	r.MAC = strings.ReplaceAll(strings.ToLower(r.MAC), "-", ":")
	r.when, err = sequence.Condition(r.When).Compile()
	return err
}

// Verdict is what a rule says of a machine.
type Verdict int

// The verdicts.
const (
	No    Verdict = iota
	Maybe         // its inventory is needed, and there is none
	Yes
)

// Holds says whether a machine is in the collection, and by what.
func (c *Collection) Holds(m *Machine) (Verdict, string) {
	if m.Device != nil {
		if _, ok := slices.BinarySearch(c.Devices, m.Device.ID); ok {
			return Yes, "it is on its list"
		}
		if _, ok := slices.BinarySearch(c.Except, m.Device.ID); ok {
			return No, ""
		}
	}
	best := No
	for i := range c.Rules {
		v, err := c.Rules[i].fits(m)
		if err != nil {
			continue // an expression about what this machine does not have
		}
		if v == Yes {
			return Yes, "it fits rule " + strconv.Itoa(i+1)
		}
		best = max(best, v)
	}
	return best, ""
}

func (r *MemberRule) fits(m *Machine) (Verdict, error) {
	if r.Unknown != (m.Device == nil) {
		return No, nil
	}
	arch, firmware := m.Hardware()
	if r.Architecture != "" && arch != "" && r.Architecture != arch || r.Firmware != "" && firmware != "" && r.Firmware != firmware {
		return No, nil
	}
	if r.Architecture != "" && arch == "" || r.Firmware != "" && firmware == "" {
		return Maybe, nil
	}
	if m.Device == nil {
		return Yes, nil
	}
	d := m.Device
	if r.Name != "" && !sequence.Like(d.Name, r.Name) {
		return No, nil
	}
	if r.MAC != "" && !slices.ContainsFunc(d.MACs, func(mac string) bool { return sequence.Like(mac, r.MAC) }) {
		return No, nil
	}
	if r.Group != "" && !slices.ContainsFunc(d.Groups, func(g string) bool { return sequence.Like(g, r.Group) }) {
		return No, nil
	}
	for name, want := range r.Variables {
		if value, ok := d.Variables[name]; !ok || !sequence.Like(value, want) {
			return No, nil
		}
	}
	if r.Manufacturer == "" && r.Model == "" && len(r.When) == 0 {
		return Yes, nil
	}
	facts := m.facts()
	if facts == nil {
		return Maybe, nil
	}
	if r.Manufacturer != "" && !sequence.Like(facts.Manufacturer, r.Manufacturer) || r.Model != "" && !sequence.Like(facts.Model, r.Model) {
		return No, nil
	}
	ok, _, err := r.when.Holds(sequence.Scope{Vars: d.Variables, Device: *facts})
	if err != nil || !ok {
		return No, err
	}
	return Yes, nil
}
