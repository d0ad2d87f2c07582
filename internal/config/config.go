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
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"castpoint/internal/yamltext"
)

// DefaultPath is read when it exists and no other file is named.
const DefaultPath = "/etc/castpoint/castpoint.yaml"

// Config is all settings of castpoint serve. A number or a time of 0 stands for
// the default that the flag's help names.
type Config struct {
	Data      string `yaml:"data"`      // folder of the library, certificate and state
	Interface List   `yaml:"interface"` // none is that of the default route

	DHCP          string        `yaml:"dhcp"`            // proxy, server or off
	Pool          List          `yaml:"pool"`            // FROM-TO[/BITS], for dhcp: server
	Router        List          `yaml:"router"`          // addresses handed out as routers, each on its own network
	DNS           List          `yaml:"dns"`             // addresses handed out as name servers
	NTP           List          `yaml:"ntp"`             // addresses handed out as time servers
	Domain        string        `yaml:"domain"`          // handed out with a pool
	Lease         time.Duration `yaml:"lease"`           // how long an address is given for
	Reserve       List          `yaml:"reserve"`         // MACHINE=ADDRESS[=HOSTNAME]
	MatchClientID bool          `yaml:"match-client-id"` // tell machines apart by option 61 first
	Probe         bool          `yaml:"probe"`           // ask whether an address is in use before it is offered
	Allow         List          `yaml:"allow"`           // the only machines that are answered
	Deny          List          `yaml:"deny"`            // machines that never are
	Delay         time.Duration `yaml:"delay"`           // before a DISCOVER is answered
	Share         bool          `yaml:"share"`           // leave port 67 to a DHCP server on this host
	Quirks        List          `yaml:"quirk"`           // rows in front of the quirk table
	Menu          string        `yaml:"menu"`            // prompt of the firmware's boot menu; "" shows none
	MenuWait      time.Duration `yaml:"menu-wait"`       // countdown before the menu's first item, the disk
	DHCP6         bool          `yaml:"dhcp6"`           // answer by DHCPv6 too
	Pool6         List          `yaml:"pool6"`           // FROM-TO[/BITS], for dhcp: server
	DNS6          List          `yaml:"dns6"`

	DevicesUnknown     string        `yaml:"devices-unknown"`      // serve, ignore or approve machines that are not on record
	DevicesSharedMACs  List          `yaml:"devices-shared-macs"`  // MACs or beginnings of MACs that identify no machine
	DevicesSharedUUIDs List          `yaml:"devices-shared-uuids"` // UUIDs that many machines have
	EventsKeep         time.Duration `yaml:"events-keep"`          // how long events are kept
	EventsMax          int           `yaml:"events-max"`           // how many

	NotifyWebhook      List   `yaml:"notify-webhook"`       // URLs that are told when something needs people
	NotifyKeyFile      string `yaml:"notify-key-file"`      // file with the key that signs what they get
	NotifyCAFile       string `yaml:"notify-ca-file"`       // certificates that webhooks and mail server are trusted by, beside the system's
	NotifyMail         List   `yaml:"notify-mail"`          // addresses that are
	NotifyMailFrom     string `yaml:"notify-mail-from"`     // sender of that mail
	NotifyMailServer   string `yaml:"notify-mail-server"`   // HOST:PORT
	NotifyMailTLS      string `yaml:"notify-mail-tls"`      // auto, starttls, tls or none
	NotifyMailUser     string `yaml:"notify-mail-user"`     // "" does not log in
	NotifyPasswordFile string `yaml:"notify-password-file"` // file with that user's password

	TFTP                bool          `yaml:"tftp"`
	TFTPBlockSize       int           `yaml:"tftp-block-size"` // bytes
	TFTPFragment        bool          `yaml:"tftp-fragment"`
	TFTPWindow          int           `yaml:"tftp-window"` // blocks
	TFTPPorts           string        `yaml:"tftp-ports"`  // FROM-TO; "" lets the kernel choose
	TFTPSinglePort      bool          `yaml:"tftp-single-port"`
	TFTPTransfers       int           `yaml:"tftp-transfers"`        // at once; -1 no limit
	TFTPClientTransfers int           `yaml:"tftp-client-transfers"` // of one address; -1 no limit
	TFTPIdle            time.Duration `yaml:"tftp-idle"`
	TFTPRate            Rate          `yaml:"tftp-rate"`        // all transfers together
	TFTPClientRate      Rate          `yaml:"tftp-client-rate"` // of one address
	TFTPUpload          string        `yaml:"tftp-upload"`      // folder that takes uploads; "" refuses them
	TFTPUploadSize      int64         `yaml:"tftp-upload-size"` // bytes of one upload

	HTTP            string        `yaml:"http"`              // address of the boot listener
	HTTPConns       int           `yaml:"http-conns"`        // at once; -1 no limit
	HTTPClientConns int           `yaml:"http-client-conns"` // of one address; -1 no limit
	HTTPHeader      time.Duration `yaml:"http-header"`       // for a request to arrive
	HTTPIdle        time.Duration `yaml:"http-idle"`         // between two requests of a connection
	HTTPStall       time.Duration `yaml:"http-stall"`        // for the next MiB of an answer to be taken
	HTTPS           string        `yaml:"https"`             // address of the boot listener with TLS; "" for none
	HTTPSCert       string        `yaml:"https-cert"`        // PEM; "" takes castpoint's own CA
	HTTPSKey        string        `yaml:"https-key"`
	HTTPSName       List          `yaml:"https-name"` // names beside the addresses, with castpoint's own CA

	Join  string `yaml:"join"`  // address of the join listener
	Admin string `yaml:"admin"` // address of the admin listener

	AdminName      List   `yaml:"admin-name"`       // names by which it is reached, beside addresses
	AdminCert      string `yaml:"admin-cert"`       // PEM; "" takes castpoint's own CA when the listener is wider than loopback
	AdminKey       string `yaml:"admin-key"`        // PEM
	OIDCIssuer     string `yaml:"oidc-issuer"`      // URL of the identity provider; "" for none
	OIDCClient     string `yaml:"oidc-client"`      // id of castpoint there
	OIDCSecretFile string `yaml:"oidc-secret-file"` // file with the secret of castpoint there
	OIDCURL        string `yaml:"oidc-url"`         // how browsers reach the admin listener
	OIDCClaim      string `yaml:"oidc-claim"`       // claim that has the groups; "" is groups
	OIDCScope      List   `yaml:"oidc-scope"`       // SCOPE=GROUP

	Loaders    List   `yaml:"loaders"`     // folders of boot loaders
	BootImage  string `yaml:"boot-image"`  // content to boot; "" is the newest that fits
	KernelArgs List   `yaml:"kernel-args"` // added to the kernel command line of boot images

	Chain                 List   `yaml:"chain"`                   // [WHICH=]windows, ipxe, ipxe-shim, grub, local or auto
	Machine               List   `yaml:"machine"`                 // WHICH name=value ..., boot settings of some machines
	Idle                  string `yaml:"idle"`                    // ask or disk: what a machine does for which there is nothing to boot
	ChainCA               int    `yaml:"chain-ca"`                // 2011 or 2023: who signed the boot manager; 0 is what there is
	WinPEFiles            List   `yaml:"winpe-files"`             // folders of boot files that boot images lack
	WinPEPrompt           bool   `yaml:"winpe-prompt"`            // a command prompt when the agent fails
	BCD                   string `yaml:"bcd"`                     // boot configuration served as it is; "" makes one for each machine
	RamdiskBlockSize      int    `yaml:"ramdisk-block-size"`      // bytes
	RamdiskWindow         int    `yaml:"ramdisk-window"`          // blocks
	RamdiskVariableWindow bool   `yaml:"ramdisk-variable-window"` // let the boot manager choose the window

	ValidateEvery time.Duration `yaml:"validate-every"` // age at which contents are validated again; 0 is never
	DiskReserve   Size          `yaml:"disk-reserve"`   // of the library's file system, that additions leave free; 0 is none
	UploadMax     int           `yaml:"upload-max"`     // uploads to the library at once; 0 means 4
	UploadSize    Size          `yaml:"upload-size"`    // of the largest; 0 means 256 GiB
	UploadStall   time.Duration `yaml:"upload-stall"`   // an upload that stands still so long is given up; 0 means a minute

	Assign string `yaml:"assign"` // content that machines receive
	Target string `yaml:"target"` // path on the machine
	After  string `yaml:"after"`  // poweroff, reboot, shell or wait

	Rate      Rate   `yaml:"rate"`       // cap of a session
	TotalRate Rate   `yaml:"total-rate"` // cap of all sessions together
	MinRate   Rate   `yaml:"min-rate"`   // what a session does not go below; 0 for none
	Sharing   string `yaml:"sharing"`    // polite or greedy
	// SessionCipher is auto, aes or chacha.
	SessionCipher string        `yaml:"session-cipher"`
	MinMembers    int           `yaml:"min-members"` // start rule
	MaxMembers    int           `yaml:"max-members"` // of a session; more get one of their own; 0 for any number
	MaxWait       time.Duration `yaml:"max-wait"`
	Groups        string        `yaml:"groups"`        // FROM-TO, multicast addresses of sessions
	SessionPorts  string        `yaml:"session-ports"` // FROM-TO, UDP ports of sessions
	TTL           int           `yaml:"ttl"`           // hops that sessions travel
	Linger        time.Duration `yaml:"linger"`        // how long a session without members stays

	LogLevel  string `yaml:"log-level"`
	LogLevels List   `yaml:"log-levels"` // LOGGER=LEVEL
	LogFormat string `yaml:"log-format"` // console or json
}

