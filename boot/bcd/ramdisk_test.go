package bcd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

func mustRamdisk(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Ramdisk(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustBytes(t testing.TB, s *Store) []byte {
	t.Helper()
	b, err := s.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func describe(t testing.TB, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Describe(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestRamdiskDefault is the store that a signed boot manager was seen to obey,
// in words.
func TestRamdiskDefault(t *testing.T) {
	s := mustRamdisk(t, Options{})
	want := `Windows Boot Manager
--------------------
identifier              {9dea862c-5cdd-4e70-acc1-f32b344d4795} {bootmgr}
description             Windows Boot Manager
locale                  en-US
default                 {5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows PE
displayorder            {5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows PE
timeout                 0
displaybootmenu         No

Windows Boot Loader
-------------------
identifier              {5c4e1a70-8d3b-4f26-9e17-6bd240a90000}
device                  ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}
path                    \Windows\System32\Boot\winload.efi
description             Windows PE
locale                  en-US
osdevice                ramdisk=[boot]\Boot\boot.wim,{ramdiskoptions}
systemroot              \Windows
nx                      OptIn
detecthal               Yes
winpe                   Yes

RAM disk options
----------------
identifier              {ae5534e0-a924-466c-b836-758539a3ee3a} {ramdiskoptions}
type                    Device options (0x30000000)
ramdisksdidevice        boot
ramdisksdipath          \Boot\boot.sdi
ramdisktftpblocksize    1456
ramdisktftpwindowsize   16
`
	if d := cmp.Diff(want, describe(t, s)); d != "" {
		t.Errorf("the default store differs:\n%s", d)
	}
	if n := len(mustBytes(t, s)); n != 12288 {
		t.Errorf("%d bytes, want 12288", n)
	}
}

func TestRamdiskOptions(t *testing.T) {
	yes, no := true, false
	loader := func(s *Store) *Object { return &s.Objects[1] }
	ramdisk := func(s *Store) *Object { return s.Object(value.RamdiskOptions()) }
	manager := func(s *Store) *Object { return s.Object(value.BootManager()) }
	for _, tt := range []struct {
		name   string
		o      Options
		object func(*Store) *Object
		id     element.ID
		want   value.Value
	}{
		{"BIOS", Options{Firmware: BIOS}, loader, element.Path, value.String(`\Windows\System32\Boot\winload.exe`)},
		{"loader", Options{Entries: []Entry{{Loader: `\w.efi`}}}, loader, element.Path, value.String(`\w.efi`)},
		{"WIM, device", Options{Entries: []Entry{{WIM: `\d\7.wim`}}}, loader, element.Device, value.RamdiskDevice(`\d\7.wim`, value.RamdiskOptions())},
		{"WIM, osdevice", Options{Entries: []Entry{{WIM: `\d\7.wim`}}}, loader, element.OSDevice, value.RamdiskDevice(`\d\7.wim`, value.RamdiskOptions())},
		{"SDI", Options{SDI: `\x\boot.sdi`}, ramdisk, element.SDIPath, value.String(`\x\boot.sdi`)},
		{"SDI device", Options{}, ramdisk, element.SDIDevice, value.BootDevice()},
		{"block size", Options{BlockSize: 8192}, ramdisk, element.TFTPBlockSize, value.Integer(8192)},
		{"window size", Options{WindowSize: 64}, ramdisk, element.TFTPWindowSize, value.Integer(64)},
		{"variable window on", Options{VariableWindow: &yes}, ramdisk, element.TFTPVarWindow, value.Boolean(true)},
		{"variable window off", Options{VariableWindow: &no}, ramdisk, element.TFTPVarWindow, value.Boolean(false)},
		{"variable window unset", Options{}, ramdisk, element.TFTPVarWindow, nil},
		{"client port", Options{ClientPort: 7000}, ramdisk, element.TFTPClientPort, value.Integer(7000)},
		{"no description of the RAM disk", Options{}, ramdisk, element.Description, nil}, // the menu would show it
		{"multicast", Options{Multicast: true}, ramdisk, element.Multicast, value.Boolean(true)},
		{"no multicast", Options{}, ramdisk, element.Multicast, nil},
		{"fallback", Options{Multicast: true, MulticastFallback: true}, ramdisk, element.MulticastFallback, value.Boolean(true)},
		{"description", Options{Entries: []Entry{{Description: "Prüfraum 3"}}}, loader, element.Description, value.String("Prüfraum 3")},
		{"locale", Options{Locale: "de-DE"}, loader, element.Locale, value.String("de-DE")},
		{"locale of the menu", Options{Locale: "de-DE"}, manager, element.Locale, value.String("de-DE")},
		{"menu", Options{ShowMenu: true}, manager, element.DisplayBootMenu, value.Boolean(true)},
		{"timeout", Options{Timeout: 90 * time.Second}, manager, element.Timeout, value.Integer(90)},
		{"nx", Options{Entries: []Entry{{NX: NXAlwaysOff}}}, loader, element.NX, value.Integer(2)},
		{"detecthal", Options{}, loader, element.DetectHAL, value.Boolean(true)},
		{"no detecthal", Options{Entries: []Entry{{NoDetectHAL: true}}}, loader, element.DetectHAL, nil},
		{"winpe", Options{}, loader, element.WinPE, value.Boolean(true)},
		{"no winpe", Options{Entries: []Entry{{NoWinPE: true}}}, loader, element.WinPE, nil},
		{"systemroot", Options{Entries: []Entry{{SystemRoot: `\WinNT`}}}, loader, element.SystemRoot, value.String(`\WinNT`)},
		{"loadoptions", Options{Entries: []Entry{{LoadOptions: "/minint"}}}, loader, element.LoadOptions, value.String("/minint")},
		{"testsigning", Options{Entries: []Entry{{TestSigning: true}}}, loader, element.TestSigning, value.Boolean(true)},
		{"nointegritychecks", Options{Entries: []Entry{{NoIntegrityChecks: true}}}, loader, element.NoIntegrityChecks, value.Boolean(true)},
		{"text mode", Options{Entries: []Entry{{TextMode: true}}}, loader, element.GraphicsDisabled, value.Boolean(true)},
		{"highest mode", Options{Entries: []Entry{{HighestMode: true}}}, loader, element.HighestMode, value.Boolean(true)},
		{"kernel debugger", Options{KernelDebug: true}, loader, element.KernelDebug, value.Boolean(true)},
		{"boot debugger of the loader", Options{BootDebug: true}, loader, element.BootDebug, value.Boolean(true)},
		{"boot debugger of the manager", Options{BootDebug: true}, manager, element.BootDebug, value.Boolean(true)},
		{"EMS of the system", Options{EMS: &EMS{}}, loader, element.EMS, value.Boolean(true)},
		{"no EMS", Options{}, loader, element.EMS, nil},
		{"extra", Options{Entries: []Entry{{Extra: []Element{{element.BootMenuPolicy, value.Integer(0)}}}}}, loader, element.BootMenuPolicy, value.Integer(0)},
		{"extra replaces", Options{Entries: []Entry{{Extra: []Element{{element.Path, value.String(`\z.efi`)}}}}}, loader, element.Path, value.String(`\z.efi`)},
		{"nothing to inherit", Options{}, manager, element.Inherit, nil},
		{"manager inherits", Options{EMS: &EMS{}}, manager, element.Inherit, value.Refs{value.GlobalSettings()}},
		{"loader inherits", Options{KernelDebug: true}, loader, element.Inherit, value.Refs{value.LoaderSettings()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// As read back, so that the bytes are right too.
			s, err := Parse(mustBytes(t, mustRamdisk(t, tt.o)))
			if err != nil {
				t.Fatal(err)
			}
			// Parse sorts by name: bring the first loader to where loader looks.
			for i := range s.Objects {
				if s.Objects[i].ID == entryID(0) {
					s.Objects[1], s.Objects[i] = s.Objects[i], s.Objects[1]
				}
			}
			if d := cmp.Diff(tt.want, tt.object(s).Element(tt.id)); d != "" {
				t.Errorf("element %s differs:\n%s", tt.id, d)
			}
		})
	}
}

func TestRamdiskSerial(t *testing.T) {
	s := mustRamdisk(t, Options{
		KernelDebug: true, Debugger: &Debugger{Port: 2, BaudRate: 57600},
		EMS: &EMS{Port: 1, BaudRate: 9600},
	})
	text := describe(t, s)
	for _, want := range []string{
		"debugtype               Serial\ndebugport               2\nbaudrate                57600\n",
		"bootems                 Yes\nemsport                 1\nemsbaudrate             9600\n",
		"inherit                 {4636856e-540f-4170-a130-a84776f4c654} {dbgsettings}\n" +
			"                        {0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9} {emssettings}\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("description lacks\n%s\nin\n%s", want, text)
		}
	}

	s = mustRamdisk(t, Options{BootDebug: true, Debugger: &Debugger{Host: netip.MustParseAddr("192.0.2.7"), Key: "1.2.3.4"}})
	want := `debugtype               NET
hostip                  192.0.2.7
port                    50000
key                     1.2.3.4
dhcp                    Yes
`
	if text := describe(t, s); !strings.Contains(text, want) {
		t.Errorf("description lacks\n%s\nin\n%s", want, text)
	}
}

func TestRamdiskMenu(t *testing.T) {
	s := mustRamdisk(t, Options{ShowMenu: true, Entries: []Entry{
		{Description: "one"}, {Description: "two", WIM: `\2.wim`, ID: mustGUID(t, "{00000000-0000-0000-0000-000000000002}")},
	}})
	m := s.Object(value.BootManager())
	want := value.Refs{entryID(0), mustGUID(t, "{00000000-0000-0000-0000-000000000002}")}
	if d := cmp.Diff(value.Value(want), m.Element(element.DisplayOrder)); d != "" {
		t.Errorf("display order differs:\n%s", d)
	}
	if d := cmp.Diff(value.Value(value.Ref(want[0])), m.Element(element.Default)); d != "" {
		t.Errorf("default differs:\n%s", d)
	}
}

func TestRamdiskRefuses(t *testing.T) {
	entry := func(e Entry) Options { return Options{Entries: []Entry{e}} }
	host := netip.MustParseAddr("192.0.2.7")
	for _, tt := range []struct {
		name string
		o    Options
		want string
	}{
		{"relative WIM", entry(Entry{WIM: `Boot\boot.wim`}), "starts with a backslash"},
		{"slashes", entry(Entry{WIM: `\Boot/boot.wim`}), "want backslashes"},
		{"way up", entry(Entry{WIM: `\Boot\..\boot.wim`}), "no . and no .."},
		{"zero in the path", entry(Entry{WIM: "\\a\x00b"}), "printable ASCII"},
		{"umlaut in the path", entry(Entry{WIM: `\bäh.wim`}), "printable ASCII"},
		{"long path", entry(Entry{WIM: `\` + strings.Repeat("x", 254)}), "255 characters, at most 254"},
		{"loader", entry(Entry{Loader: "winload.efi"}), "path of the loader"},
		{"system root", entry(Entry{SystemRoot: "Windows"}), "system root"},
		{"control in the description", entry(Entry{Description: "a\nb"}), "control characters"},
		{"long description", entry(Entry{Description: strings.Repeat("x", 256)}), "256 characters, want at most 255"},
		{"long load options", entry(Entry{LoadOptions: strings.Repeat("x", 2049)}), "2049 characters"},
		{"broken UTF-8", entry(Entry{Description: "a\xff"}), "control characters"},
		{"nx", entry(Entry{NX: 4}), "nx policy 4"},
		{"two modes", entry(Entry{TextMode: true, HighestMode: true}), "one of both"},
		{"id taken", entry(Entry{ID: value.BootManager()}), "taken by another object"},
		{"same id twice", Options{Entries: []Entry{{}, {ID: entryID(0)}}}, "entry 2: id"},
		{"extra of another format", entry(Entry{Extra: []Element{{element.NX, value.String("OptIn")}}}), `wants format "integer", its value has "string"`},
		{"extra without value", entry(Entry{Extra: []Element{{element.NX, nil}}}), "no value"},
		{"too many", Options{Entries: make([]Entry, 210)}, "210 entries"},
		{"SDI", Options{SDI: "boot.sdi"}, "path of boot.sdi"},
		{"small blocks", Options{BlockSize: 7}, "block size 7: want 8 to 65464"},
		{"large blocks", Options{BlockSize: 65465}, "block size 65465"},
		{"negative window", Options{WindowSize: -1}, "window size -1: want 1 to 65535"},
		{"large window", Options{WindowSize: 65536}, "window size 65536"},
		{"half a second", Options{Timeout: time.Second / 2}, "whole seconds"},
		{"negative timeout", Options{Timeout: -time.Second}, "whole seconds"},
		{"locale", Options{Locale: "german"}, "language tag"},
		{"firmware", Options{Firmware: 2}, "want UEFI or BIOS"},
		{"fallback alone", Options{MulticastFallback: true}, "without multicast"},
		{"baud rate", Options{KernelDebug: true, Debugger: &Debugger{BaudRate: 1200}}, "baud rate 1200 of the debugger"},
		{"serial port", Options{EMS: &EMS{Port: 5}}, "serial port 5 of the serial console"},
		{"one port for both", Options{KernelDebug: true, EMS: &EMS{}}, "both on serial port 1"},
		{"two debuggers", Options{Debugger: &Debugger{Host: host, Port: 1, Key: "1.2.3.4"}}, "one of both"},
		{"debugger's key", Options{Debugger: &Debugger{Host: host, Key: "1.2.3"}}, "four groups"},
		{"debugger's UDP port", Options{Debugger: &Debugger{Host: host, HostPort: 80, Key: "1.2.3.4"}}, "49152"},
		{"debugger by IPv6", Options{Debugger: &Debugger{Host: netip.MustParseAddr("::1"), Key: "1.2.3.4"}}, "IPv4"},
		{"key without host", Options{Debugger: &Debugger{Key: "1.2.3.4"}}, "without its address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Ramdisk(tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

// TestRamdiskProperty makes stores out of random settings: each is read again as it
// was written, is a valid hive, is the same for the same settings, and says in words
// what was set.
func TestRamdiskProperty(t *testing.T) {
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 5))
		name := func(limit int) string {
			b := make([]byte, 1+r.IntN(limit))
			for i := range b {
				b[i] = "abcXYZ019-_"[r.IntN(11)]
			}
			return string(b)
		}
		maybe := func() bool { return r.IntN(2) == 0 }
		yes := maybe()
		o := Options{
			Firmware: Firmware(r.IntN(2)), BlockSize: 8 + r.IntN(65457), WindowSize: 1 + r.IntN(65535),
			SDI: `\` + name(250), ShowMenu: maybe(), Timeout: time.Duration(r.IntN(65536)) * time.Second,
		}
		if maybe() {
			o.VariableWindow = &yes
		}
		if maybe() {
			o.EMS = &EMS{Port: 1 + r.IntN(4), BaudRate: 115200}
		}
		for range min(1+r.IntN(1<<r.IntN(9)), maxEntries) {
			o.Entries = append(o.Entries, Entry{
				WIM: `\` + name(100) + `\` + name(100), Description: name(255), NX: NXPolicy(r.IntN(4)),
				LoadOptions: strings.Repeat("x", r.IntN(2049)), TestSigning: maybe(),
			})
		}
		s := mustRamdisk(t, o)
		b := mustBytes(t, s)
		back, err := Parse(b)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want := canonical(s)
		want.Modified = back.Modified // the fixed one
		if d := cmp.Diff(want, back); d != "" || len(back.Notes) != 0 {
			t.Fatalf("seed %d: read again it differs, notes %q:\n%s", seed, back.Notes, d)
		}
		if !bytes.Equal(b, mustBytes(t, mustRamdisk(t, o))) || !bytes.Equal(b, mustBytes(t, back)) {
			t.Fatalf("seed %d: the same store has other bytes", seed)
		}
		var words strings.Builder
		if err := back.Describe(&words); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			fmt.Sprintf("ramdisktftpblocksize    %d\n", o.BlockSize), fmt.Sprintf("ramdisktftpwindowsize   %d\n", o.WindowSize),
			"ramdisksdipath          " + o.SDI + "\n", "ramdisk=[boot]" + o.Entries[len(o.Entries)-1].WIM + ",{ramdiskoptions}\n",
			"description             " + o.Entries[0].Description + "\n",
		} {
			if !strings.Contains(words.String(), want) {
				t.Fatalf("seed %d: no %q in words", seed, want)
			}
		}
	}
}

// TestRamdiskKeepsOptions: making a store does not change what the caller has.
func TestRamdiskKeepsOptions(t *testing.T) {
	o := Options{Entries: []Entry{{}}, EMS: &EMS{}, Debugger: &Debugger{Port: 2}}
	mustRamdisk(t, o)
	if d := cmp.Diff(Options{Entries: []Entry{{}}, EMS: &EMS{}, Debugger: &Debugger{Port: 2}}, o,
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
		t.Errorf("options changed:\n%s", d)
	}
}
