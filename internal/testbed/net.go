package testbed

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"castpoint/internal/config"
	"castpoint/internal/lab"
	"castpoint/internal/yamltext"
)

// Net is a file of castpoint lab up --net: what the network is like.
type Net struct {
	Rate     config.Rate   `yaml:"rate"`
	Loss     Share         `yaml:"loss"`
	Delay    time.Duration `yaml:"delay"`
	Jitter   time.Duration `yaml:"jitter"`
	VLAN     int           `yaml:"vlan"`
	MTU      int           `yaml:"mtu"`
	Snooping bool          `yaml:"snooping"`
	Querier  *bool         `yaml:"querier"`
	DHCP     string        `yaml:"dhcp"`
	IPv6     bool          `yaml:"ipv6"`
	Clients  int           `yaml:"clients"`
	Offload  bool          `yaml:"offload"`

	Machines map[int]*Cable `yaml:"machines"`
}

// Cable is what one machine has that the others do not; nil is what all have.
type Cable struct {
	Rate   *config.Rate   `yaml:"rate"`
	Loss   *Share         `yaml:"loss"`
	Delay  *time.Duration `yaml:"delay"`
	Jitter *time.Duration `yaml:"jitter"`
	VLAN   *int           `yaml:"vlan"`
}

// Share is a part of a whole, 0 to 1, written as 0.01 or 1%.
type Share float64

// UnmarshalText reads a share.
func (s *Share) UnmarshalText(b []byte) error {
	text, percent := strings.CutSuffix(strings.TrimSpace(string(b)), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if percent {
		v /= 100
	}
	if err != nil || v < 0 || v > 1 {
		return fmt.Errorf("%q: want a share as 0.01 or 1%%", b)
	}
	*s = Share(v)
	return nil
}

// Who gives the machines their addresses.
const (
	DHCPCastpoint = "castpoint"
	DHCPDnsmasq   = "dnsmasq"
)

// setting is one of the file.
type setting struct {
	name    string
	initial string // what holds when it is left out
	example string
	schema  map[string]any
	doc     string
	cable   bool // one machine's can differ
}

var (
	schemaRate     = map[string]any{"type": "string", "pattern": `^[0-9.]+ *([kmgt]?i?bit|[kmgt]?bps)?$`}
	schemaShare    = map[string]any{"type": []string{"string", "number"}, "pattern": `^[0-9.]+ *%?$`}
	schemaDuration = map[string]any{"type": "string", "pattern": `^[0-9.]+(us|ms|s)$`}
	schemaSwitch   = map[string]any{"type": "boolean"}
)

// settings are those of the file, in the order in which people think of them.
func settings() []setting {
	return []setting{
		{"rate", "no limit", "1gbit", schemaRate, "of every cable in each direction, as tc writes rates", true},
		{"loss", "0", "0.5%", schemaShare, "share of packets that a machine's cable loses in each direction, and a client on arrival; ARP is not lost", true},
		{"delay", "0s", "2ms", schemaDuration, "of a machine's cable in each direction", true},
		{"jitter", "0s", "1ms", schemaDuration, "at most added to the delay; packets keep their order", true},
		{"vlan", "0", "20", map[string]any{"type": "integer", "minimum": 0, "maximum": 4094},
			"VLAN of the machines' ports, 0 for none; the server has an interface vlanN and a pool in each", true},
		{"mtu", "1500", "1500", map[string]any{"type": "integer", "minimum": 576, "maximum": 9000}, "bytes of all cables", false},
		{"snooping", "false", "true", schemaSwitch, "the switch sends multicast only where it was asked for (IGMP snooping)", false},
		{"querier", "as snooping", "true", schemaSwitch, "the switch asks who wants multicast (IGMP querier); without it snooping forgets members after 260 s", false},
		{"dhcp", DHCPCastpoint, DHCPCastpoint, map[string]any{"enum": []string{DHCPCastpoint, DHCPDnsmasq}},
			"who gives addresses: castpoint, or dnsmasq beside it at 10.77.0.2, and castpoint answers as proxy", false},
		{"ipv6", "false", "false", schemaSwitch, "addresses of fd77::/64 as well, and UEFI machines that try IPv6", false},
		{"clients", "0", "0", map[string]any{"type": "integer", "minimum": 0, "maximum": lab.MaxClients}, "namespaces for programs of your own: castpoint lab exec client1 -- PROGRAM", false},
		{"offload", "false", "false", schemaSwitch, "packets of 64 KiB cross the cables of server and clients whole: faster, and unlike any wire", false},
	}
}

const machinesDoc = "what single machines have that others have not, by their numbers"

// names are those of the file's settings, or of a machine's.
func names(cable bool) (all []string) {
	for _, s := range settings() {
		if s.cable || !cable {
			all = append(all, s.name)
		}
	}
	if !cable {
		all = append(all, "machines")
	}
	return all
}

// Example is a file with every setting.
func Example() string {
	var b strings.Builder
	b.WriteString("# The network of castpoint lab up --net FILE. What is left out has its default.\n\n")
	for _, s := range settings() {
		fmt.Fprintf(&b, "# %s (default: %s)\n%s: %s\n\n", s.doc, s.initial, s.name, s.example)
	}
	fmt.Fprintf(&b, "# %s: %s\nmachines:\n  1: {rate: 100mbit, loss: 2%%}\n  2: {vlan: 30, delay: 20ms, jitter: 5ms}\n", machinesDoc, strings.Join(names(true), ", "))
	return b.String()
}

// Schema is the JSON Schema of the file, for editors.
func Schema() map[string]any {
	all, cable := map[string]any{}, map[string]any{}
	for _, s := range settings() {
		property := map[string]any{"description": s.doc + " (default: " + s.initial + ")"}
		for k, v := range s.schema {
			property[k] = v
		}
		all[s.name] = property
		if s.cable {
			cable[s.name] = property
		}
	}
	all["machines"] = map[string]any{
		"type": "object", "description": machinesDoc, "additionalProperties": false,
		"patternProperties": map[string]any{"^[1-9][0-9]*$": map[string]any{"type": "object", "properties": cable, "additionalProperties": false}},
	}
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "network of castpoint lab up",
		"type": "object", "properties": all, "additionalProperties": false,
	}
}

