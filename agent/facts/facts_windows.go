package facts

import (
	"encoding/binary"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
)

var (
	kernel32          = windows.NewLazySystemDLL("kernel32.dll")
	procMemoryStatus  = kernel32.NewProc("GlobalMemoryStatusEx")
	procFirmwareType  = kernel32.NewProc("GetFirmwareType")
	procFirmwareTable = kernel32.NewProc("GetSystemFirmwareTable")
	procSystemPower   = kernel32.NewProc("GetSystemPowerStatus")
)

// Where Windows keeps what the firmware says, and the signature of SMBIOS tables.
const (
	secureBootKey = `SYSTEM\CurrentControlSet\Control\SecureBoot\State`
	firmwareKey   = `HARDWARE\DESCRIPTION\System\BIOS`
	processorKey  = `HARDWARE\DESCRIPTION\System\CentralProcessor\0`
	rawSMBIOS     = 'R'<<24 | 'S'<<16 | 'M'<<8 | 'B'
)

// Read finds out what this machine is. What cannot be read is left out.
func Read() sequence.Facts {
	f := sequence.Facts{Architecture: runtime.GOARCH, Threads: runtime.NumCPU(), Cores: runtime.NumCPU(), Firmware: Firmware()}
	texts := func(path string, names map[string]*string) {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
		if err != nil {
			return
		}
		defer k.Close()
		for name, to := range names {
			if v, _, err := k.GetStringValue(name); err == nil {
				*to = strings.TrimSpace(v)
			}
		}
	}
	texts(firmwareKey, map[string]*string{
		"SystemManufacturer": &f.Manufacturer, "SystemProductName": &f.Model, "SystemVersion": &f.Version, "SystemFamily": &f.Family,
		"SystemSKU": &f.SKU, "BaseBoardProduct": &f.Board, "BIOSVendor": &f.FirmwareVendor, "BIOSVersion": &f.FirmwareVersion, "BIOSReleaseDate": &f.FirmwareDate,
	})
	texts(processorKey, map[string]*string{"ProcessorNameString": &f.CPU})
	number := func(path, name string) uint64 {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
		if err != nil {
			return 0
		}
		defer k.Close()
		v, _, err := k.GetIntegerValue(name)
		if err != nil {
			return 0
		}
		return v
	}
	f.MHz = int(number(processorKey, "~MHz"))
	f.SecureBoot = number(secureBootKey, "UEFISecureBootEnabled") == 1
	f.Memory = memory()
	smbiosFacts(&f)
	f.Virtual = isVirtual(&f)
	f.Battery, f.OnBattery = battery()
	if disks, err := disk.List(); err == nil {
		f.Disks = diskFacts(disks)
	}
	f.NICs = nicFacts()
	return f
}

// Firmware is uefi or bios.
func Firmware() string {
	var kind uint32 // FirmwareTypeBios 1, FirmwareTypeUefi 2
	if procFirmwareType.Find() != nil {
		return sequence.FirmwareBIOS
	}
	if ok, _, _ := procFirmwareType.Call(uintptr(unsafe.Pointer(&kind))); ok != 0 && kind == 2 {
		return sequence.FirmwareUEFI
	}
	return sequence.FirmwareBIOS
}

// memory is the memory in MiB.
func memory() int {
	var b [64]byte // MEMORYSTATUSEX: length (4), load (4), total (8), ...
	binary.LittleEndian.PutUint32(b[:], 64)
	if ok, _, _ := procMemoryStatus.Call(uintptr(unsafe.Pointer(&b[0]))); ok == 0 {
		return 0
	}
	return int(binary.LittleEndian.Uint64(b[8:]) >> 20)
}

func battery() (has, feeds bool) {
	var b [12]byte // SYSTEM_POWER_STATUS: line (1: mains), flags (128: no battery)
	if ok, _, _ := procSystemPower.Call(uintptr(unsafe.Pointer(&b[0]))); ok == 0 || b[1]&128 != 0 || b[1] == 255 {
		return false, false
	}
	return true, b[0] == 0
}

// smbiosFacts reads what the registry does not have out of the SMBIOS tables.
func smbiosFacts(f *sequence.Facts) {
	n, _, _ := procFirmwareTable.Call(uintptr(rawSMBIOS), 0, 0, 0)
	if n == 0 || n > 1<<20 {
		return
	}
	b := make([]byte, n)
	if got, _, _ := procFirmwareTable.Call(uintptr(rawSMBIOS), 0, uintptr(unsafe.Pointer(&b[0])), n); got != n || n < 8 {
		return
	}
	// RawSMBIOSData: a header of 8 bytes, then the structures.
	readSMBIOS(f, b[8:])
}

// InWindowsPE says whether this is Windows PE, which has a key that no other
// Windows has.
func InWindowsPE() bool {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\CurrentControlSet\Control\MiniNT`, registry.QUERY_VALUE)
	if err == nil {
		k.Close()
	}
	return err == nil
}
