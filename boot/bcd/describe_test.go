package bcd

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

// installedStore is like the store of an installed system: firmware menu, two
// kinds of loader, references, settings to inherit, recovery out of a RAM disk
// on a partition, and things that nobody knows.
func installedStore(t *testing.T) *Store {
	t.Helper()
	id := func(n byte) value.GUID {
		return value.NewGUID(0x11111111, 0x2222, 0x3333, [8]byte{0x44, 0x44, 0x55, 0x55, 0x55, 0x55, 0x55, n})
	}
	disk := value.Device{Kind: value.DevicePartition, Partition: value.Partition{ID: id(0xa1), Disk: id(0xa0)}}
	return &Store{
		Notes: []string{"something odd"},
		Objects: []Object{
			{ID: id(9), Type: TypeDeviceOptions, Elements: []Element{{element.SDIDevice, disk}, {element.SDIPath, value.String(`\boot.sdi`)}}},
			{ID: value.GlobalSettings(), Type: TypeInheritByAny, Elements: []Element{{element.Inherit, value.Refs{value.DebuggerSettings(), value.EMSSettings()}}}},
			{ID: id(3), Type: TypeResume, Elements: []Element{{0x21000001, disk}, {0x22000002, value.String(`\hiberfil.sys`)}}},
			{ID: id(1), Type: TypeLoader, Elements: []Element{
				{element.Device, disk},
				{element.Description, value.String("Windows \x1b[31m")},
				{0x17000077, value.Integers{0x15000075}},
				{0x23000003, value.Ref(id(3))},
				{element.NX, value.Integer(3)},
				{0x25000121, value.Integer(7)},
				{0x250000aa, value.Integer(1 << 40)},
				{0x26ffffff, value.Boolean(false)},
				{0x28000001, value.Raw{Type: 4, Data: []byte{1, 2, 3, 4}}},
				{0x21000099, value.Raw{Type: 3, Data: []byte{9}, Problem: "device of 1 bytes, want at least 32"}},
			}},
			{ID: id(2), Type: TypeLoader, Elements: []Element{
				{element.Device, value.Device{Kind: value.DeviceRamdisk, Path: `\r\Winre.wim`, Parent: &disk, Options: id(9)}},
				{element.BootMenuPolicy, value.Integer(1)},
			}},
			{ID: value.BootManager(), Type: TypeBootManager, Elements: []Element{
				{element.Default, value.Ref(id(1))}, {element.DisplayOrder, value.Refs{id(1), id(2), id(7)}},
				{0x24000010, value.Refs{}}, {element.Timeout, value.Integer(30)},
			}},
			{ID: mustGUID(t, "{a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba}"), Type: TypeFirmwareBootManager,
				Elements: []Element{{element.Timeout, value.Integer(1)}}},
			{ID: id(8), Type: TypeFirmwareEntry, FirmwareVariable: []byte{1, 2, 3}},
			{ID: id(6), Type: 0xf0000001},
		},
	}
}

