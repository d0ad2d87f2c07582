package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// server is a configuration that gives addresses.
func server(c *Config) { c.DHCP, c.Pool = "server", List{"192.0.2.100-192.0.2.199"} }

// TestSettingsAreChecked: every wrong value is refused, by the setting's name.
func TestSettingsAreChecked(t *testing.T) {
	for name, changes := range map[string][]func(*Config){
		"pool":  {func(c *Config) { server(c); c.Pool = List{"192.0.2.9"} }, func(c *Config) { server(c); c.Pool[0] += "/33" }, func(c *Config) { server(c); c.Pool[0] += "/30" }, func(c *Config) { server(c); c.Pool = List{"2001:db8::1-2001:db8::2"} }},
		"dns":   {func(c *Config) { server(c); c.DNS = List{"::1"} }},
		"ntp":   {func(c *Config) { server(c); c.NTP = List{"pool.ntp.org"} }, func(c *Config) { c.NTP = List{"192.0.2.1"} }},
		"lease": {func(c *Config) { server(c); c.Lease = time.Second }, func(c *Config) { c.Lease = time.Hour }},
		"reserve": {
			func(c *Config) { server(c); c.Reserve = List{"52:54:00:12:34:56"} },
			func(c *Config) { server(c); c.Reserve = List{"52:54=192.0.2.7"} },
			func(c *Config) { server(c); c.Reserve = List{"52:54:00:12:34:56=host"} },
			func(c *Config) { server(c); c.Reserve = List{"id:xyz=192.0.2.7"} },
			func(c *Config) { server(c); c.Reserve = List{"52:54:00:12:34:56=192.0.2.7=bad name"} },
			func(c *Config) { c.Reserve = List{"52:54:00:12:34:56=192.0.2.7"} },
		},
		"allow":                {func(c *Config) { c.Allow = List{"everybody"} }, func(c *Config) { c.Allow = List{""} }},
		"deny":                 {func(c *Config) { c.Deny = List{"52:5"} }},
		"devices-unknown":      {func(c *Config) { c.DevicesUnknown = "" }, func(c *Config) { c.DevicesUnknown = "ask" }},
		"devices-shared-macs":  {func(c *Config) { c.DevicesSharedMACs = List{"dock"} }},
		"devices-shared-uuids": {func(c *Config) { c.DevicesSharedUUIDs = List{"1-2"} }},
		"events-keep":          {func(c *Config) { c.EventsKeep = time.Second }},
		"events-max":           {func(c *Config) { c.EventsMax = 5 }},
		"delay":                {func(c *Config) { c.Delay = time.Minute }, func(c *Config) { c.Delay = -1 }},
		"share":                {func(c *Config) { server(c); c.Share = true }},
		"quirk": {
			func(c *Config) { c.Quirks = List{"mac=52:54:00"} }, func(c *Config) { c.Quirks = List{"style=redirect"} },
			func(c *Config) { c.Quirks = List{"mac=52:54:00 style=loud"} }, func(c *Config) { c.Quirks = List{"arch=x style=menu"} },
			func(c *Config) { c.Quirks = List{"speed=1"} }, func(c *Config) { c.Quirks = List{"redirect"} },
		},
		"menu":                  {func(c *Config) { c.Menu = "drück F8" }, func(c *Config) { c.Menu = strings.Repeat("x", 61) }},
		"menu-wait":             {func(c *Config) { c.MenuWait = 5 * time.Minute }, func(c *Config) { c.MenuWait = time.Millisecond }},
		"pool6":                 {func(c *Config) { c.Pool6 = List{"2001:db8::1-2001:db8::2"} }, func(c *Config) { c.DHCP6, c.Pool6 = true, List{"2001:db8::1-2001:db8::2"} }, func(c *Config) { server(c); c.DHCP6, c.Pool6 = true, List{"192.0.2.1-192.0.2.2"} }},
		"dhcp6":                 {func(c *Config) { c.DHCP, c.DHCP6 = "off", true }},
		"dns6":                  {func(c *Config) { c.DHCP6, c.DNS6 = true, List{"192.0.2.1"} }, func(c *Config) { c.DHCP6, c.DNS6 = true, List{"2001:db8::1"} }},
		"tftp-block-size":       {func(c *Config) { c.TFTPBlockSize = 7 }, func(c *Config) { c.TFTPBlockSize = 65465 }},
		"tftp-window":           {func(c *Config) { c.TFTPWindow = 2000 }},
		"tftp-ports":            {func(c *Config) { c.TFTPPorts = "9-8" }, func(c *Config) { c.TFTPPorts = "0-8" }, func(c *Config) { c.TFTPPorts, c.TFTPSinglePort = "5000-5010", true }},
		"tftp-transfers":        {func(c *Config) { c.TFTPTransfers = -2 }},
		"tftp-client-transfers": {func(c *Config) { c.TFTPClientTransfers = -2 }},
		"tftp-idle":             {func(c *Config) { c.TFTPIdle = time.Millisecond }},
		"tftp-rate":             {func(c *Config) { c.TFTPRate = 1000 }},
		"tftp-client-rate":      {func(c *Config) { c.TFTPClientRate = 1000 }},
		"tftp-upload-size":      {func(c *Config) { c.TFTPUploadSize = 5 }, func(c *Config) { c.TFTPUpload, c.TFTPUploadSize = "/x", -5 }},
		"http-conns":            {func(c *Config) { c.HTTPConns = -2 }},
		"http-client-conns":     {func(c *Config) { c.HTTPClientConns = -2 }},
		"http-header":           {func(c *Config) { c.HTTPHeader = 1 }},
		"http-idle":             {func(c *Config) { c.HTTPIdle = 1 }},
		"http-stall":            {func(c *Config) { c.HTTPStall = 1 }},
		"https":                 {func(c *Config) { c.HTTPSName = List{"boot.example.net"} }},
		"https-cert":            {func(c *Config) { c.HTTPS, c.HTTPSCert = ":1", "x" }},
		"https-name":            {func(c *Config) { c.HTTPS, c.HTTPSName = ":1", List{"a b"} }},
		"groups":                {func(c *Config) { c.Groups = "192.0.2.1-192.0.2.2" }, func(c *Config) { c.Groups = "239.0.0.1-239.255.0.1" }, func(c *Config) { c.Groups = "x" }},
		"session-ports":         {func(c *Config) { c.SessionPorts = "a-b" }},
		"ttl":                   {func(c *Config) { c.TTL = 256 }},
		"linger":                {func(c *Config) { c.Linger = 1 }},
		"upload-max":            {func(c *Config) { c.UploadMax = 2000 }},
		"upload-stall":          {func(c *Config) { c.UploadStall = 2 * time.Hour }},
		"disk-reserve":          {func(c *Config) { c.DiskReserve = 1 << 60 }},
		"total-rate":            {func(c *Config) { c.TotalRate = 1000 }},
	} {
		for i, change := range changes {
			c := Default()
			change(&c)
			if err := c.Validate(); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s %d: %v", name, i, err)
			}
		}
	}
}

