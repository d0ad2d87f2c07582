package external

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"castpoint/boot"
)

// over6 says whether firmware of that kind boots over IPv6.
func over6(a boot.Arch) bool {
	return a != boot.ArchBIOS && a != boot.ArchBIOSHTTP && a != boot.ArchRaspberryPi
}

// vendorClass6 is the value of option 16 that EDK2's HTTP boot insists on, in
// hexadecimal: Intel's enterprise number, the length and the text (RFC 8415 section
// 21.16). PXE gets none: with it, it would look for a boot server besides.
func vendorClass6() string {
	return hex.EncodeToString(append([]byte{0, 0, 1, 87, 0, byte(len(classHTTP))}, classHTTP...))
}

func keaSettings6(settings []Setting) (string, error) {
	type option struct {
		Code       int    `json:"code"`
		Data       string `json:"data"`
		CSV        *bool  `json:"csv-format,omitempty"`
		AlwaysSend bool   `json:"always-send"`
	}
	type class struct {
		Name    string   `json:"name"`
		Test    string   `json:"test"`
		Options []option `json:"option-data"`
	}
	classes, no := []class{}, false
	for _, s := range settings {
		if s.Missing != "" {
			continue
		}
		// The user class begins with two bytes of length.
		const ipxe = "substring(option[15].hex, 2, 4) == 'iPXE'"
		test := fmt.Sprintf("option[61].hex == 0x%04X and not (%s)", uint16(s.Arch), ipxe)
		if s.IPXE {
			test = fmt.Sprintf("option[61].hex == 0x%04X and %s", uint16(s.Arch), ipxe)
		}
		c := class{"castpoint-" + s.Name, test, []option{{Code: 59, Data: s.File, AlwaysSend: true}}}
		if s.HTTP {
			c.Options = append(c.Options, option{Code: 16, Data: vendorClass6(), CSV: &no, AlwaysSend: true})
		}
		classes = append(classes, c)
	}
	b, err := json.MarshalIndent(map[string]any{"Dhcp6": map[string]any{"client-classes": classes}}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write settings for %s: %w", ProductKea, err)
	}
	return "// Merge into Dhcp6 of kea-dhcp6.conf.\n" + missing(settings, "// ") + string(b) + "\n", nil
}

func dnsmasqSettings6(settings []Setting) (string, error) {
	var b strings.Builder
	b.WriteString("# For dnsmasq.conf, beside your IPv6 dhcp-range.\ndhcp-userclass=set:ipxe,iPXE\n")
	b.WriteString(missing(settings, "# "))
	for _, s := range settings {
		if s.Missing != "" {
			continue
		}
		tag := strings.TrimSuffix(s.Name, "-ipxe") + "-v6"
		if s.IPXE {
			fmt.Fprintf(&b, "dhcp-option=tag:ipxe,tag:%s,option6:59,%s\n", tag, s.File)
			continue
		}
		fmt.Fprintf(&b, "dhcp-match=set:%s,option6:61,00:%02x\n", tag, uint16(s.Arch))
		fmt.Fprintf(&b, "dhcp-option=tag:!ipxe,tag:%s,option6:59,%s\n", tag, s.File)
		if s.HTTP {
			// dnsmasq writes each text of this option behind two bytes of length:
			// the first stands where the enterprise number does, which EDK2 does
			// not look at.
			fmt.Fprintf(&b, "dhcp-option-force=tag:%s,option6:16,cp,%s\n", tag, classHTTP)
		}
	}
	return b.String(), nil
}

// windowsSettings6 can tell iPXE from firmware and no firmware from another:
// Windows Server has policies for IPv4 only.
func windowsSettings6(settings []Setting) (string, error) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var b strings.Builder
	b.WriteString("# PowerShell on the DHCP server, as administrator. Windows Server has no policies for IPv6:\n" +
		"# every machine gets what UEFI x64 gets, and iPXE its script.\n")
	b.WriteString(missing(settings, "# "))
	b.WriteString("Add-DhcpServerv6OptionDefinition -OptionId 59 -Name 'Boot file URL' -Type String -ErrorAction SilentlyContinue\n")
	b.WriteString("Add-DhcpServerv6Class -Name 'castpoint iPXE' -Type User -Data 'iPXE' -ErrorAction SilentlyContinue\n")
	for _, s := range settings {
		switch {
		case s.Missing != "":
		case s.Arch != boot.ArchEFIX64:
			if !s.IPXE {
				fmt.Fprintf(&b, "# %s cannot be told apart; it would get %s\n", s.Name, s.File)
			}
		case s.IPXE:
			fmt.Fprintf(&b, "Set-DhcpServerv6OptionValue -UserClass 'castpoint iPXE' -OptionId 59 -Value %s\n", quote(s.File))
		default:
			fmt.Fprintf(&b, "Set-DhcpServerv6OptionValue -OptionId 59 -Value %s\n", quote(s.File))
		}
	}
	return b.String(), nil
}
