package external

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"

	"castpoint/boot"
	"castpoint/dhcp/dhcp6"
)

// Setting is what another DHCP server has to answer one kind of firmware.
type Setting struct {
	Name       string // short name for classes and tags: "efi-x64", "efi-x64-ipxe"
	Arch       boot.Arch
	IPXE       bool // for iPXE running on that firmware
	HTTP       bool // UEFI HTTP boot: option 60, or 16 over IPv6, must be HTTPClient
	IPv6       bool
	File       string     // a URL over IPv6
	NextServer netip.Addr // IPv4 only
	// Missing says why castpoint has nothing for it; the other fields but Name
	// and Arch are empty then.
	Missing string
}

// settingNames are the architectures that settings are made for, in order.
func settingNames() []struct {
	arch boot.Arch
	name string
} {
	return []struct {
		arch boot.Arch
		name string
	}{
		{boot.ArchBIOS, "bios"},
		{boot.ArchEFIIA32, "efi-ia32"},
		{boot.ArchEFIX64, "efi-x64"},
		{boot.ArchEFIBC, "efi-bc"},
		{boot.ArchEFIARM32, "efi-arm32"},
		{boot.ArchEFIARM64, "efi-arm64"},
		{boot.ArchEFIIA32HTTP, "http-ia32"},
		{boot.ArchEFIX64HTTP, "http-x64"},
		{boot.ArchEFIBCHTTP, "http-bc"},
		{boot.ArchEFIARM32HTTP, "http-arm32"},
		{boot.ArchEFIARM64HTTP, "http-arm64"},
		{boot.ArchBIOSHTTP, "http-bios"},
		{boot.ArchRaspberryPi, "raspberry-pi"},
	}
}

// Settings asks the planner what each kind of firmware gets from castpoint at
// server: over IPv6 when the address is of IPv6. What the planner answers for one
// machine only, its MAC in an iPXE script's URL, becomes an iPXE variable.
func Settings(planner boot.Planner, server netip.Addr) []Setting {
	// A documentation address (RFC 7042 section 2.1.2): no machine has it.
	sample := net.HardwareAddr{0x00, 0x00, 0x5e, 0x00, 0x53, 0xca}
	var all []Setting
	for _, row := range settingNames() {
		http := strings.HasPrefix(row.name, "http-")
		if server.Is6() && !over6(row.arch) {
			continue
		}
		for _, ipxe := range []bool{false, true} {
			if ipxe && (http || row.arch == boot.ArchRaspberryPi) {
				continue // iPXE says the architecture of its PXE kind
			}
			c := boot.Client{
				MAC: sample, Arch: row.arch, HasArch: true, PXE: !http, HTTPBoot: http, IPXE: ipxe, Server: server,
				VendorClass: fmt.Sprintf("%s:Arch:%05d:UNDI:003000", className(http), row.arch),
			}
			s := Setting{Name: row.name, Arch: row.arch, IPXE: ipxe, HTTP: http, IPv6: server.Is6()}
			if ipxe {
				s.Name += "-ipxe"
				c.UserClass = "iPXE"
			}
			plan := planner.Plan(c)
			if !plan.Serve || plan.File == "" {
				s.Missing = plan.Reason
				all = append(all, s)
				continue
			}
			if s.IPv6 {
				plan.File = dhcp6.BootURL(plan, server)
			}
			s.File = strings.NewReplacer(c.MACHyphen(), "${mac:hexhyp}", sample.String(), "${mac}").Replace(plan.File)
			if s.IPv6 {
				all = append(all, s)
				continue
			}
			if s.NextServer = plan.NextServer; !s.NextServer.IsValid() {
				s.NextServer = server
			}
			all = append(all, s)
		}
	}
	return all
}

// Vendor classes (option 60, 16 over IPv6) of firmware that boots from the network.
const (
	classPXE  = "PXEClient"
	classHTTP = "HTTPClient"
)

func className(http bool) string {
	if http {
		return classHTTP
	}
	return classPXE
}

// Products that settings can be written for.
const (
	ProductKea     = "kea"     // ISC Kea: a JSON object with client classes for Dhcp4 or Dhcp6
	ProductDnsmasq = "dnsmasq" // lines for dnsmasq.conf
	ProductWindows = "windows" // PowerShell for Windows Server's DHCP
)

// Write writes settings in the language of a product.
func Write(w io.Writer, product string, settings []Setting) error {
	write := map[string][2]func([]Setting) (string, error){
		ProductKea: {keaSettings, keaSettings6}, ProductDnsmasq: {dnsmasqSettings, dnsmasqSettings6}, ProductWindows: {windowsSettings, windowsSettings6},
	}[product]
	if write[0] == nil {
		return fmt.Errorf("no settings for %q: known are %s, %s, %s", product, ProductKea, ProductDnsmasq, ProductWindows)
	}
	family := 0
	if len(settings) > 0 && settings[0].IPv6 {
		family = 1
	}
	text, err := write[family](settings)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write settings for %s: %w", product, err)
	}
	return nil
}

// missing lists, as comments, the firmware castpoint has nothing for.
func missing(settings []Setting, comment string) string {
	var b strings.Builder
	for _, s := range settings {
		if s.Missing != "" {
			fmt.Fprintf(&b, "%s%s: not served. %s\n", comment, s.Name, s.Missing)
		}
	}
	return b.String()
}

