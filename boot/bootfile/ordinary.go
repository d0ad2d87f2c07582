package bootfile

import (
	"strings"

	"castpoint/boot"
)

// Ordinary tells whether a boot that goes well asks for this name although
// nothing needs it, so that its absence is not worth a warning. name is cleaned.
//
// The names are those that signed Windows boot managers asked for, by TFTP and by
// UEFI HTTP boot, got no answer to, and went on (docs/tftp.md has the order), and
// autoexec.ipxe, which newer iPXE looks for beside itself. The TFTP server has
// the same list.
func Ordinary(name string) bool {
	p := strings.ToLower(name)
	switch {
	case p == "bcd": // asked before Boot/BCD or the store of DHCP option 252
		return true
	case p == "efi/microsoft/recovery/bcd": // HTTP boot asks before EFI/Microsoft/Boot/BCD
		return true
	case strings.HasSuffix(p, ".mui"): // texts of the boot manager's menus
		return true
	case p == boot.NothingToDo:
		return true
	case p == "autoexec.ipxe" || strings.HasSuffix(p, "/autoexec.ipxe"):
		return true
	case strings.HasPrefix(p, "efi/microsoft/boot/"): // code integrity policies
		return strings.HasSuffix(p, ".p7b") || strings.HasSuffix(p, ".pol")
	}
	return grubOrdinary(p)
}

// RollbackPolicy tells the one policy whose absence matters to some: a device
// that took the mitigation of KB5042562 compares it with its firmware, and
// without it goes on to the next boot option in silence.
func RollbackPolicy(name string) bool {
	return strings.HasSuffix(strings.ToLower(name), "skusipolicy.p7b")
}
