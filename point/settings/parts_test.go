package settings

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/dhcp"
	"castpoint/dhcp/dhcp4"
	"castpoint/internal/config"
	"castpoint/point/host"
	"castpoint/tftp"
)

func testLinks() []host.Link {
	return []host.Link{
		{Name: "eth1", Index: 2, Address: netip.MustParseAddr("192.0.2.1"), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		{Name: "eth2", Index: 3, Address: netip.MustParseAddr("198.51.100.1"), Networks: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/24")}},
	}
}

// TestDHCPConfig: the settings of the file arrive in the DHCP server, which takes
// them.
func TestDHCPConfig(t *testing.T) {
	c := config.Default()
	c.DHCP, c.Pool = "server", config.List{"192.0.2.100-192.0.2.199", "198.51.100.10-198.51.100.20"}
	c.Router, c.DNS = config.List{"192.0.2.254", "198.51.100.254"}, config.List{"192.0.2.53"}
	c.Lease, c.Domain, c.Reserve = 8*time.Hour, "lab.example", config.List{"52:54:00:12:34:56=192.0.2.10=pc-17"}
	c.Deny, c.Probe, c.Delay = config.List{"52:54:00:aa"}, false, time.Second
	c.Quirks = config.List{"arch=7 style=redirect as=9"}
	c.Menu, c.DHCP6, c.Pool6 = "Press F8", true, config.List{"2001:db8::100-2001:db8::1ff/64"}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	d, err := DHCP(&c, testLinks())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Pools) != 2 || len(d.Pools[0].Routers) != 1 || d.Pools[1].Routers[0].String() != "198.51.100.254" ||
		d.Pools[0].Lease != 8*time.Hour || d.Pools[1].DNS[0].String() != "192.0.2.53" || d.Pools[0].Domain != "lab.example" {
		t.Errorf("%+v", d.Pools)
	}
	if len(d.Reservations) != 1 || d.Reservations[0].Hostname != "pc-17" || !d.NoProbe || d.Delay != time.Second || len(d.Interfaces) != 2 {
		t.Errorf("%+v", d)
	}
	if len(d.Quirks) != 1 || d.Quirks[0].Style != dhcp4.StyleRedirect || *d.Quirks[0].As != boot.ArchEFIBC {
		t.Errorf("%+v", d.Quirks)
	}
	if m := d.Menu(boot.Client{}, boot.Plan{}); m.Prompt != "Press F8" || m.Items[0].Type != dhcp4.LocalBoot {
		t.Errorf("%+v", m)
	}
	if d.IPv6 == nil || len(d.IPv6.Pools) != 1 || d.IPv6.Pools[0].Lease != 8*time.Hour {
		t.Errorf("%+v", d.IPv6)
	}
	d.Planner = planner{}
	if _, err := dhcp.New(d); err != nil {
		t.Error(err)
	}
}

type planner struct{}

func (planner) Plan(boot.Client) boot.Plan { return boot.Plan{Serve: true, File: "x"} }

func TestSessionConfig(t *testing.T) {
	c := config.Default()
	c.Groups, c.SessionPorts, c.TTL, c.Linger, c.TotalRate = "239.1.2.3-239.1.2.10", "7000-7009", 4, time.Minute, 900e6
	s, err := Sessions(&c, testLinks())
	if err != nil || s.Groups != 8 || s.FirstPort != 7000 || s.Ports != 10 || s.TTL != 4 || s.Linger != time.Minute ||
		s.TotalRate != 900e6 || len(s.Others) != 1 || s.Others[0].Interface != "eth2" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestTFTPConfig(t *testing.T) {
	c := config.Default()
	c.TFTPBlockSize, c.TFTPWindow, c.TFTPPorts, c.TFTPRate = 1456, 16, "5000-5009", 8e6
	c.TFTPTransfers, c.TFTPIdle = -1, time.Minute
	got, err := TFTP(&c)
	if err != nil || got.MaxBlockSize != 1456 || got.MaxWindow != 16 || got.PortMin != 5000 || got.PortMax != 5009 || got.Rate != 1e6 || got.MaxTransfers != -1 {
		t.Errorf("%+v %v", got, err)
	}
	got.Open = func(context.Context, tftp.Request) (tftp.File, error) { return nil, tftp.ErrNotFound }
	if _, err := tftp.New(got); err != nil {
		t.Error(err)
	}
}
