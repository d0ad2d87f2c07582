package testbed

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

func readText(t *testing.T, text string) (*Net, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "net.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return ReadNet(path)
}

// The example has every setting of the file, each with its documentation, and is
// itself right; the page in docs has the same text.
func TestNetExample(t *testing.T) {
	n, err := readText(t, Example())
	if err != nil {
		t.Fatal(err)
	}
	if want := (lab.Link{VLAN: 30, Rate: 1e9, Loss: 0.005, Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond}); n.Link(2) != want {
		t.Errorf("cable of machine 2: %+v, want %+v", n.Link(2), want)
	}
	if l := n.Link(3); l.VLAN != 20 || l.Rate != 1e9 {
		t.Errorf("cable of machine 3: %+v", l)
	}
	for cable, of := range map[bool]reflect.Type{false: reflect.TypeFor[Net](), true: reflect.TypeFor[Cable]()} {
		var fields []string
		for i := range of.NumField() {
			fields = append(fields, of.Field(i).Tag.Get("yaml"))
		}
		if !slices.Equal(fields, names(cable)) {
			t.Errorf("%v has %v, documented are %v", of, fields, names(cable))
		}
	}
	page, err := os.ReadFile("../../docs/lab.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```yaml\n"+Example()+"```") {
		t.Error("docs/lab.md does not have the example: castpoint lab net prints it")
	}
	if _, err := json.Marshal(Schema()); err != nil {
		t.Error(err)
	}
}

func TestNetErrors(t *testing.T) {
	for text, want := range map[string]string{
		"snoping: true":                     `line 1: there is no setting "snoping": did you mean snooping?`,
		"mtu: 1500\nfoobarbaz: 1":           `line 2: there is no setting "foobarbaz": known are rate, loss`,
		"machines: {1: {Delai: 1ms}}":       `there is no setting "Delai" of a machine: did you mean delay?`,
		"machines: {1: {mtu: 1400}}":        `there is no setting "mtu" of a machine`,
		"machines: {0: {vlan: 1}}":          "they count from 1",
		"machines: {1: }":                   "want settings",
		"rate: fast":                        `rate "fast": want a number and a unit`,
		"rate: 1kbit":                       "rate 1kbit: want at least 64kbit",
		"loss: 120%":                        `"120%": want a share`,
		"mtu: 100":                          "mtu 100: want 576 to 9000",
		"vlan: 5000":                        "vlan 5000: want 1 to 4094",
		"dhcp: isc":                         `dhcp "isc": want castpoint or dnsmasq`,
		"dhcp: dnsmasq\nvlan: 7":            "dnsmasq is not in it",
		"querier: true":                     "needs snooping: true",
		"delay: 1m":                         "want 0s to 10s",
		"- rate":                            "line 1: want settings",
		"clients: 100":                      "clients 100: want 0 to 64",
		"machines: {2: {delay: 2ms, x: 1}}": "of a machine",
	} {
		if _, err := readText(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if n, err := readText(t, "# nothing\n"); err != nil || n.DHCP != DHCPCastpoint {
		t.Errorf("an empty file: %+v, %v", n, err)
	}
}

// FuzzNet: a file with a network of a lab is refused, or one that can be made.
func FuzzNet(f *testing.F) {
	f.Add([]byte(Example()))
	f.Add([]byte("machines: {0: {}}\n"))
	f.Add([]byte("machines: {1: }\nloss: 101%\n"))
	f.Add([]byte("rate: &a [*a]\n"))
	f.Add([]byte("---\nmtu: 1\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := &Net{DHCP: DHCPCastpoint}
		if n.parse(b) != nil {
			return
		}
		for i := range 3 {
			if l := n.Link(i); l.Loss < 0 || l.Loss > 1 || l.Rate < 0 || l.Delay < 0 || l.Jitter < 0 || l.VLAN < 0 || l.VLAN > 4094 {
				t.Fatalf("cable %+v", l)
			}
		}
	})
}