// TestFullFile reads a file that sets nearly everything.
func TestFullFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	text := `
interface: [eth1, eth2.7]
dhcp: server
pool: [192.0.2.100-192.0.2.199, 198.51.100.10-198.51.100.20/24]
router: 192.0.2.1
lease: 8h
domain: lab.example
reserve:
  - 52:54:00:12:34:56=192.0.2.10=pc-17
  - 4c4c4544-0031-3010-8052-b4c04f4e3332=192.0.2.11
  - id:01525400123457=192.0.2.12
probe: false
deny: "52:54:00:aa"
quirk: mac=00:11:22 arch=7 arch=9 vendor=PXEClient style=redirect as=0x10 name=lab
menu: Press F8 to install
menu-wait: 20s
dhcp6: true
pool6: 2001:db8::100-2001:db8::1ff/64
tftp-ports: 5000-5099
tftp-rate: 1gbit
https: :8444
https-name: boot.example.net
groups: 239.1.2.3-239.1.2.10
session-ports: "7000"
total-rate: 900mbit
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err == nil {
		err = c.Validate()
	}
	if err != nil {
		t.Fatal(err)
	}
	pools, err := c.Pools()
	if err != nil || len(pools) != 2 || pools[0].Network.IsValid() || pools[1].Network.String() != "198.51.100.0/24" {
		t.Errorf("%+v %v", pools, err)
	}
	if r, err := c.Reservations(); err != nil || len(r) != 3 || r[0].Hostname != "pc-17" || r[1].UUID == "" || r[2].ClientID != "01525400123457" {
		t.Errorf("%+v %v", r, err)
	}
	as := uint16(16)
	want := []Quirk{{Name: "lab", Archs: []uint16{7, 9}, Vendor: "PXEClient", MACs: []string{"00:11:22"}, Style: "redirect", As: &as}}
	if q, err := c.QuirkRows(); err != nil || !reflect.DeepEqual(q, want) {
		t.Errorf("%+v %v", q, err)
	}
	if first, n, err := c.GroupRange(); err != nil || n != 8 || first.String() != "239.1.2.3" {
		t.Errorf("%v %d %v", first, n, err)
	}
	if from, to, err := c.SessionPortRange(); err != nil || from != 7000 || to != 7000 {
		t.Errorf("%d %d %v", from, to, err)
	}
	if c.Probe || len(c.Interface) != 2 || c.Router[0] != "192.0.2.1" {
		t.Errorf("%+v", c)
	}
}
