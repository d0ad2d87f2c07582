package config

import (
	"net"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChains(t *testing.T) {
	c := Default()
	c.Chain = List{"ipxe", "x64=windows", "X64-HTTP=ipxe", "52-54-00-00-00-01=windows", "4C4C4544-0034-4410-8052-b4c04f4d3132=ipxe"}
	got, err := c.Chains()
	if err != nil {
		t.Fatal(err)
	}
	want := []Chain{
		{Chain: "ipxe"},
		{Arch: "x64", Chain: "windows"},
		{Arch: "x64-http", Chain: "ipxe"},
		{MAC: net.HardwareAddr{0x52, 0x54, 0, 0, 0, 1}, Chain: "windows"},
		{UUID: "4c4c4544-0034-4410-8052-b4c04f4d3132", Chain: "ipxe"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{"", "grub", "=windows", "x65=windows", "x64=", "x64=grub", "52-54=ipxe"} {
		c.Chain = List{bad}
		if _, err := c.Chains(); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestCheckWindows(t *testing.T) {
	for _, change := range []func(*Config){
		func(c *Config) { c.ChainCA = 2012 },
		func(c *Config) { c.RamdiskBlockSize = 100 },
		func(c *Config) { c.RamdiskWindow = 70000 },
		func(c *Config) { c.Chain = List{"x"} },
	} {
		c := Default()
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}
