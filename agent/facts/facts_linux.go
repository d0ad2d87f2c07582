package facts

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
)

// Read finds out what this machine is. What cannot be read is left out.
func Read() sequence.Facts {
	f := linuxFacts("/sys", "/proc")
	if disks, err := disk.List(); err == nil {
		f.Disks = diskFacts(disks)
	}
	f.NICs = nicFacts()
	for i := range f.NICs {
		linuxNIC(&f.NICs[i], "/sys")
	}
	return f
}

func linuxFacts(sys, proc string) sequence.Facts {
	read := func(path ...string) string {
		b, err := os.ReadFile(filepath.Join(path...))
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	dmi := func(name string) string { return read(sys, "class/dmi/id", name) }
	f := sequence.Facts{
		Manufacturer: dmi("sys_vendor"), Model: dmi("product_name"), Version: dmi("product_version"), Family: dmi("product_family"),
		SKU: dmi("product_sku"), Serial: dmi("product_serial"), AssetTag: dmi("chassis_asset_tag"), UUID: strings.ToLower(dmi("product_uuid")),
		Board: dmi("board_name"), FirmwareVendor: dmi("bios_vendor"), FirmwareVersion: dmi("bios_version"), FirmwareDate: dmi("bios_date"),
		Architecture: runtime.GOARCH, Threads: runtime.NumCPU(), Firmware: sequence.FirmwareBIOS,
	}
	if kind, err := strconv.Atoi(dmi("chassis_type")); err == nil {
		f.Chassis = chassisName(kind)
	}
	f.Virtual = isVirtual(&f)
	if _, err := os.Stat(filepath.Join(sys, "firmware/efi")); err == nil {
		f.Firmware = sequence.FirmwareUEFI
	}
	// The variable's attributes take four bytes before its value.
	if b, err := os.ReadFile(filepath.Join(sys, "firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c")); err == nil {
		f.SecureBoot = len(b) == 5 && b[4] == 1
	}
	if major := read(sys, "class/tpm/tpm0/tpm_version_major"); major != "" {
		f.TPM = major + ".0"
		if major == "1" {
			f.TPM = "1.2"
		}
	}
	power(&f, filepath.Join(sys, "class/power_supply"), read)
	linuxCPU(&f, proc)
	if table, err := os.ReadFile(filepath.Join(sys, "firmware/dmi/tables/DMI")); err == nil {
		f.Memory = max(f.Memory, builtIn(table))
	}
	return f
}

// power looks for a battery, and whether it feeds the machine.
func power(f *sequence.Facts, dir string, read func(...string) string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	mains, connected := false, false
	for _, e := range entries {
		switch read(dir, e.Name(), "type") {
		case "Battery":
			if read(dir, e.Name(), "scope") != "Device" { // not that of a mouse
				f.Battery = true
			}
		case "Mains", "USB":
			mains = true
			connected = connected || read(dir, e.Name(), "online") == "1"
		}
	}
	f.OnBattery = f.Battery && mains && !connected
}

// linuxCPU reads processor and memory.
func linuxCPU(f *sequence.Facts, proc string) {
	cores := make(map[string]bool)
	socket := ""
	each(filepath.Join(proc, "cpuinfo"), func(name, value string) {
		switch name {
		case "model name":
			f.CPU = value
		case "physical id":
			socket = value
		case "core id":
			cores[socket+"/"+value] = true
		case "cpu MHz":
			if mhz, err := strconv.ParseFloat(value, 64); err == nil && int(mhz) > f.MHz {
				f.MHz = int(mhz)
			}
		}
	})
	if f.Cores = len(cores); f.Cores == 0 {
		f.Cores = f.Threads
	}
	each(filepath.Join(proc, "meminfo"), func(name, value string) {
		kb, err := strconv.Atoi(strings.TrimSuffix(value, " kB"))
		if name == "MemTotal" && err == nil {
			f.Memory = kb / 1024
		}
	})
}

// each reads a file of lines "name : value".
func each(path string, f func(name, value string)) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			f(strings.TrimSpace(name), strings.TrimSpace(value))
		}
	}
}

func linuxNIC(n *sequence.NICFacts, sys string) {
	dir := filepath.Join(sys, "class/net", n.Name)
	if driver, err := os.Readlink(filepath.Join(dir, "device/driver")); err == nil {
		n.Driver = filepath.Base(driver)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "speed")); err == nil {
		if speed, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && speed > 0 {
			n.Speed = speed
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "wireless")); err == nil {
		n.Wireless = true
	}
}
