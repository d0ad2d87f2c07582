package dhcp4

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// PXE sub-options of option 43 (PXE 2.1, table 2-1).
const (
	pxeDiscoveryControl = 6
	pxeBootServers      = 8
	pxeBootMenu         = 9
	pxeMenuPrompt       = 10
	pxeBootItem         = 71
	pxeEnd              = 255
)

// Bits of PXE discovery control.
const (
	discoverNoBroadcast = 1 << 0 // do not look for boot servers by broadcast
	discoverNoMulticast = 1 << 1 // nor by multicast
	discoverBootFile    = 1 << 3 // with a boot file name in the offer: skip menu and discovery, load it
)

// LocalBoot is the type of a menu item that leaves PXE and goes on with the
// next boot device (PXE 2.1: type 0).
const LocalBoot = 0

// MenuItem is one line of a PXE boot menu.
type MenuItem struct {
	Type uint16 // LocalBoot, or a number of the site's own choice (0x8000-0xFFFE)
	Text string // 1 to 255 bytes; ASCII, firmware knows nothing else
}

// Menu is a boot menu that firmware itself shows before it loads anything. When
// the prompt's time runs out the first item is taken; F8 opens the menu. So an
// available deployment puts LocalBoot first and a required one has no menu.
type Menu struct {
	Prompt  string        // text beside the countdown, ASCII
	Timeout time.Duration // 0 to 254 s, whole seconds; 0 takes the first item at once; 255 s waits for ever
	Items   []MenuItem
}

// Validate says what keeps the menu from being sent: it has to fit option 43.
func (m *Menu) Validate() error {
	if len(m.Items) == 0 {
		return fmt.Errorf("menu %q has no items", m.Prompt)
	}
	if m.Timeout < 0 || m.Timeout > 255*time.Second {
		return fmt.Errorf("menu %q: timeout %s is not between 0 and 255 s", m.Prompt, m.Timeout)
	}
	size := 3 + 3 + len(m.Prompt)
	for _, i := range m.Items {
		if i.Text == "" {
			return fmt.Errorf("menu %q: item %#04x has no text", m.Prompt, i.Type)
		}
		size += 3 + len(i.Text) + 7
	}
	if size > 255 {
		return fmt.Errorf("menu %q: %d bytes do not fit option 43, which holds 255; shorten the texts", m.Prompt, size)
	}
	return nil
}

// bypassDiscovery is option 43 for "load the file that this offer names": the
// same bytes as in tianocore/edk2#8149, where they stop EDK2 from asking on
// port 4011.
func bypassDiscovery() []byte {
	b := appendVendor(nil, pxeDiscoveryControl, []byte{discoverBootFile})
	b = appendVendor(b, pxeMenuPrompt, append([]byte{0}, "PXE"...))
	return append(b, pxeEnd)
}

// raspberryBoot is option 43 for the Raspberry Pi's boot ROM: it takes an
// answer only when the menu holds the text "Raspberry Pi Boot".
func raspberryBoot() []byte {
	b := appendVendor(nil, pxeDiscoveryControl, []byte{discoverNoBroadcast | discoverNoMulticast})
	b = appendVendor(b, pxeBootMenu, menuItem(MenuItem{LocalBoot, "Raspberry Pi Boot"}))
	b = appendVendor(b, pxeMenuPrompt, append([]byte{0}, "PXE"...))
	return append(b, pxeEnd)
}

// menuOption is option 43 for a menu whose network items are all found at
// server.
func menuOption(m *Menu, server netip.Addr) []byte {
	var servers, items []byte
	for _, i := range m.Items {
		if i.Type != LocalBoot {
			servers = binary.BigEndian.AppendUint16(servers, i.Type)
			servers = append(servers, 1) // count of addresses
			servers = append(servers, server.AsSlice()...)
		}
		items = append(items, menuItem(i)...)
	}
	b := appendVendor(nil, pxeDiscoveryControl, []byte{discoverNoBroadcast | discoverNoMulticast})
	if len(servers) > 0 {
		b = appendVendor(b, pxeBootServers, servers)
	}
	b = appendVendor(b, pxeBootMenu, items)
	b = appendVendor(b, pxeMenuPrompt, append([]byte{byte(m.Timeout / time.Second)}, m.Prompt...))
	return append(b, pxeEnd)
}

func menuItem(i MenuItem) []byte {
	b := binary.BigEndian.AppendUint16(nil, i.Type)
	b = append(b, byte(len(i.Text)))
	return append(b, i.Text...)
}

// bootItem is the menu item a client asks a boot server for (sub-option 71:
// type and layer, 2 bytes each); nil when option 43 names none.
func bootItem(vendor []byte) []byte {
	o := make(dhcpv4.Options)
	if o.FromBytes(vendor) != nil || len(o[pxeBootItem]) != 4 {
		return nil
	}
	return o[pxeBootItem]
}

// confirmItem is option 43 of a boot server's answer: the same item again, and
// nothing more to discover.
func confirmItem(item []byte) []byte {
	return append(appendVendor(nil, pxeBootItem, item), pxeEnd)
}

func appendVendor(b []byte, code byte, value []byte) []byte {
	b = append(b, code, byte(len(value)))
	return append(b, value...)
}
