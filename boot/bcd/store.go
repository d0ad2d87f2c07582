package bcd

import (
	"errors"
	"fmt"
	"time"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

// ErrNotBCD says that a file is a registry hive, but not a boot configuration
// store: it has no Objects key.
var ErrNotBCD = errors.New("not a boot configuration store")

// Store is one boot configuration store.
type Store struct {
	Objects []Object

	// Modified is the time of last change in the hive's base block and in its
	// keys. The zero value stands for a fixed time, so that the same objects
	// give the same bytes whenever they are written.
	Modified time.Time

	// Notes are what Parse found odd but could live with, in words: a hive that
	// was not closed cleanly, an element without a value. They are not written.
	Notes []string
}

// Object is a set of elements under one name.
type Object struct {
	ID       value.GUID
	Type     ObjectType
	Elements []Element

	// FirmwareVariable is the UEFI Boot#### variable that Windows mirrors for
	// objects of the firmware's boot menu; nil in all others.
	FirmwareVariable []byte
}

// Element is one setting. The format in ID must fit the Value, see value.Value.
type Element struct {
	ID    element.ID
	Value value.Value
}

// Object returns the object with that name, or nil. The pointer is into
// s.Objects.
func (s *Store) Object(id value.GUID) *Object {
	for i := range s.Objects {
		if s.Objects[i].ID == id {
			return &s.Objects[i]
		}
	}
	return nil
}

// Element returns the value of an element, or nil when the object has none.
func (o *Object) Element(id element.ID) value.Value {
	for _, e := range o.Elements {
		if e.ID == id {
			return e.Value
		}
	}
	return nil
}

// Set gives an element a value, replacing the one it has.
func (o *Object) Set(id element.ID, v value.Value) {
	for i := range o.Elements {
		if o.Elements[i].ID == id {
			o.Elements[i].Value = v
			return
		}
	}
	o.Elements = append(o.Elements, Element{ID: id, Value: v})
}

// ObjectType says what an object is for: bits 28-31 the kind, and for
// applications bits 20-23 the image type and bits 0-19 the application.
// Source: Microsoft's BcdObject class.
type ObjectType uint32

// Object types. Those of settings to inherit name who may inherit them.
const (
	TypeFirmwareBootManager ObjectType = 0x10100001 // the UEFI firmware's own boot menu
	TypeBootManager         ObjectType = 0x10100002
	TypeFirmwareEntry       ObjectType = 0x101fffff // an entry of the firmware's boot menu
	TypeLoader              ObjectType = 0x10200003 // winload
	TypeResume              ObjectType = 0x10200004 // winresume
	TypeMemoryTester        ObjectType = 0x10200005
	TypeLegacyLoader        ObjectType = 0x10300006 // ntldr
	TypeBootSector          ObjectType = 0x10400008 // a boot sector in real mode
	TypeStartup             ObjectType = 0x10400009 // startup.com, over PXE
	TypeInheritByAny        ObjectType = 0x20100000
	TypeInheritByLoader     ObjectType = 0x20200003
	TypeInheritByResume     ObjectType = 0x20200004
	TypeDeviceOptions       ObjectType = 0x30000000
)

// Kinds of object: the top four bits of an object type.
const (
	kindApplication = 1
	kindInherit     = 2
	kindDevice      = 3
)

func (t ObjectType) kind() uint32 { return uint32(t) >> 28 }

// application is the number of the boot application that an object describes or
// gives settings to; 0 when it is for any.
func (t ObjectType) application() element.Application {
	if k := t.kind(); k != kindApplication && k != kindInherit {
		return 0
	}
	return element.Application(t & 0xfffff)
}

// String says in words what the object is, as the headings of bcdedit do.
func (t ObjectType) String() string {
	switch t {
	case TypeFirmwareBootManager:
		return "Firmware Boot Manager"
	case TypeBootManager:
		return "Windows Boot Manager"
	case TypeFirmwareEntry:
		return "Firmware Application"
	case TypeLoader:
		return "Windows Boot Loader"
	case TypeResume:
		return "Resume from Hibernate"
	case TypeMemoryTester:
		return "Windows Memory Tester"
	case TypeLegacyLoader:
		return "Windows Legacy OS Loader"
	case TypeBootSector:
		return "Real-mode Boot Sector"
	case TypeStartup:
		return "Startup.com"
	}
	switch t.kind() {
	case kindApplication:
		return fmt.Sprintf("Application 0x%08x", uint32(t))
	case kindInherit:
		return "Settings to inherit"
	case kindDevice:
		return "Device options"
	}
	return fmt.Sprintf("Object of type 0x%08x", uint32(t))
}
