package bcd

import (
	"errors"
	"fmt"
	"time"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

const bootMenuStandard = 1 // graphics, with touch

// InstalledOptions say which Windows a store made by Installed starts.
type InstalledOptions struct {
	Firmware Firmware
	// System is the partition of the boot manager (the EFI system partition, or
	// the active one), Windows the one that holds \Windows.
	System, Windows value.Partition
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
	system := value.Device{Kind: value.DevicePartition, Partition: o.System}
	windows := value.Device{Kind: value.DevicePartition, Partition: o.Windows}
	files := installedFiles(o.Firmware)

	loader := Object{ID: entryID(0), Type: TypeLoader}
	resume := Object{ID: entryID(1), Type: TypeResume}
	tester := Object{ID: value.MemoryTester(), Type: TypeMemoryTester}
	manager := Object{ID: value.BootManager(), Type: TypeBootManager}

	manager.Set(element.Device, system)
	if files.manager != "" {
		manager.Set(element.Path, value.String(files.manager))
	}
	manager.Set(element.Description, value.String("Windows Boot Manager"))
	manager.Set(element.Locale, value.String(o.Locale))
	manager.Set(element.Inherit, value.Refs{value.GlobalSettings()})
	manager.Set(element.Default, value.Ref(loader.ID))
	manager.Set(element.ManagerResume, value.Ref(resume.ID))
	manager.Set(element.DisplayOrder, value.Refs{loader.ID})
	manager.Set(element.ToolsDisplayOrder, value.Refs{tester.ID})
	manager.Set(element.Timeout, value.Integer(o.Timeout/time.Second))

	loader.Set(element.Device, windows)
	loader.Set(element.Path, value.String(files.loader))
	loader.Set(element.Description, value.String(o.Description))
	loader.Set(element.Locale, value.String(o.Locale))
	loader.Set(element.Inherit, value.Refs{value.LoaderSettings()})
	loader.Set(element.OSDevice, windows)
	loader.Set(element.SystemRoot, value.String(`\Windows`))
	loader.Set(element.ResumeObject, value.Ref(resume.ID))
	loader.Set(element.NX, value.Integer(NXOptIn))
	loader.Set(element.BootMenuPolicy, value.Integer(bootMenuStandard))

	resume.Set(element.Device, windows)
	resume.Set(element.Path, value.String(files.resume))
	resume.Set(element.Description, value.String("Windows Resume Application"))
	resume.Set(element.Locale, value.String(o.Locale))
	resume.Set(element.Inherit, value.Refs{value.ResumeSettings()})
	resume.Set(element.FileDevice, windows)
	resume.Set(element.FilePath, value.String(`\hiberfil.sys`))

	tester.Set(element.Device, system)
	tester.Set(element.Path, value.String(files.tester))
	tester.Set(element.Description, value.String("Windows Memory Diagnostic"))
	tester.Set(element.Locale, value.String(o.Locale))
	tester.Set(element.Inherit, value.Refs{value.GlobalSettings()})

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

func checkPartition(what string, p value.Partition) error {
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
	debugger := Object{ID: value.DebuggerSettings(), Type: TypeInheritByAny}
	debugger.Set(element.DebugType, value.Integer(debugSerial))
	debugger.Set(element.DebugPort, value.Integer(1))
	debugger.Set(element.BaudRate, value.Integer(defaultBaudRate))
	ems := Object{ID: value.EMSSettings(), Type: TypeInheritByAny}
	ems.Set(element.BootEMS, value.Boolean(false))
	global := Object{ID: value.GlobalSettings(), Type: TypeInheritByAny}
	global.Set(element.Inherit, value.Refs{debugger.ID, ems.ID})
	loader := Object{ID: value.LoaderSettings(), Type: TypeInheritByLoader}
	loader.Set(element.Inherit, value.Refs{global.ID})
	resume := Object{ID: value.ResumeSettings(), Type: TypeInheritByResume}
	resume.Set(element.Inherit, value.Refs{global.ID})
	return []Object{global, loader, resume, debugger, ems}
}