// List is a setting of several values; in the file a single one needs no
// brackets.
type List []string

// UnmarshalYAML reads a value or a list of values.
func (l *List) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		*l = List{n.Value}
		return nil
	}
	var all []string
	if err := n.Decode(&all); err != nil {
		return err
	}
	*l = all
	return nil
}

// DefaultLoaders are the folders where Debian's and Ubuntu's packages ipxe,
// shim-signed and grub-efi-*-signed put boot loaders.
func DefaultLoaders() List {
	return List{"/usr/lib/ipxe", "/usr/lib/shim", "/usr/lib/grub/x86_64-efi-signed", "/usr/lib/grub/arm64-efi-signed"}
}

// Default is what holds without a file and without flags.
func Default() Config {
	return Config{
		Data: "/var/lib/castpoint", DHCP: "proxy", DevicesUnknown: "serve", Probe: true, MenuWait: 10 * time.Second, TFTP: true,
		HTTP: ":8080", Join: ":8443", Admin: "127.0.0.1:8069",
		Loaders: DefaultLoaders(), Idle: "ask", RamdiskVariableWindow: true, After: "reboot", Sharing: "polite", SessionCipher: "auto", ValidateEvery: 7 * 24 * time.Hour, DiskReserve: 1 << 30,
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
		if errors.Is(err, fs.ErrPermission) {
			return c, fmt.Errorf("read settings: %w: run it as root, as in sudo castpoint", err)
		}
		return c, fmt.Errorf("read settings: %w", err)
	}
	if err := c.parse(b); err != nil {
		return c, fmt.Errorf("settings %s: %w", path, err)
	}
	return c, nil
}

