package facts

import (
	"net"
	"strings"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
)

// chassisName puts SMBIOS chassis types (SMBIOS 3.7 section 7.4.1) into the four
// kinds that conditions ask for.
func chassisName(kind int) string {
	switch kind {
	case 8, 9, 10, 11, 14, 30, 31, 32:
		return "notebook"
	case 3, 4, 5, 6, 7, 13, 15, 16, 24, 35, 36:
		return "desktop"
	case 17, 23, 25, 28, 29:
		return "server"
	case 0:
		return ""
	}
	return "other"
}

// isVirtual tells virtual machines by what hypervisors call themselves in SMBIOS.
func isVirtual(f *sequence.Facts) bool {
	text := strings.ToLower(f.Manufacturer + " " + f.Model + " " + f.FirmwareVendor)
	for _, name := range []string{"qemu", "kvm", "vmware", "virtualbox", "xen", "bochs", "parallels", "bhyve", "standard pc"} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return strings.HasPrefix(f.Manufacturer, "Microsoft") && f.Model == "Virtual Machine"
}

// diskFacts are the disks as conditions see them.
func diskFacts(disks []disk.Disk) (list []sequence.DiskFacts) {
	for i, d := range disk.Fixed(disks) {
		list = append(list, sequence.DiskFacts{Number: i, Path: d.Path, Model: d.Model, Serial: d.Serial, Bus: d.Bus,
			Size: int(d.Size), Rotates: d.Rotates, Removable: d.Removable})
	}
	return list
}

// nicFacts are the network cards with what Go knows of them.
func nicFacts() (list []sequence.NICFacts) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range all {
		if len(i.HardwareAddr) != 6 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		n := sequence.NICFacts{Name: i.Name, MAC: i.HardwareAddr.String(), Link: i.Flags&net.FlagRunning != 0}
		addresses, err := i.Addrs()
		if err != nil {
			addresses = nil
		}
		for _, a := range addresses {
			n.Addresses = append(n.Addresses, a.String())
		}
		list = append(list, n)
	}
	return list
}
