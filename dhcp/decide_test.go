package dhcp

import (
	"net"
	"net/netip"
	"testing"

	"castpoint/boot"
	"castpoint/dhcp/dhcp4"
)

type planOf func(boot.Client) boot.Plan

func (f planOf) Plan(c boot.Client) boot.Plan { return f(c) }

func TestDecide(t *testing.T) {
	arm := boot.ArchEFIARM64
	s, err := New(Config{
		Planner: planOf(func(c boot.Client) boot.Plan { return boot.Plan{Serve: true, File: c.Arch.String()} }),
		Deny:    []string{"52:54:00:00:00:01"},
		Quirks:  []dhcp4.Quirk{{Name: "lab", MACs: []string{"52:54:00:00:00:02"}, Style: dhcp4.StyleRedirect, As: &arm}},
		Menu: func(boot.Client, boot.Plan) *dhcp4.Menu {
			return &dhcp4.Menu{Prompt: "F8", Items: []dhcp4.MenuItem{{Type: dhcp4.LocalBoot, Text: "disk"}}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := func(last byte) boot.Client {
		return boot.Client{
			MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, last}, PXE: true, HasArch: true, Arch: boot.ArchEFIX64,
			Server: netip.MustParseAddr("192.0.2.1"),
		}
	}
	if d := s.Decide(client(1)); d.Silent == "" || d.Plan.Serve {
		t.Errorf("denied client: %+v", d)
	}
	if d := s.Decide(client(2)); d.Quirk.Name != "lab" || d.Client.Arch != arm || d.Plan.File != arm.String() || !d.Menu {
		t.Errorf("client of a quirk: %+v", d)
	}
	if d := s.Decide(client(3)); d.Quirk.Name != "uefi" || d.Plan.File != boot.ArchEFIX64.String() {
		t.Errorf("other client: %+v", d)
	}
	c := client(3)
	c.PXE = false
	if d := s.Decide(c); d.Plan.Serve || d.Menu {
		t.Errorf("client that does not netboot: %+v", d)
	}
}