// parse reads one YAML document over c. Its error names all mistakes, each with its
// line.
func (c *Config) parse(b []byte) error {
	d := yaml.NewDecoder(bytes.NewReader(b))
	var file yaml.Node
	err := d.Decode(&file)
	if errors.Is(err, io.EOF) {
		return nil // nothing but comments
	}
	if err != nil {
		return yamltext.Error(err, b)
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("it holds more than one YAML document: keep one")
	}
	m := file.Content[0]
	if m.Kind == yaml.ScalarNode && m.Tag == "!!null" {
		return nil
	}
	if m.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want settings, one on a line, as in dhcp: proxy", m.Line)
	}
	var mistakes []string
	seen := make(map[string]int)
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, value := m.Content[i], m.Content[i+1]
		if before := seen[key.Value]; before != 0 {
			mistakes = append(mistakes, fmt.Sprintf("line %d: %s is there already, in line %d", key.Line, key.Value, before))
			continue
		}
		seen[key.Value] = key.Line
		if err := c.set(key.Value, value); err != nil {
			mistakes = append(mistakes, fmt.Sprintf("line %d: %v", value.Line, err))
		}
	}
	if len(mistakes) > 0 {
		return errors.New(strings.Join(mistakes, "; "))
	}
	return nil
}

// set reads the value of one setting.
func (c *Config) set(name string, value *yaml.Node) error {
	v := reflect.ValueOf(c).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("yaml") != name {
			continue
		}
		err := value.Decode(v.Field(i).Addr().Interface())
		if _, ok := errors.AsType[*yaml.TypeError](err); ok {
			return fmt.Errorf("%s %q: want %s", name, value.Value, wanted(v.Field(i).Interface()))
		}
		if err != nil {
			text := strings.TrimPrefix(err.Error(), "yaml: ")
			if !strings.HasPrefix(text, name+" ") {
				text = name + ": " + text
			}
			return errors.New(text)
		}
		return nil
	}
	if near := nearest(name); near != "" {
		return fmt.Errorf("there is no setting %q: did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no setting %q: castpoint config example has all", name)
}

