package config

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBootRules(t *testing.T) {
	c := Default()
	c.Chain = List{"ipxe", "x64=windows", "X64-HTTP=ipxe", "52-54-00-00-00-01=windows", "4C4C4544-0034-4410-8052-b4c04f4d3132=local"}
	c.Machine = List{" 52:54:00:00:00:02  chain=grub ask=yes ", "all window=4"}
	got, err := c.BootRules()
	if err != nil {
		t.Fatal(err)
	}
	want := []BootRule{
		{Set: []string{"chain=ipxe"}},
		{Arch: "x64", Set: []string{"chain=windows"}},
		{Arch: "x64-http", Set: []string{"chain=ipxe"}},
		{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Set: []string{"chain=windows"}},
		{UUID: "4c4c4544-0034-4410-8052-b4c04f4d3132", Set: []string{"chain=local"}},
		{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 2}, Set: []string{"chain=grub", "ask=yes"}},
		{Set: []string{"window=4"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "lilo", "=windows", "x65=windows", "x64=", "x64=lilo", "52-54=ipxe"} {
		c.Chain, c.Machine = List{bad}, nil
		if _, err := c.BootRules(); err == nil {
			t.Errorf("chain %q was taken", bad)
		}
	}
	for _, bad := range []string{"", "52:54:00:00:00:02", "x65 chain=grub", "chain=grub ask=yes"} {
		c.Chain, c.Machine = nil, List{bad}
		if _, err := c.BootRules(); err == nil {
			t.Errorf("machine %q was taken", bad)
		}
	}
}

func TestCheckWindows(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.ChainCA = 2012 },
		func(c *Config) { c.RamdiskBlockSize = 100 },
		func(c *Config) { c.RamdiskWindow = 70000 },
		func(c *Config) { c.Chain = List{"x"} },
		func(c *Config) { c.Machine = List{"x"} },
		func(c *Config) { c.Idle = "" },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
