package config

import (
	"fmt"
	"net"
	"strings"
)

// Chain says how one architecture, one machine or all machines boot a boot image
// that is a WIM.
type Chain struct {
	Arch  string           // name of an architecture; "" is any
	MAC   net.HardwareAddr // of the machine; nil is any
	UUID  string           // of the machine; "" is any
	Chain string           // windows or ipxe
}

// ChainArchs are the names of architectures in the setting chain, and their
// numbers in DHCP option 93.
func ChainArchs() map[string][]uint16 {
	return map[string][]uint16{
		"bios": {0}, "ia32": {6}, "x64": {7, 9}, "arm64": {11},
		"ia32-http": {15}, "x64-http": {16, 17}, "arm64-http": {19},
	}
}

// Chains is Chain, parsed.
func (c *Config) Chains() ([]Chain, error) {
	var list []Chain
	for _, text := range c.Chain {
		bad := fmt.Errorf("chain %q: want windows or ipxe, or WHICH=windows, where WHICH is a MAC, a UUID, or one of bios, ia32, x64, arm64, ia32-http, x64-http, arm64-http", text)
		which, chain, ok := strings.Cut(text, "=")
		if !ok {
			which, chain = "", text
		}
		if chain != "windows" && chain != "ipxe" {
			return nil, bad
		}
		entry := Chain{Chain: chain}
		which = strings.ToLower(which)
		mac, err := net.ParseMAC(which)
		_, known := ChainArchs()[which]
		switch {
		case !ok:
		case known:
			entry.Arch = which
		case err == nil && len(mac) == 6:
			entry.MAC = mac
		case uuidText.MatchString(which):
			entry.UUID = which
		default:
			return nil, bad
		}
		list = append(list, entry)
	}
	return list, nil
}

// checkWindows checks what concerns Windows PE.
func (c *Config) checkWindows() error {
	if _, err := c.Chains(); err != nil {
		return err
	}
	if c.ChainCA != 0 && c.ChainCA != 2011 && c.ChainCA != 2023 {
		return fmt.Errorf("chain-ca %d: want 2011 or 2023", c.ChainCA)
	}
	return within(
		number("ramdisk-block-size", c.RamdiskBlockSize, 512, 65464),
		number("ramdisk-window", c.RamdiskWindow, 1, 65535),
	)
}
