package boot

import "strconv"

// String names the architecture and gives its number, as in "UEFI x64 (7)".
func (a Arch) String() string {
	name := map[Arch]string{
		ArchBIOS:         "BIOS x86",
		ArchEFIIA32:      "UEFI IA32",
		ArchEFIX64:       "UEFI x64",
		ArchEFIBC:        "UEFI BC",
		ArchEFIARM32:     "UEFI ARM32",
		ArchEFIARM64:     "UEFI ARM64",
		ArchEFIIA32HTTP:  "UEFI IA32 HTTP",
		ArchEFIX64HTTP:   "UEFI x64 HTTP",
		ArchEFIBCHTTP:    "UEFI BC HTTP",
		ArchEFIARM32HTTP: "UEFI ARM32 HTTP",
		ArchEFIARM64HTTP: "UEFI ARM64 HTTP",
		ArchBIOSHTTP:     "BIOS x86 HTTP",
		ArchRaspberryPi:  "Raspberry Pi",
	}[a]
	if name == "" {
		name = "architecture"
	}
	return name + " (" + strconv.Itoa(int(a)) + ")"
}

// machineNames are the families as people call them.
var machineNames = map[Machine]string{
	MachineBIOS:    "BIOS x86",
	MachineEFIIA32: "UEFI IA32",
	MachineEFIX64:  "UEFI x64",
	MachineARM32:   "UEFI ARM32",
	MachineARM64:   "UEFI ARM64",
}

// Name is the family as people call it; "" for one that is not known.
func (m Machine) Name() string { return machineNames[m] }
