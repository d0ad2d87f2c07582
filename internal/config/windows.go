package config

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// BootRule says how one architecture, one machine or all machines boot.
type BootRule struct {
	Arch string           // name of an architecture; "" is any
	MAC  net.HardwareAddr // of the machine; nil is any
	UUID string           // of the machine; "" is any
	Set  []string         // name=value, checked by package boot
}

// chains are what the setting chain can say.
var chains = []string{"windows", "ipxe", "ipxe-shim", "grub", "local", "auto"}

// ChainArchs are the names of architectures in the setting chain, and their
// numbers in DHCP option 93.
func ChainArchs() map[string][]uint16 {
	return map[string][]uint16{
		"bios": {0}, "ia32": {6}, "x64": {7, 9}, "arm64": {11},
		"ia32-http": {15}, "x64-http": {16, 17}, "arm64-http": {19},
	}
}

// BootRules are Chain and Machine, parsed.
func (c *Config) BootRules() ([]BootRule, error) {
	var list []BootRule
	for _, text := range c.Chain {
		which, chain, ok := strings.Cut(text, "=")
		if !ok {
			which, chain = "all", text
		}
		rule, err := bootRule(which)
		if err != nil || !slices.Contains(chains, chain) {
			return nil, fmt.Errorf("chain %q: want %s, or WHICH=%s and so on, where WHICH is %s", text, strings.Join(chains, ", "), chains[0], whichWords)
		}
		rule.Set = []string{"chain=" + chain}
		list = append(list, rule)
	}
	for _, text := range c.Machine {
		words := strings.Fields(text)
		if len(words) < 2 {
			return nil, fmt.Errorf("machine %q: want WHICH and words of the form name=value, as in '52:54:00:12:34:56 chain=grub ask=yes'", text)
		}
		rule, err := bootRule(words[0])
		if err != nil {
			return nil, fmt.Errorf("machine %q: %w", text, err)
		}
		rule.Set = words[1:]
		list = append(list, rule)
	}
	return list, nil
}

const whichWords = "a MAC, a UUID, all, or one of bios, ia32, x64, arm64, ia32-http, x64-http, arm64-http"

// bootRule reads which machines are meant.
func bootRule(which string) (BootRule, error) {
	which = strings.ToLower(which)
	mac, err := net.ParseMAC(which)
	_, known := ChainArchs()[which]
	switch {
	case which == "all":
		return BootRule{}, nil
	case known:
		return BootRule{Arch: which}, nil
	case err == nil && len(mac) == 6:
		return BootRule{MAC: mac}, nil
	case uuidText.MatchString(which):
		return BootRule{UUID: which}, nil
	}
	return BootRule{}, errors.New("want " + whichWords)
}

// checkWindows checks what concerns Windows PE.
func (c *Config) checkWindows() error {
	if _, err := c.BootRules(); err != nil {
		return err
	}
	if c.Idle != "ask" && c.Idle != "disk" {
		return fmt.Errorf("idle %q: want ask or disk", c.Idle)
	}
	if c.ChainCA != 0 && c.ChainCA != 2011 && c.ChainCA != 2023 {
		return fmt.Errorf("chain-ca %d: want 2011 or 2023", c.ChainCA)
	}
	return within(
		number("ramdisk-block-size", c.RamdiskBlockSize, 512, 65464),
		number("ramdisk-window", c.RamdiskWindow, 1, 65535),
	)
}
