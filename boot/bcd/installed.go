package bcd

import (
	"errors"
	"fmt"
	"time"
)

// Elements of a system on a disk that a boot from the network does not have.
const (
	elemResumeObject      ElementID = 0x23000003 // of a loader: its resume entry
	elemManagerResume     ElementID = 0x23000006 // of the boot manager: the default's resume entry
	elemToolsDisplayOrder ElementID = 0x24000010 // of the boot manager: tools in its menu
	elemFileDevice        ElementID = 0x21000001 // of a resume entry: where FilePath is
	elemFilePath          ElementID = 0x22000002 // of a resume entry: the hibernation file
)

const bootMenuStandard = 1 // graphics, with touch

// InstalledOptions say which Windows a store made by Installed starts.
type InstalledOptions struct {
	Firmware Firmware
	// System is the partition of the boot manager (the EFI system partition, or
	// the active one), Windows the one that holds \Windows.
	System, Windows Partition
	Description     string        // the line in the boot menu; "" is "Windows"
	Locale          string        // "" is en-US
	Timeout         time.Duration // of the menu, when there is one; 0 is 30 s, as bcdboot sets it
	Modified        time.Time     // the store's time stamp, see Store
}

// Installed makes the store of a Windows on a disk, with the objects that bcdboot
// makes: boot manager, loader, resume from hibernation, memory tester, and the
// settings they inherit. Errors name the option and what it may be.
func Installed(o InstalledOptions) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, fmt.Errorf("make boot configuration of an installed Windows: %w", err)
	}
	system := Device{Kind: DevicePartition, Partition: o.System}
	windows := Device{Kind: DevicePartition, Partition: o.Windows}
	files := installedFiles(o.Firmware)

	loader := Object{ID: entryID(0), Type: TypeLoader}
	resume := Object{ID: entryID(1), Type: TypeResume}
	tester := Object{ID: memoryTester(), Type: TypeMemoryTester}
	manager := Object{ID: BootManager(), Type: TypeBootManager}

	manager.Set(ElemDevice, system)
	if files.manager != "" {
		manager.Set(ElemPath, String(files.manager))
	}
	manager.Set(ElemDescription, String("Windows Boot Manager"))
	manager.Set(ElemLocale, String(o.Locale))
	manager.Set(ElemInherit, Refs{GlobalSettings()})
	manager.Set(ElemDefault, Ref(loader.ID))
	manager.Set(elemManagerResume, Ref(resume.ID))
	manager.Set(ElemDisplayOrder, Refs{loader.ID})
	manager.Set(elemToolsDisplayOrder, Refs{tester.ID})
	manager.Set(ElemTimeout, Integer(o.Timeout/time.Second))

	loader.Set(ElemDevice, windows)
	loader.Set(ElemPath, String(files.loader))
	loader.Set(ElemDescription, String(o.Description))
	loader.Set(ElemLocale, String(o.Locale))
	loader.Set(ElemInherit, Refs{LoaderSettings()})
	loader.Set(ElemOSDevice, windows)
	loader.Set(ElemSystemRoot, String(`\Windows`))
	loader.Set(elemResumeObject, Ref(resume.ID))
	loader.Set(ElemNX, Integer(NXOptIn))
	loader.Set(ElemBootMenuPolicy, Integer(bootMenuStandard))

	resume.Set(ElemDevice, windows)
	resume.Set(ElemPath, String(files.resume))
	resume.Set(ElemDescription, String("Windows Resume Application"))
	resume.Set(ElemLocale, String(o.Locale))
	resume.Set(ElemInherit, Refs{resumeSettings()})
	resume.Set(elemFileDevice, windows)
	resume.Set(elemFilePath, String(`\hiberfil.sys`))

	tester.Set(ElemDevice, system)
	tester.Set(ElemPath, String(files.tester))
	tester.Set(ElemDescription, String("Windows Memory Diagnostic"))
	tester.Set(ElemLocale, String(o.Locale))
	tester.Set(ElemInherit, Refs{GlobalSettings()})

	s := &Store{Modified: o.Modified, Objects: []Object{manager, loader, resume, tester}}
	s.Objects = append(s.Objects, installedSettings()...)
	return s, nil
}

func (o *InstalledOptions) fill() error {
	setDefault(&o.Description, "Windows")
	setDefault(&o.Locale, DefaultLocale)
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	switch {
	case o.Firmware > BIOS:
		return fmt.Errorf("firmware %d: want UEFI or BIOS", o.Firmware)
	case !isLocale(o.Locale):
		return fmt.Errorf("locale %q: want a language tag such as en-US", o.Locale)
	case o.Timeout < 0 || o.Timeout > maxTimeout || o.Timeout%time.Second != 0:
		return fmt.Errorf("timeout %s: want whole seconds up to %s", o.Timeout, maxTimeout)
	}
	return errors.Join(
		checkText("description", o.Description, maxDescription),
		checkPartition("system partition", o.System),
		checkPartition("Windows partition", o.Windows),
	)
}

func checkPartition(what string, p Partition) error {
	switch {
	case p.MBR && (p.Offset == 0 || p.Signature == 0):
		return fmt.Errorf("%s: want the offset of the partition and the signature of the disk, which are not 0", what)
	case !p.MBR && (p.ID.IsZero() || p.Disk.IsZero()):
		return fmt.Errorf("%s: want the GUIDs of partition and disk", what)
	}
	return nil
}

// bootPaths are where Windows has its boot programs.
type bootPaths struct{ manager, loader, resume, tester string }

func installedFiles(f Firmware) bootPaths {
	if f == BIOS {
		// The boot sector finds \bootmgr by itself.
		return bootPaths{"", `\Windows\system32\winload.exe`, `\Windows\system32\winresume.exe`, `\boot\memtest.exe`}
	}
	return bootPaths{`\EFI\Microsoft\Boot\bootmgfw.efi`, `\Windows\system32\winload.efi`, `\Windows\system32\winresume.efi`,
		`\EFI\Microsoft\Boot\memtest.efi`}
}

// installedSettings are the objects that others inherit, without a debugger.
func installedSettings() []Object {
	debugger := Object{ID: DebuggerSettings(), Type: TypeInheritByAny}
	debugger.Set(ElemDebugType, Integer(debugSerial))
	debugger.Set(ElemDebugPort, Integer(1))
	debugger.Set(ElemBaudRate, Integer(defaultBaudRate))
	ems := Object{ID: EMSSettings(), Type: TypeInheritByAny}
	ems.Set(ElemBootEMS, Boolean(false))
	global := Object{ID: GlobalSettings(), Type: TypeInheritByAny}
	global.Set(ElemInherit, Refs{debugger.ID, ems.ID})
	loader := Object{ID: LoaderSettings(), Type: TypeInheritByLoader}
	loader.Set(ElemInherit, Refs{global.ID})
	resume := Object{ID: resumeSettings(), Type: TypeInheritByResume}
	resume.Set(ElemInherit, Refs{global.ID})
	return []Object{global, loader, resume, debugger, ems}
}

// memoryTester is {memdiag}.
func memoryTester() GUID {
	return NewGUID(0xb2721d73, 0x1db4, 0x4c62, [8]byte{0xbf, 0x78, 0xc5, 0x48, 0xa8, 0x80, 0x14, 0x2d})
}

// resumeSettings is {resumeloadersettings}.
func resumeSettings() GUID {
	return NewGUID(0x1afa9c49, 0x16ab, 0x4a5c, [8]byte{0x90, 0x1b, 0x21, 0x28, 0x02, 0xda, 0x94, 0x60})
}