func keaSettings(settings []Setting) (string, error) {
	type option struct {
		Name       string `json:"name"`
		Data       string `json:"data"`
		AlwaysSend bool   `json:"always-send,omitempty"`
	}
	type class struct {
		Name       string   `json:"name"`
		Test       string   `json:"test"`
		NextServer string   `json:"next-server"`
		File       string   `json:"boot-file-name"`
		Options    []option `json:"option-data"`
	}
	classes := []class{}
	for _, s := range settings {
		if s.Missing != "" {
			continue
		}
		test := fmt.Sprintf("option[93].hex == 0x%04X and not (option[77].hex == 'iPXE' or option[175].exists)", uint16(s.Arch))
		if s.IPXE {
			test = fmt.Sprintf("option[93].hex == 0x%04X and (option[77].hex == 'iPXE' or option[175].exists)", uint16(s.Arch))
		}
		c := class{"castpoint-" + s.Name, test, s.NextServer.String(), s.File, []option{
			{Name: "boot-file-name", Data: s.File},
			{Name: "tftp-server-name", Data: s.NextServer.String()},
		}}
		if s.HTTP {
			c.Options = append(c.Options, option{Name: "vendor-class-identifier", Data: classHTTP, AlwaysSend: true})
		}
		classes = append(classes, c)
	}
	b, err := json.MarshalIndent(map[string]any{"Dhcp4": map[string]any{"client-classes": classes}}, "", "  ")
	if err != nil {
		return "", fmt.Errorf("write settings for %s: %w", ProductKea, err)
	}
	return "// Merge into Dhcp4 of kea-dhcp4.conf.\n" + missing(settings, "// ") + string(b) + "\n", nil
}

func dnsmasqSettings(settings []Setting) (string, error) {
	var b strings.Builder
	b.WriteString("# For dnsmasq.conf, beside your dhcp-range.\n")
	b.WriteString("# The file name has to stay in the header: a Windows boot manager reads it there alone.\ndhcp-no-override\n")
	b.WriteString("dhcp-match=set:ipxe,175\ndhcp-userclass=set:ipxe,iPXE\n")
	b.WriteString(missing(settings, "# "))
	for _, s := range settings {
		if s.Missing != "" {
			continue
		}
		tag := strings.TrimSuffix(s.Name, "-ipxe")
		if s.IPXE {
			fmt.Fprintf(&b, "dhcp-boot=tag:ipxe,tag:%s,%s,,%s\n", tag, s.File, s.NextServer)
			continue
		}
		fmt.Fprintf(&b, "dhcp-match=set:%s,option:client-arch,%d\n", tag, s.Arch)
		fmt.Fprintf(&b, "dhcp-boot=tag:!ipxe,tag:%s,%s,,%s\n", tag, s.File, s.NextServer)
		if s.HTTP {
			fmt.Fprintf(&b, "dhcp-option-force=tag:%s,60,%s\n", tag, classHTTP)
		}
	}
	return b.String(), nil
}

func windowsSettings(settings []Setting) (string, error) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	var b strings.Builder
	b.WriteString("# PowerShell on the DHCP server, as administrator. Policies apply in order: iPXE comes first.\n")
	b.WriteString(missing(settings, "# "))
	b.WriteString("Add-DhcpServerv4Class -Name 'castpoint iPXE' -Type User -Data 'iPXE'\n")
	b.WriteString("Add-DhcpServerv4OptionDefinition -OptionId 60 -Name 'Vendor class identifier' -Type String -ErrorAction SilentlyContinue\n")
	for _, ipxe := range []bool{true, false} {
		for _, s := range settings {
			if s.Missing != "" || s.IPXE != ipxe {
				continue
			}
			name := quote("castpoint " + s.Name)
			class := quote("castpoint class " + strings.TrimSuffix(s.Name, "-ipxe"))
			condition := "-Condition OR -VendorClass EQ," + strings.TrimSuffix(class, "'") + "*'"
			if ipxe {
				condition = strings.Replace(condition, "OR", "AND", 1) + " -UserClass EQ,'castpoint iPXE'"
			}
			fmt.Fprintf(&b, "Add-DhcpServerv4Class -Name %s -Type Vendor -Data %s -ErrorAction SilentlyContinue\n",
				class, quote(fmt.Sprintf("%s:Arch:%05d", className(s.HTTP), s.Arch)))
			fmt.Fprintf(&b, "Add-DhcpServerv4Policy -Name %s %s\n", name, condition)
			fmt.Fprintf(&b, "Set-DhcpServerv4OptionValue -PolicyName %s -OptionId 66 -Value %s\n", name, quote(s.NextServer.String()))
			fmt.Fprintf(&b, "Set-DhcpServerv4OptionValue -PolicyName %s -OptionId 67 -Value %s\n", name, quote(s.File))
			if s.HTTP {
				fmt.Fprintf(&b, "Set-DhcpServerv4OptionValue -PolicyName %s -OptionId 60 -Value %s\n", name, quote(classHTTP))
			}
		}
	}
	return b.String(), nil
}
