package boot

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"go.uber.org/zap/zapcore"
)

// Arch is the client system architecture of DHCP option 93 (RFC 4578 section
// 2.1, values from IANA's "Processor Architecture Types").
type Arch uint16

// Architectures that firmware is seen to send.
const (
	ArchBIOS         Arch = 0  // x86 BIOS
	ArchEFIIA32      Arch = 6  // UEFI, 32-bit x86
	ArchEFIX64       Arch = 7  // UEFI x64, what nearly all x64 firmware sends
	ArchEFIBC        Arch = 9  // UEFI byte code by name, UEFI x64 in practice (Proxmox, some Dell)
	ArchEFIARM32     Arch = 10 // UEFI, 32-bit ARM
	ArchEFIARM64     Arch = 11 // UEFI, 64-bit ARM
	ArchEFIIA32HTTP  Arch = 15 // UEFI HTTP boot, 32-bit x86
	ArchEFIX64HTTP   Arch = 16 // UEFI HTTP boot, x64
	ArchEFIBCHTTP    Arch = 17 // UEFI HTTP boot, byte code
	ArchEFIARM32HTTP Arch = 18 // UEFI HTTP boot, 32-bit ARM
	ArchEFIARM64HTTP Arch = 19 // UEFI HTTP boot, 64-bit ARM
	ArchBIOSHTTP     Arch = 20 // x86 BIOS HTTP boot
	ArchRaspberryPi  Arch = 41 // Raspberry Pi boot ROM
)

// Machine is the processor and firmware family a boot image or a loader is
// made for. Several values of Arch lead to one Machine.
type Machine string

// The families that castpoint has boot files for.
const (
	MachineUnknown Machine = ""
	MachineBIOS    Machine = "bios"      // x86 BIOS, runs x64 and x86 boot images
	MachineEFIIA32 Machine = "efi-ia32"  // 32-bit UEFI
	MachineEFIX64  Machine = "efi-x64"   // 64-bit x86 UEFI
	MachineARM32   Machine = "efi-arm32" // 32-bit ARM UEFI
	MachineARM64   Machine = "efi-arm64" // 64-bit ARM UEFI
)

// Client is what castpoint knows about a machine that asks for something to
// boot: enough to decide, nothing about how the question came.
type Client struct {
	MAC  net.HardwareAddr // hardware address of the asking interface; nil when unknown
	UUID string           // SMBIOS UUID in canonical lower-case text form; "" when not sent

	Arch    Arch // option 93; meaningful only when HasArch
	HasArch bool

	IPXE        bool   // the asker is iPXE: user class "iPXE" or option 175
	HTTPBoot    bool   // UEFI HTTP boot: vendor class starts with "HTTPClient"
	PXE         bool   // vendor class starts with "PXEClient"
	VendorClass string // option 60 as sent
	UserClass   string // option 77 as text

	Interface string     // name of the interface the question came in by
	Server    netip.Addr // castpoint's own address on that interface
	Relay     netip.Addr // giaddr; invalid when the question came directly
	Remote    netip.Addr // address the machine asks from, by TFTP or HTTP; invalid when unknown
}

// String names the client the way log lines and reasons do.
func (c Client) String() string {
	id := "unknown client"
	if len(c.MAC) > 0 {
		id = c.MAC.String()
	} else if c.UUID != "" {
		id = c.UUID
	}
	if c.IPXE {
		return id + " (iPXE)"
	}
	if c.HasArch {
		return fmt.Sprintf("%s (%s)", id, c.Arch)
	}
	return id
}

// MACHyphen is the MAC as file and path names spell it: lower case, hyphens.
func (c Client) MACHyphen() string {
	return strings.ReplaceAll(c.MAC.String(), ":", "-")
}

// MarshalLogObject names the client in the log by fields: mac, uuid, and what runs on
// it as firmware. It is used by zap.Inline.
func (c Client) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	if len(c.MAC) > 0 {
		enc.AddString("mac", c.MAC.String())
	}
	if c.UUID != "" {
		enc.AddString("uuid", c.UUID)
	}
	switch {
	case c.IPXE:
		enc.AddString("firmware", "iPXE")
	case c.HasArch:
		enc.AddString("firmware", c.Arch.String())
	}
	return nil
}
