package element

import "fmt"

// ID names an element: bits 28-31 the class, bits 24-27 the format, the rest a
// number. Elements of the application class mean different things in objects of
// different applications.
type ID uint32

// Classes of element: who reads it.
const (
	classLibrary     = 1 // every boot application
	classApplication = 2 // the application that the object describes
	classDevice      = 3 // who opens the device
	classTemplate    = 4 // setup, in the template that stores are made from
)

// Format says what kind of value an element has.
type Format uint8

// Formats, and how the value is stored.
const (
	FormatDevice      Format = 1 // REG_BINARY: see the package value
	FormatString      Format = 2 // REG_SZ
	FormatObject      Format = 3 // REG_SZ: a GUID
	FormatObjectList  Format = 4 // REG_MULTI_SZ: GUIDs
	FormatInteger     Format = 5 // REG_BINARY, 8 bytes little-endian (1 to 8 are read)
	FormatBoolean     Format = 6 // REG_BINARY, 1 byte
	FormatIntegerList Format = 7 // REG_BINARY, 8 bytes each
)

func (id ID) class() uint32 { return uint32(id) >> 28 }

// Format is the kind of value that the element must have.
func (id ID) Format() Format { return Format(uint32(id) >> 24 & 0xf) }

// String is the name of the element's key: eight hexadecimal digits.
func (id ID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

// String names the format.
func (f Format) String() string {
	switch f {
	case FormatDevice:
		return "device"
	case FormatString:
		return "string"
	case FormatObject:
		return "object"
	case FormatObjectList:
		return "object list"
	case FormatInteger:
		return "integer"
	case FormatBoolean:
		return "boolean"
	case FormatIntegerList:
		return "integer list"
	}
	return fmt.Sprintf("format %d", uint8(f))
}

// Elements of every boot application.
const (
	Device            ID = 0x11000001 // where Path is
	Path              ID = 0x12000002 // the boot application
	Description       ID = 0x12000004 // text in the boot menu
	Locale            ID = 0x12000005 // RFC 3066, for example en-US
	Inherit           ID = 0x14000006 // objects whose elements count as this one's
	BootDebug         ID = 0x16000010 // debug this boot application
	DebugType         ID = 0x15000011 // 0 serial, 3 network
	DebugPort         ID = 0x15000013 // serial port, from 1
	BaudRate          ID = 0x15000014 // of the debugger's serial port
	HostIP            ID = 0x1500001a // IPv4 of the debugger, first byte most significant
	HostPort          ID = 0x1500001b // UDP port of the debugger
	DebugDHCP         ID = 0x1600001c // the debugged machine gets its address by DHCP
	DebugKey          ID = 0x1200001d // key of network debugging
	BootEMS           ID = 0x16000020 // serial console of this boot application
	EMSPort           ID = 0x15000022 // serial port, from 1
	EMSBaudRate       ID = 0x15000023
	LoadOptions       ID = 0x12000030 // command line of the boot application
	AdvancedOptions   ID = 0x16000040 // show the advanced options menu
	GraphicsDisabled  ID = 0x16000046 // text mode
	NoIntegrityChecks ID = 0x16000048
	TestSigning       ID = 0x16000049 // accept test signatures
	HighestMode       ID = 0x16000054 // highest graphics mode
)

// Elements of the boot manager.
const (
	DisplayOrder      ID = 0x24000001
	Default           ID = 0x23000003
	Timeout           ID = 0x25000004 // seconds
	ManagerResume     ID = 0x23000006 // the default's resume entry
	ToolsDisplayOrder ID = 0x24000010 // tools in the menu
	DisplayBootMenu   ID = 0x26000020
)

// Elements of a loader entry.
const (
	OSDevice       ID = 0x21000001 // where SystemRoot is
	SystemRoot     ID = 0x22000002
	ResumeObject   ID = 0x23000003 // the resume entry
	DetectHAL      ID = 0x26000010
	NX             ID = 0x25000020 // 0 OptIn to 3 AlwaysOn
	WinPE          ID = 0x26000022
	KernelDebug    ID = 0x260000a0
	EMS            ID = 0x260000b0 // serial console of the system (SAC)
	BootMenuPolicy ID = 0x250000c2 // 0 legacy (text), 1 standard (graphics)
)

// Elements of a resume entry.
const (
	FileDevice ID = 0x21000001 // where FilePath is
	FilePath   ID = 0x22000002 // the hibernation file
)

// Elements of the options of a RAM disk. 35000007 and 35000008 are integers:
// Microsoft's enumeration page prints 36000007 and 36000008 and contradicts
// itself; its list of BitLocker settings has 35, and a boot manager obeys 35.
const (
	SDIDevice         ID = 0x31000003 // where SDIPath is
	SDIPath           ID = 0x32000004 // boot.sdi, the empty disk that the WIM is mounted in
	TFTPClientPort    ID = 0x35000002
	TFTPBlockSize     ID = 0x35000007 // bytes, RFC 2348
	TFTPWindowSize    ID = 0x35000008 // blocks, RFC 7440
	Multicast         ID = 0x36000009 // fetch by WDS multicast
	MulticastFallback ID = 0x3600000a // TFTP when multicast fails
	TFTPVarWindow     ID = 0x3600000b // Microsoft's variable window (msftwindow)
)