// wanted is what a setting's value looks like, for people.
func wanted(v any) string {
	switch v.(type) {
	case time.Duration:
		return "a time, as in 90s, 5m or 12h"
	case bool:
		return "true or false"
	case int:
		return "a whole number"
	case List:
		return "a value or a list of values, as in [a, b]"
	}
	return "a text"
}

// Validate checks values that a parser cannot. Errors name the setting.
func (c *Config) Validate() error {
	for _, f := range []struct {
		name, value string
		want        []string
	}{
		{"dhcp", c.DHCP, []string{"proxy", "server", "off"}},
		{"devices-unknown", c.DevicesUnknown, []string{"serve", "ignore", "approve"}},
		{"after", c.After, []string{"poweroff", "reboot", "shell", "wait"}},
		{"sharing", c.Sharing, []string{"polite", "greedy"}},
		{"session-cipher", c.SessionCipher, []string{"auto", "aes", "chacha"}},
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
	for _, check := range []func() error{c.checkDHCP, c.checkTFTP, c.checkHTTP, c.checkWindows, c.checkSessions, c.checkDevices, c.checkAdmin, c.checkNotify} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := within(duration("validate-every", c.ValidateEvery, time.Minute, 10*365*24*time.Hour)); err != nil {
		return err
	}
	if c.UploadMax < 0 || c.UploadMax > 1000 {
		return fmt.Errorf("upload-max %d: want 1 to 1000, or 0 for the default", c.UploadMax)
	}
	if c.UploadStall < 0 || c.UploadStall > time.Hour {
		return fmt.Errorf("upload-stall %s: want up to 1h, or 0 for the default", c.UploadStall)
	}
	if c.DiskReserve > 1<<50 {
		return fmt.Errorf("disk-reserve %s: want at most 1024TiB", c.DiskReserve)
	}
	if c.Target != "" && !strings.HasPrefix(c.Target, "/") {
		return fmt.Errorf("target %q: want an absolute path on the machine", c.Target)
	}
	return nil
}

// within checks numbers of which 0 stands for the default.
func within(limits ...limit) error {
	for _, l := range limits {
		if l.value != 0 && (l.value < l.min || l.value > l.max) {
			return fmt.Errorf("%s %s: want %s to %s", l.name, l.text(l.value), l.text(l.min), l.text(l.max))
		}
	}
	return nil
}

// limit is a number and what it may be.
type limit struct {
	name            string
	value, min, max int64
	time            bool // in nanoseconds
}

func (l limit) text(v int64) string {
	if l.time {
		return time.Duration(v).String()
	}
	return strconv.FormatInt(v, 10)
}

func number(name string, value, lowest, highest int) limit {
	return limit{name: name, value: int64(value), min: int64(lowest), max: int64(highest)}
}

func duration(name string, value, lowest, highest time.Duration) limit {
	return limit{name: name, value: int64(value), min: int64(lowest), max: int64(highest), time: true}
}
