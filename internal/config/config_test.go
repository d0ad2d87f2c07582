package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("interface: eth1\nrate: 900mbit\nmax-wait: 30s\nmin-members: 4\ndns: [192.0.2.1]\ntftp: false\n")
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Interface, want.Rate, want.MaxWait, want.MinMembers = List{"eth1"}, 900e6, 30*time.Second, 4
	want.DNS, want.TFTP = List{"192.0.2.1"}, false
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	write("# nothing\n")
	if got, err := Load(path); err != nil || cmp.Diff(Default(), got) != "" {
		t.Errorf("empty file: %v, %v", got, err)
	}
	for text, part := range map[string]string{
		"interface: a\nspeed: 3\n": `line 2: there is no setting "speed"`,
		"min-members: many\n":      `line 1: min-members "many": want a whole number`,
		"dhpc: proxy\nrate: fast\nlease: 5 parsecs\nprobe: perhaps\n": `line 1: there is no setting "dhpc": did you mean dhcp?; line 2: rate "fast": want a number and a unit, as in 900mbit or 1gbit (mbps is megabytes per second); line 3: lease "5 parsecs": want a time, as in 90s, 5m or 12h; line 4: probe "perhaps": want true or false`,
		"rate: 1gbit\nrate: 2gbit\n":                                  "line 2: rate is there already, in line 1",
		"- dhcp\n":                                                    "line 1: want settings, one on a line",
		"dhcp:\n\tx: 1\n":                                             "line 2: found",

		"rate: fast\n":            `rate "fast": want a number and a unit`,
		"max-wait: soon\n":        "line 1:",
		"a: b: c\n":               "mapping values",
		"tftp: true\n---\nx: 1\n": "more than one YAML document",
	} {
		write(text)
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v does not say %q and the file", text, err, part)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: error has more than one line: %v", text, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a named file that is missing was accepted")
	}
}

func TestValidate(t *testing.T) {
	good := []func(*Config){
		func(*Config) {},
		func(c *Config) { c.DHCP, c.Pool = "server", List{"192.0.2.10-192.0.2.20"} },
		func(c *Config) { c.DHCP = "off" },
		func(c *Config) { c.Target = "/dev/sda" },
	}
	for i, change := range good {
		c := Default()
		change(&c)
		if err := c.Validate(); err != nil {
			t.Errorf("good %d: %v", i, err)
		}
	}
	for part, change := range map[string]func(*Config){
		"dhcp":        func(c *Config) { c.DHCP = "maybe" },
		"pool":        func(c *Config) { c.DHCP = "server" },
		"give no":     func(c *Config) { c.Pool = List{"192.0.2.10-192.0.2.20"} },
		"FROM-TO":     func(c *Config) { c.DHCP, c.Pool = "server", List{"192.0.2.20-192.0.2.10"} },
		"router":      func(c *Config) { c.DHCP, c.Pool, c.Router = "server", List{"192.0.2.1-192.0.2.2"}, List{"here"} },
		"with a pool": func(c *Config) { c.Router = List{"192.0.2.1"} },
		"target":      func(c *Config) { c.Target = "sda" },
		"after":       func(c *Config) { c.After = "explode" },
		"min-members": func(c *Config) { c.MinMembers = -1 },
		"log-level":   func(c *Config) { c.LogLevel = "loud" },
		"data":        func(c *Config) { c.Data = "" },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}

func TestRate(t *testing.T) {
	for text, want := range map[string]Rate{
		"900mbit": 900e6, "1gbit": 1e9, "1.5Gbit": 15e8, "10mbps": 80e6, "1000": 1000, "64kbit": 64000,
		"1mibit": 1 << 20, "0": 0, " 5 mbit ": 5e6,
	} {
		got, err := ParseRate(text)
		if err != nil || got != want {
			t.Errorf("ParseRate(%q) = %d, %v; want %d", text, got, err, want)
		}
		again, err := ParseRate(got.String())
		if err != nil || again != got {
			t.Errorf("%q written as %q reads as %d, %v", text, got.String(), again, err)
		}
	}
	for _, text := range []string{"", "fast", "mbit", "-1mbit", "1 furlong", "1e400mbit", "99999999999tbit", "1.2.3mbit", "1,5gbit"} {
		if got, err := ParseRate(text); err == nil {
			t.Errorf("ParseRate(%q) = %d was accepted", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "rate: 1gbit", "dns: [a, b]\nx: y", "- 1", "a: &a [*a]", "data: {}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Default()
		if err := c.parse([]byte(s)); err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%q: an error without words", s)
		}
	})
}

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "512": 512, "1k": 1 << 10, "1.5 GiB": 3 << 29, "20GiB": 20 << 30, "2TB": 2e12, "100 MB": 1e8,
	} {
		got, err := ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%d is written as %q, which is %d, %v", got, got, again, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1 GHz", "9999999TiB", "1e3"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d was accepted", text, got)
		}
	}
}

// The settings that the documentation shows are good ones.
func TestDocumentedSettings(t *testing.T) {
	block := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")
	seen := 0
	for _, page := range []string{"getting-started.md", "cli.md", "api.md"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range block.FindAllSubmatch(text, -1) {
			seen++
			path := filepath.Join(t.TempDir(), "castpoint.yaml")
			if err := os.WriteFile(path, m[1], 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(path); err != nil {
				t.Errorf("%s: %v:\n%s", page, err, m[1])
			}
		}
	}
	if seen < 4 {
		t.Errorf("only %d blocks were found", seen)
	}
}
