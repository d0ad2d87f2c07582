// Package config turns one YAML file into one checked struct. Every field has a
// flag of the same name at castpoint serve; flags win over the file, the file
// over the defaults.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// DefaultPath is read when it exists and no other file is named.
const DefaultPath = "/etc/castpoint/castpoint.yaml"

// Config is all settings of castpoint serve.
type Config struct {
	Data      string `yaml:"data"`      // folder of the library, certificate and state
	Interface string `yaml:"interface"` // "" is that of the default route

	DHCP   string   `yaml:"dhcp"`   // proxy, server or off
	Pool   string   `yaml:"pool"`   // FROM-TO, for dhcp: server
	Router string   `yaml:"router"` // address handed out as the router
	DNS    []string `yaml:"dns"`    // addresses handed out as name servers
	TFTP   bool     `yaml:"tftp"`
	HTTP   string   `yaml:"http"`  // address of the boot listener
	Join   string   `yaml:"join"`  // address of the join listener
	Admin  string   `yaml:"admin"` // address of the admin listener

	Loaders    []string `yaml:"loaders"`     // folders of boot loaders
	BootImage  string   `yaml:"boot-image"`  // content to boot; "" is the newest that fits
	KernelArgs []string `yaml:"kernel-args"` // added to the kernel command line of boot images

	Assign string `yaml:"assign"` // content that machines receive
	Target string `yaml:"target"` // path on the machine
	After  string `yaml:"after"`  // poweroff, reboot, shell or wait

	Rate       Rate          `yaml:"rate"`        // cap of a session
	MinMembers int           `yaml:"min-members"` // start rule
	MaxWait    time.Duration `yaml:"max-wait"`

	LogLevel  string `yaml:"log-level"`
	LogFormat string `yaml:"log-format"` // console or json
}

// Default is what holds without a file and without flags.
func Default() Config {
	return Config{
		Data: "/var/lib/castpoint", DHCP: "proxy", TFTP: true,
		HTTP: ":8080", Join: ":8443", Admin: "127.0.0.1:8069",
		Loaders: []string{"/usr/lib/ipxe"}, After: "reboot",
		LogLevel: "info", LogFormat: "console",
	}
}

// Load reads the file over the defaults. With path "" it is DefaultPath, and
// then a missing file is the defaults. Errors name file, line and field.
func Load(path string) (Config, error) {
	c := Default()
	optional := path == ""
	if optional {
		path = DefaultPath
	}
	b, err := os.ReadFile(path)
	if optional && errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read settings: %w", err)
	}
	if err := c.parse(b); err != nil {
		return c, fmt.Errorf("settings %s: %w", path, err)
	}
	return c, nil
}

// parse reads one YAML document over c.
func (c *Config) parse(b []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	err := d.Decode(c)
	if errors.Is(err, io.EOF) {
		return nil // nothing but comments
	}
	if t, ok := errors.AsType[*yaml.TypeError](err); ok {
		return errors.New(explain(t.Errors))
	}
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it holds more than one YAML document: keep one")
	}
	return nil
}

var unknownField = regexp.MustCompile(`^line (\d+): field (\S+) not found in type \S+$`)

// explain makes the decoder's messages one line about settings instead of Go
// types.
func explain(messages []string) string {
	for i, m := range messages {
		if f := unknownField.FindStringSubmatch(m); f != nil {
			messages[i] = fmt.Sprintf("line %s: there is no setting %q", f[1], f[2])
		}
	}
	return strings.Join(messages, "; ")
}

// Validate checks values that a parser cannot. Errors name the setting.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name, value string
		want        []string
	}{
		{"dhcp", c.DHCP, []string{"proxy", "server", "off"}},
		{"after", c.After, []string{"poweroff", "reboot", "shell", "wait"}},
		{"log-level", c.LogLevel, []string{"debug", "info", "warn", "error"}},
		{"log-format", c.LogFormat, []string{"console", "json"}},
	} {
		if !slices.Contains(f.want, f.value) {
			return fmt.Errorf("%s %q: want %s", f.name, f.value, strings.Join(f.want, ", "))
		}
	}
	if c.Data == "" {
		return errors.New("data: want a folder")
	}
	if (c.DHCP == "server") != (c.Pool != "") {
		return errors.New("pool: dhcp server needs one, as in 192.0.2.100-192.0.2.199, and the other modes give no addresses")
	}
	if c.Pool != "" {
		if _, _, err := c.PoolRange(); err != nil {
			return err
		}
	}
	for _, a := range append([]string{c.Router}, c.DNS...) {
		if ip, err := netip.ParseAddr(a); a != "" && (err != nil || !ip.Is4()) {
			return fmt.Errorf("router or dns %q: want an IPv4 address", a)
		}
	}
	if c.Pool == "" && (c.Router != "" || len(c.DNS) > 0) {
		return errors.New("router and dns are handed out with a pool only")
	}
	if c.MinMembers < 0 || c.MaxWait < 0 {
		return errors.New("min-members and max-wait cannot be negative")
	}
	if c.Target != "" && !strings.HasPrefix(c.Target, "/") {
		return fmt.Errorf("target %q: want an absolute path on the machine", c.Target)
	}
	return nil
}

// PoolRange is the first and the last address of Pool.
func (c *Config) PoolRange() (from, to netip.Addr, err error) {
	a, b, ok := strings.Cut(c.Pool, "-")
	if ok {
		from, err = netip.ParseAddr(strings.TrimSpace(a))
		if err == nil {
			to, err = netip.ParseAddr(strings.TrimSpace(b))
		}
	}
	if !ok || err != nil || !from.Is4() || !to.Is4() || to.Less(from) {
		return from, to, fmt.Errorf("pool %q: want FROM-TO, as in 192.0.2.100-192.0.2.199", c.Pool)
	}
	return from, to, nil
}
