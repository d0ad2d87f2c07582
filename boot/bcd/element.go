package bcd

import "fmt"

// ElementID names an element: bits 28-31 the class, bits 24-27 the format, the
// rest a number. Elements of the application class mean different things in
// objects of different applications.
type ElementID uint32

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
	FormatDevice      Format = 1 // REG_BINARY, see Device
	FormatString      Format = 2 // REG_SZ
	FormatObject      Format = 3 // REG_SZ: a GUID
	FormatObjectList  Format = 4 // REG_MULTI_SZ: GUIDs
	FormatInteger     Format = 5 // REG_BINARY, 8 bytes little-endian (1 to 8 are read)
	FormatBoolean     Format = 6 // REG_BINARY, 1 byte
	FormatIntegerList Format = 7 // REG_BINARY, 8 bytes each
)

func (id ElementID) class() uint32 { return uint32(id) >> 28 }

// Format is the kind of value that the element must have.
func (id ElementID) Format() Format { return Format(uint32(id) >> 24 & 0xf) }

// String is the name of the element's key: eight hexadecimal digits.
func (id ElementID) String() string { return fmt.Sprintf("%08x", uint32(id)) }

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
	ElemDevice            ElementID = 0x11000001 // where Path is
	ElemPath              ElementID = 0x12000002 // the boot application
	ElemDescription       ElementID = 0x12000004 // text in the boot menu
	ElemLocale            ElementID = 0x12000005 // RFC 3066, for example en-US
	ElemInherit           ElementID = 0x14000006 // objects whose elements count as this one's
	ElemBootDebug         ElementID = 0x16000010 // debug this boot application
	ElemDebugType         ElementID = 0x15000011 // DebugSerial and so on
	ElemDebugPort         ElementID = 0x15000013 // serial port, from 1
	ElemBaudRate          ElementID = 0x15000014 // of the debugger's serial port
	ElemHostIP            ElementID = 0x1500001a // IPv4 of the debugger, first byte most significant
	ElemHostPort          ElementID = 0x1500001b // UDP port of the debugger
	ElemDebugDHCP         ElementID = 0x1600001c // the debugged machine gets its address by DHCP
	ElemDebugKey          ElementID = 0x1200001d // key of network debugging
	ElemBootEMS           ElementID = 0x16000020 // serial console of this boot application
	ElemEMSPort           ElementID = 0x15000022 // serial port, from 1
	ElemEMSBaudRate       ElementID = 0x15000023
	ElemLoadOptions       ElementID = 0x12000030 // command line of the boot application
	ElemAdvancedOptions   ElementID = 0x16000040 // show the advanced options menu
	ElemGraphicsDisabled  ElementID = 0x16000046 // text mode
	ElemNoIntegrityChecks ElementID = 0x16000048
	ElemTestSigning       ElementID = 0x16000049 // accept test signatures
	ElemHighestMode       ElementID = 0x16000054 // highest graphics mode
)

// Elements of the boot manager.
const (
	ElemDisplayOrder    ElementID = 0x24000001
	ElemDefault         ElementID = 0x23000003
	ElemTimeout         ElementID = 0x25000004 // seconds
	ElemDisplayBootMenu ElementID = 0x26000020
)

// Elements of a loader entry.
const (
	ElemOSDevice       ElementID = 0x21000001 // where SystemRoot is
	ElemSystemRoot     ElementID = 0x22000002
	ElemDetectHAL      ElementID = 0x26000010
	ElemNX             ElementID = 0x25000020 // NXPolicy
	ElemWinPE          ElementID = 0x26000022
	ElemKernelDebug    ElementID = 0x260000a0
	ElemEMS            ElementID = 0x260000b0 // serial console of the system (SAC)
	ElemBootMenuPolicy ElementID = 0x250000c2 // 0 legacy (text), 1 standard (graphics)
)

// Elements of the options of a RAM disk. 35000007 and 35000008 are integers:
// Microsoft's enumeration page prints 36000007 and 36000008 and contradicts
// itself; its list of BitLocker settings has 35, and a boot manager obeys 35.
const (
	ElemSDIDevice         ElementID = 0x31000003 // where SDIPath is
	ElemSDIPath           ElementID = 0x32000004 // boot.sdi, the empty disk that the WIM is mounted in
	ElemTFTPClientPort    ElementID = 0x35000002
	ElemTFTPBlockSize     ElementID = 0x35000007 // bytes, RFC 2348
	ElemTFTPWindowSize    ElementID = 0x35000008 // blocks, RFC 7440
	ElemMulticast         ElementID = 0x36000009 // fetch by WDS multicast
	ElemMulticastFallback ElementID = 0x3600000a // TFTP when multicast fails
	ElemTFTPVarWindow     ElementID = 0x3600000b // Microsoft's variable window (msftwindow)
)