// ReadNet reads a file; "" is a network without any settings. Errors name file, line
// and setting.
func ReadNet(path string) (*Net, error) {
	n := &Net{DHCP: DHCPCastpoint}
	if path == "" {
		return n, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if err := n.parse(b); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

func (n *Net) parse(b []byte) error {
	var file yaml.Node
	if err := yaml.Unmarshal(b, &file); err != nil {
		return yamltext.Error(err, b)
	}
	if len(file.Content) == 0 {
		return nil // nothing but comments
	}
	if err := known(file.Content[0], false); err != nil {
		return err
	}
	err := file.Content[0].Decode(n)
	if t, ok := errors.AsType[*yaml.TypeError](err); ok {
		return errors.New(strings.Join(t.Errors, "; "))
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return n.check()
}

// known refuses settings that there are none of.
func known(m *yaml.Node, cable bool) error {
	if m.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want settings, one on a line, as in rate: 1gbit", m.Line)
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if !slices.Contains(names(cable), key.Value) {
			text := fmt.Sprintf("line %d: there is no setting %q", key.Line, key.Value)
			if cable {
				text += " of a machine"
			}
			if near := config.Nearest(key.Value, names(cable)); near != "" {
				return fmt.Errorf("%s: did you mean %s?", text, near)
			}
			return fmt.Errorf("%s: known are %s", text, strings.Join(names(cable), ", "))
		}
		if key.Value != "machines" || value.Kind != yaml.MappingNode {
			continue
		}
		for j := 0; j+1 < len(value.Content); j += 2 {
			if err := known(value.Content[j+1], true); err != nil {
				return err
			}
		}
	}
	return nil
}

// check looks at values.
func (n *Net) check() error {
	switch {
	case n.MTU != 0 && (n.MTU < 576 || n.MTU > 9000):
		return fmt.Errorf("mtu %d: want 576 to 9000", n.MTU)
	case n.Clients < 0 || n.Clients > lab.MaxClients:
		return fmt.Errorf("clients %d: want 0 to %d", n.Clients, lab.MaxClients)
	case n.DHCP != DHCPCastpoint && n.DHCP != DHCPDnsmasq:
		return fmt.Errorf("dhcp %q: want %s or %s", n.DHCP, DHCPCastpoint, DHCPDnsmasq)
	case n.Querier != nil && *n.Querier && !n.Snooping:
		return errors.New("querier: true needs snooping: true, without which the switch sends multicast everywhere")
	}
	for number, c := range n.Machines {
		if number < 1 {
			return fmt.Errorf("machines: %d is no number of a machine: they count from 1", number)
		}
		if c == nil {
			return fmt.Errorf("machines: %d has no settings: known are %s", number, strings.Join(names(true), ", "))
		}
	}
	for _, number := range append([]int{0}, keys(n.Machines)...) {
		where := "machines: " + strconv.Itoa(number) + ": "
		if number == 0 {
			where = ""
		}
		l := n.Link(number)
		switch {
		case l.VLAN < 0 || l.VLAN > 4094:
			return fmt.Errorf("%svlan %d: want 1 to 4094, or 0 for none", where, l.VLAN)
		case l.VLAN != 0 && n.DHCP == DHCPDnsmasq:
			return fmt.Errorf("%svlan %d: dnsmasq is not in it: leave vlan out, or dhcp: %s", where, l.VLAN, DHCPDnsmasq)
		case l.Rate < 0 || l.Rate != 0 && l.Rate < 64_000:
			return fmt.Errorf("%srate %s: want at least 64kbit", where, config.Rate(l.Rate))
		case l.Delay < 0 || l.Delay > 10*time.Second || l.Jitter < 0 || l.Jitter > 10*time.Second:
			return fmt.Errorf("%sdelay %s, jitter %s: want 0s to 10s", where, l.Delay, l.Jitter)
		}
	}
	return nil
}

func keys(m map[int]*Cable) (all []int) {
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

// Link is the cable of a machine, by its number from 1.
func (n *Net) Link(number int) lab.Link {
	l := lab.Link{VLAN: n.VLAN, Rate: int64(n.Rate), Loss: float64(n.Loss), Delay: n.Delay, Jitter: n.Jitter}
	c := n.Machines[number]
	if c == nil {
		return l
	}
	if c.VLAN != nil {
		l.VLAN = *c.VLAN
	}
	if c.Rate != nil {
		l.Rate = int64(*c.Rate)
	}
	if c.Loss != nil {
		l.Loss = float64(*c.Loss)
	}
	if c.Delay != nil {
		l.Delay = *c.Delay
	}
	if c.Jitter != nil {
		l.Jitter = *c.Jitter
	}
	return l
}

// lab is the network for internal/lab.
func (n *Net) lab() lab.Config {
	c := lab.Config{Clients: n.Clients, Loss: float64(n.Loss), Offload: n.Offload, MTU: n.MTU, IPv6: n.IPv6,
		Snooping: n.Snooping, NoQuerier: n.Querier != nil && !*n.Querier}
	if n.Rate != 0 {
		c.Rate = strconv.FormatInt(int64(n.Rate), 10) + "bit"
	}
	return c
}
