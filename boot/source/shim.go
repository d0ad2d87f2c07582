package source

import "castpoint/boot"

// ShimSuffix is what shim and GRUB put into the names of their files.
var ShimSuffix = map[boot.Machine]string{boot.MachineEFIX64: "x64", boot.MachineARM64: "aa64", boot.MachineEFIIA32: "ia32"}

// ShimFiles are the names that firmware and shim ask for, in a machine's folder,
// and the names of loader files they stand for, best first. Debian's packages
// shim-signed and grub-efi-*-signed have the names with .signed; GRUB must be a
// netboot image, for others have no network.
func ShimFiles(suffix string) map[string][]string {
	return map[string][]string{
		"shim" + suffix + ".efi": {"shim" + suffix + ".efi.signed", "shim" + suffix + ".efi"},
		"grub" + suffix + ".efi": {"grubnet" + suffix + ".efi.signed", "grubnet" + suffix + ".efi", "grub" + suffix + ".efi"},
		"mm" + suffix + ".efi":   {"mm" + suffix + ".efi.signed", "mm" + suffix + ".efi"}, // MOK manager
		"fb" + suffix + ".efi":   {"fb" + suffix + ".efi.signed", "fb" + suffix + ".efi"},
	}
}
