package collection

import (
	"castpoint/boot"
	"castpoint/deploy"
	"castpoint/deploy/sequence"
)

// Machine is who asks: a device on record, or one of which little is known.
type Machine struct {
	Device *deploy.Device // nil: not on record
	// Facts are newer than the record's inventory; nil without any.
	Facts        *sequence.Facts
	Architecture string // amd64, arm64; "" when it is not known
	Firmware     string // uefi, bios; "" when it is not known
}

func (m *Machine) facts() *sequence.Facts {
	if m.Facts == nil && m.Device != nil && m.Device.Inventory != nil {
		return &m.Device.Inventory.Facts
	}
	return m.Facts
}

// Hardware is architecture and firmware: what the agent has seen goes before what
// firmware has said.
func (m *Machine) Hardware() (arch, firmware string) {
	arch, firmware = m.Architecture, m.Firmware
	if f := m.facts(); f != nil {
		if f.Architecture != "" {
			arch = f.Architecture
		}
		if f.Firmware != "" {
			firmware = f.Firmware
		}
	}
	return arch, firmware
}

// ArchOf are processor and firmware of the machines of an architecture of option 93,
// in the words of facts; "" for what is not known.
func ArchOf(a boot.Arch) (arch, firmware string) {
	switch a {
	case boot.ArchBIOS, boot.ArchBIOSHTTP:
		return "amd64", sequence.FirmwareBIOS // or older: the boot environment does not start there
	case boot.ArchEFIX64, boot.ArchEFIBC, boot.ArchEFIX64HTTP, boot.ArchEFIBCHTTP:
		return "amd64", sequence.FirmwareUEFI
	case boot.ArchEFIARM64, boot.ArchEFIARM64HTTP:
		return "arm64", sequence.FirmwareUEFI
	}
	return "", ""
}