func TestDescribe(t *testing.T) {
	want := `note: something odd

Firmware Boot Manager
---------------------
identifier              {a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba} {fwbootmgr}
timeout                 1

Windows Boot Manager
--------------------
identifier              {9dea862c-5cdd-4e70-acc1-f32b344d4795} {bootmgr}
default                 {11111111-2222-3333-4444-555555555501} Windows ` + "\ufffd" + `[31m
displayorder            {11111111-2222-3333-4444-555555555501} Windows ` + "\ufffd" + `[31m
                        {11111111-2222-3333-4444-555555555502}
                        {11111111-2222-3333-4444-555555555507} (not in this store)
toolsdisplayorder       (none)
timeout                 30

Firmware Application
--------------------
identifier              {11111111-2222-3333-4444-555555555508}
firmwarevariable        3 bytes

Windows Boot Loader
-------------------
identifier              {11111111-2222-3333-4444-555555555501}
device                  partition={gpt disk {11111111-2222-3333-4444-5555555555a0}, partition {11111111-2222-3333-4444-5555555555a1}}
description             Windows ` + "\ufffd" + `[31m
allowedinmemorysettings 0x15000075
resumeobject            {11111111-2222-3333-4444-555555555503}
nx                      AlwaysOn
xsaveaddfeature0        7
0x250000aa              0x10000000000
0x26ffffff              No
0x28000001              REG_DWORD 01020304
0x21000099              REG_BINARY 09 (device of 1 bytes, want at least 32)

Windows Boot Loader
-------------------
identifier              {11111111-2222-3333-4444-555555555502}
device                  ramdisk=[partition={gpt disk {11111111-2222-3333-4444-5555555555a0}, partition {11111111-2222-3333-4444-5555555555a1}}]\r\Winre.wim,{11111111-2222-3333-4444-555555555509}
bootmenupolicy          Standard

Resume from Hibernate
---------------------
identifier              {11111111-2222-3333-4444-555555555503}
filedevice              partition={gpt disk {11111111-2222-3333-4444-5555555555a0}, partition {11111111-2222-3333-4444-5555555555a1}}
filepath                \hiberfil.sys

Global Settings
---------------
identifier              {7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e} {globalsettings}
type                    Settings to inherit (0x20100000)
inherit                 {4636856e-540f-4170-a130-a84776f4c654} {dbgsettings}
                        {0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9} {emssettings}

Device options
--------------
identifier              {11111111-2222-3333-4444-555555555509}
ramdisksdidevice        partition={gpt disk {11111111-2222-3333-4444-5555555555a0}, partition {11111111-2222-3333-4444-5555555555a1}}
ramdisksdipath          \boot.sdi

Object of type 0xf0000001
-------------------------
identifier              {11111111-2222-3333-4444-555555555506}
`
	if d := cmp.Diff(want, describe(t, installedStore(t))); d != "" {
		t.Errorf("description differs:\n%s", d)
	}
	failing := errors.New("pipe closed")
	if err := installedStore(t).Describe(writerFunc(func([]byte) (int, error) { return 0, failing })); !errors.Is(err, failing) {
		t.Errorf("error of the writer: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func TestJSON(t *testing.T) {
	s := mustRamdisk(t, Options{})
	s.Objects[0].Set(element.Device, value.Device{Kind: value.DevicePartition, Partition: value.Partition{MBR: true, Offset: 512, Signature: 0xab}})
	s.Objects[0].Set(0x28000001, value.Raw{Type: 4, Data: []byte{1}})
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Objects []struct {
			ID, Alias, Title, Type string
			Elements               []struct {
				ID, Name, Format, Text string
				Value                  json.RawMessage
			}
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, o := range got.Objects {
		lines = append(lines, strings.Join([]string{o.ID, o.Alias, o.Title, o.Type}, "|"))
		for _, e := range o.Elements {
			lines = append(lines, strings.Join([]string{e.ID, e.Name, e.Format, string(e.Value), e.Text}, "|"))
		}
	}
	ram := `{"kind":"ramdisk","path":"\\Boot\\boot.wim","options":"{ae5534e0-a924-466c-b836-758539a3ee3a}","parent":{"kind":"boot"}}`
	want := []string{
		"{9dea862c-5cdd-4e70-acc1-f32b344d4795}|{bootmgr}|Windows Boot Manager|0x10100002",
		`0x12000004|description|string|"Windows Boot Manager"|Windows Boot Manager`,
		`0x12000005|locale|string|"en-US"|en-US`,
		`0x23000003|default|object|"{5c4e1a70-8d3b-4f26-9e17-6bd240a90000}"|{5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows PE`,
		`0x24000001|displayorder|object list|["{5c4e1a70-8d3b-4f26-9e17-6bd240a90000}"]|{5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows PE`,
		`0x25000004|timeout|integer|0|0`,
		`0x26000020|displaybootmenu|boolean|false|No`,
		`0x11000001|device|device|{"kind":"partition","partition":{"table":"mbr","signature":"000000ab","offset":512}}|partition={mbr disk 000000ab, offset 512}`,
		`0x28000001||format 8|{"type":"REG_DWORD","data":"01"}|REG_DWORD 01`,
		"{5c4e1a70-8d3b-4f26-9e17-6bd240a90000}||Windows Boot Loader|0x10200003",
		`0x11000001|device|device|` + ram + `|ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}`,
		`0x12000002|path|string|"\\Windows\\System32\\Boot\\winload.efi"|\Windows\System32\Boot\winload.efi`,
		`0x12000004|description|string|"Windows PE"|Windows PE`,
		`0x12000005|locale|string|"en-US"|en-US`,
		`0x21000001|osdevice|device|` + ram + `|ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}`,
		`0x22000002|systemroot|string|"\\Windows"|\Windows`,
		`0x25000020|nx|integer|0|OptIn`,
		`0x26000010|detecthal|boolean|true|Yes`,
		`0x26000022|winpe|boolean|true|Yes`,
		"{ae5534e0-a924-466c-b836-758539a3ee3a}|{ramdiskoptions}|RAM disk options|0x30000000",
		`0x31000003|ramdisksdidevice|device|{"kind":"boot"}|boot`,
		`0x32000004|ramdisksdipath|string|"\\Boot\\boot.sdi"|\Boot\boot.sdi`,
		`0x35000007|ramdisktftpblocksize|integer|1456|1456`,
		`0x35000008|ramdisktftpwindowsize|integer|16|16`,
	}
	if d := cmp.Diff(want, lines); d != "" {
		t.Errorf("JSON differs:\n%s", d)
	}
	if b, err := json.Marshal(&Store{}); err != nil || string(b) != `{"objects":[]}` {
		t.Errorf("an empty store is %s, %v", b, err)
	}
}

// TestApplication: the same number in another application is another element, and
// settings to inherit have the elements of those who inherit them.
func TestApplication(t *testing.T) {
	name := func(t ObjectType, id element.ID) string { return element.Name(t.application(), id) }
	if a, b := name(TypeLoader, 0x21000001), name(TypeResume, 0x21000001); a != "osdevice" || b != "filedevice" {
		t.Errorf("21000001 is called %q and %q", a, b)
	}
	if got := name(TypeInheritByLoader, 0x250000f4); got != "hypervisordebugport" {
		t.Errorf("250000f4 in settings that loaders inherit is called %q", got)
	}
}
