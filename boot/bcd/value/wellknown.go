package value

// Objects that have the same GUID in every store. Sources: the names are
// bcdedit's, the GUIDs are in every store that Windows makes.
//
// These are functions of nothing rather than variables, so that nobody can
// change them.

// BootManager is {bootmgr}, the object that a boot manager looks for first.
func BootManager() GUID {
	return NewGUID(0x9dea862c, 0x5cdd, 0x4e70, [8]byte{0xac, 0xc1, 0xf3, 0x2b, 0x34, 0x4d, 0x47, 0x95})
}

// RamdiskOptions is {ramdiskoptions}, the options of a RAM disk when a loader
// entry names no others.
func RamdiskOptions() GUID {
	return NewGUID(0xae5534e0, 0xa924, 0x466c, [8]byte{0xb8, 0x36, 0x75, 0x85, 0x39, 0xa3, 0xee, 0x3a})
}

// GlobalSettings is {globalsettings}, which every object may inherit.
func GlobalSettings() GUID {
	return NewGUID(0x7ea2e1ac, 0x2e61, 0x4728, [8]byte{0xaa, 0xa3, 0x89, 0x6d, 0x9d, 0x0a, 0x9f, 0x0e})
}

// LoaderSettings is {bootloadersettings}, which loader entries inherit.
func LoaderSettings() GUID {
	return NewGUID(0x6efb52bf, 0x1766, 0x41db, [8]byte{0xa6, 0xb3, 0x0e, 0xe5, 0xef, 0xf7, 0x2b, 0xd7})
}

// DebuggerSettings is {dbgsettings}.
func DebuggerSettings() GUID {
	return NewGUID(0x4636856e, 0x540f, 0x4170, [8]byte{0xa1, 0x30, 0xa8, 0x47, 0x76, 0xf4, 0xc6, 0x54})
}

// EMSSettings is {emssettings}, the serial console.
func EMSSettings() GUID {
	return NewGUID(0x0ce4991b, 0xe6b3, 0x4b16, [8]byte{0xb2, 0x3c, 0x5e, 0x0d, 0x92, 0x50, 0xe5, 0xd9})
}

// MemoryTester is {memdiag}.
func MemoryTester() GUID {
	return NewGUID(0xb2721d73, 0x1db4, 0x4c62, [8]byte{0xbf, 0x78, 0xc5, 0x48, 0xa8, 0x80, 0x14, 0x2d})
}

// ResumeSettings is {resumeloadersettings}.
func ResumeSettings() GUID {
	return NewGUID(0x1afa9c49, 0x16ab, 0x4a5c, [8]byte{0x90, 0x1b, 0x21, 0x28, 0x02, 0xda, 0x94, 0x60})
}

// WellKnown gives the alias of a well-known object, as bcdedit has it, and what
// it holds; two empty strings for any other.
func (g GUID) WellKnown() (alias, title string) {
	switch g.String() {
	case "{9dea862c-5cdd-4e70-acc1-f32b344d4795}":
		return "{bootmgr}", "Windows Boot Manager"
	case "{a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba}":
		return "{fwbootmgr}", "Firmware Boot Manager"
	case "{fa926493-6f1c-4193-a414-58f0b2456d1e}":
		return "{current}", "The running system"
	case "{1cae1eb7-a0df-4d4d-9851-4860e34ef535}":
		return "{default}", "The default entry"
	case "{b2721d73-1db4-4c62-bf78-c548a880142d}":
		return "{memdiag}", "Windows Memory Tester"
	case "{466f5a88-0af2-4f76-9038-095b170dc21c}":
		return "{ntldr}", "Windows Legacy OS Loader"
	case "{ae5534e0-a924-466c-b836-758539a3ee3a}":
		return "{ramdiskoptions}", "RAM disk options"
	case "{7619dcc8-fafe-11d9-b411-000476eba25f}":
		// No alias in bcdedit; it is in the stores of setup media.
		return "", "RAM disk options of setup media"
	case "{68d9e51c-a129-4ee1-9725-2ab00a957daf}":
		return "", "RAM disk options of Windows Deployment Services"
	case "{7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e}":
		return "{globalsettings}", "Global Settings"
	case "{6efb52bf-1766-41db-a6b3-0ee5eff72bd7}":
		return "{bootloadersettings}", "Boot Loader Settings"
	case "{1afa9c49-16ab-4a5c-901b-212802da9460}":
		return "{resumeloadersettings}", "Resume Loader Settings"
	case "{4636856e-540f-4170-a130-a84776f4c654}":
		return "{dbgsettings}", "Debugger Settings"
	case "{313e8eed-7098-4586-a9bf-309c61f8d449}":
		return "{kerneldbgsettings}", "Kernel Debugger Settings"
	case "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}":
		return "{emssettings}", "EMS Settings"
	case "{5189b25c-5558-4bf2-bca4-289b11bd29e2}":
		return "{badmemory}", "RAM Defects"
	case "{7ff607e0-4395-11db-b0de-0800200c9a66}":
		return "{hypervisorsettings}", "Hypervisor Settings"
	}
	return "", ""
}
