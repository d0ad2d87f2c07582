package boot

import (
	"maps"
	"strconv"
	"strings"
)

// Firmware says which family one value of option 93 belongs to and which first
// stages fit it.
type Firmware struct {
	// Machine is the family; it decides which boot images fit.
	Machine Machine
	// Loaders are names below the loader folders, best first. The first that
	// exists is handed out.
	Loaders []string
	// HTTP is true when the value is sent by firmware that boots by HTTP: it
	// gets a URL instead of a TFTP path.
	HTTP bool
	// Package is the package that brings the loaders, for error messages; ""
	// when no distribution has one.
	Package string
}

// DefaultFirmware is the table of option 93 values castpoint knows. The caller
// owns the returned map and may change it before giving it to [policy.New].
//
// snponly.efi comes before ipxe.efi: it drives the card through the firmware's
// own driver, while iPXE's native drivers leave some recent Intel cards
// unusable for the system that is booted next.
func DefaultFirmware() map[Arch]Firmware {
	const debian = "ipxe"
	bios := Firmware{Machine: MachineBIOS, Loaders: []string{"undionly.kpxe", "undionly.kkpxe"}, Package: debian}
	x64 := Firmware{Machine: MachineEFIX64, Loaders: []string{"snponly.efi", "ipxe.efi"}, Package: debian}
	ia32 := Firmware{Machine: MachineEFIIA32, Loaders: []string{
		"snponly-ia32.efi", "ipxe-ia32.efi", "ia32/snponly.efi", "ia32/ipxe.efi",
		"snponly-i386.efi", "ipxe-i386.efi", "i386/snponly.efi", "i386/ipxe.efi",
	}}
	arm64 := Firmware{Machine: MachineARM64, Loaders: []string{
		"arm64/snponly.efi", "snponly-arm64.efi", "arm64/ipxe.efi", "ipxe-arm64.efi",
	}, Package: debian}
	arm32 := Firmware{Machine: MachineARM32, Loaders: []string{
		"arm32/snponly.efi", "snponly-arm32.efi", "arm32/ipxe.efi", "ipxe-arm32.efi",
	}}
	http := func(f Firmware) Firmware { f.HTTP = true; return f }
	return map[Arch]Firmware{
		ArchBIOS:    bios,
		ArchEFIIA32: ia32,
		ArchEFIX64:  x64,
		// RFC 4578 calls 9 "EFI x86-64" and 7 "EFI BC"; firmware is divided over
		// which of the two it sends, and both mean UEFI x64.
		ArchEFIBC:        x64,
		ArchEFIARM32:     arm32,
		ArchEFIARM64:     arm64,
		ArchEFIIA32HTTP:  http(ia32),
		ArchEFIX64HTTP:   http(x64),
		ArchEFIBCHTTP:    http(x64),
		ArchEFIARM32HTTP: http(arm32),
		ArchEFIARM64HTTP: http(arm64),
		ArchBIOSHTTP:     http(bios),
	}
}

// MergeFirmware is the default table with the entries of override in place of
// its own.
func MergeFirmware(override map[Arch]Firmware) map[Arch]Firmware {
	table := DefaultFirmware()
	maps.Copy(table, override)
	return table
}

// FirmwareArch is the client's option 93, or what its vendor class says when it
// did not send the option: "PXEClient:Arch:00007:UNDI:003016" (PXE 2.1 section
// 2.2.1). Firmware that sends neither is BIOS: the option is older than UEFI
// PXE, and only old BIOS ROMs lack it.
func FirmwareArch(c Client) Arch {
	if c.HasArch {
		return c.Arch
	}
	if _, rest, ok := strings.Cut(c.VendorClass, ":Arch:"); ok {
		digits, _, _ := strings.Cut(rest, ":")
		if n, err := strconv.ParseUint(digits, 10, 16); err == nil {
			return Arch(n)
		}
	}
	return ArchBIOS
}
