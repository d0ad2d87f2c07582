package dhcp4

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"castpoint/boot"
)

// Style is a way to tell firmware what to boot when somebody else gives it its
// address.
type Style string

// The styles of ProxyDHCP.
const (
	// StyleComplete puts everything into the offer; option 43 tells the client
	// to load the file without looking for a boot server.
	StyleComplete Style = "complete"
	// StyleRedirect sends no option 43: the client comes back on port 4011 for
	// the same data.
	StyleRedirect Style = "redirect"
	// StyleMenu sends a boot menu of two network entries, the first taken at
	// once; the client asks for it on port 4011.
	StyleMenu Style = "menu"
	// StyleRaspberryPi is StyleComplete with the menu text that the Raspberry
	// Pi's boot ROM looks for.
	StyleRaspberryPi Style = "raspberry-pi"
)

// Validate says whether it is one of the styles.
func (s Style) Validate() error {
	switch s {
	case StyleComplete, StyleRedirect, StyleMenu, StyleRaspberryPi:
		return nil
	}
	return fmt.Errorf("style %q is not one of %s, %s, %s, %s", s, StyleComplete, StyleRedirect, StyleMenu, StyleRaspberryPi)
}

// Quirk is what is known about one kind of firmware. A row matches when every
// field that is set matches.
type Quirk struct {
	Name string // names the row in events and settings

	// What it matches.
	Archs       []boot.Arch // option 93
	VendorClass string      // beginning of option 60
	MACs        []string    // beginnings of the MAC, as in "b8:27:eb"; a whole MAC names one device

	// What follows.
	Style    Style
	As       *boot.Arch // the architecture it is, when option 93 says another; nil keeps option 93
	Evidence string     // the report or measurement behind the row
}

func (q Quirk) matches(c boot.Client) bool {
	if len(q.Archs) > 0 && (!c.HasArch || !slices.Contains(q.Archs, c.Arch)) {
		return false
	}
	if !strings.HasPrefix(c.VendorClass, q.VendorClass) {
		return false
	}
	return len(q.MACs) == 0 || slices.ContainsFunc(q.MACs, func(prefix string) bool { return HasMACPrefix(c.MAC, prefix) })
}

// HasMACPrefix says whether a MAC begins with a prefix as settings have it: in
// either case, with colons or hyphens.
func HasMACPrefix(mac net.HardwareAddr, prefix string) bool {
	return len(mac) > 0 && strings.HasPrefix(mac.String(), strings.ToLower(strings.ReplaceAll(prefix, "-", ":")))
}

// QuirkOf is the first row that matches the client.
func QuirkOf(rows []Quirk, c boot.Client) Quirk {
	for _, q := range rows {
		if q.matches(c) {
			return q
		}
	}
	return Quirk{Name: "default", Style: StyleComplete}
}

// Quirks is the table that comes with castpoint; a site's own rows go in front
// of it. docs/quirks.md tells the stories.
func Quirks() []Quirk {
	raspberryPi := boot.ArchRaspberryPi
	return []Quirk{
		{
			Name: "raspberry-pi",
			MACs: []string{
				"b8:27:eb", "dc:a6:32", "e4:5f:01", "28:cd:c1", "d8:3a:dd", "2c:cf:67", "88:a2:9e",
			},
			VendorClass: "PXEClient:Arch:00000:UNDI:002001",
			Style:       StyleRaspberryPi,
			As:          &raspberryPi,
			Evidence:    "the boot ROM says architecture 0 (x86 BIOS) and takes no answer without the text \"Raspberry Pi Boot\" in option 43: raspberrypi/rpi-eeprom#103, tinkerbell/smee",
		},
		{
			Name:        "http-boot",
			VendorClass: vendorHTTP,
			Style:       StyleComplete,
			Evidence:    "one offer with a URL and option 60 HTTPClient, never a boot server: xcat2/xcat-core#7743",
		},
		{
			Name:     "bios",
			Archs:    []boot.Arch{boot.ArchBIOS},
			Style:    StyleComplete,
			Evidence: "PXE 2.1 ROMs follow discovery control 8: Pixiecore, README.booting.md",
		},
		{
			Name:     "uefi",
			Archs:    []boot.Arch{boot.ArchEFIIA32, boot.ArchEFIX64, boot.ArchEFIBC, boot.ArchEFIARM32, boot.ArchEFIARM64},
			Style:    StyleComplete,
			Evidence: "EDK2 loads the file of a proxy offer with discovery control 8 without port 4011 (measured with OVMF; tianocore/edk2#8149); without option 43 some firmware stops after its address",
		},
	}
}
