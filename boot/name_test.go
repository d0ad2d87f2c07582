package boot

import (
	"errors"
	"strings"
	"testing"
)

func TestCleanName(t *testing.T) {
	tests := []struct {
		in, want  string
		forbidden bool
	}{
		{"snponly.efi", "snponly.efi", false},
		{`\Boot\BCD`, "Boot/BCD", false},
		{`/\EFI\Microsoft\Boot\boot.stl`, "EFI/Microsoft/Boot/boot.stl", false},
		{"//boot//x/./y/", "boot/x/y", false},
		{"undionly.kpxe\xff", "undionly.kpxe", false},
		{"undionly.kpxe\xfe", "undionly.kpxe\xfe", false},
		{"undionly.kpxe\x00", "undionly.kpxe", false},
		{"", "", false},
		{"/", "", false},
		{"...", "...", false},
		{"a..b", "a..b", false},
		{"..", "", true},
		{"/../etc/passwd", "", true},
		{`boot\..\..\etc`, "", true},
		{"a/../b", "", true},
		{"a\nb", "", true},
		{"a\x00b", "", true},
		{strings.Repeat("a", 513), "", true},
	}
	for _, tt := range tests {
		got, err := CleanName(tt.in)
		if got != tt.want || errors.Is(err, ErrForbidden) != tt.forbidden {
			t.Errorf("CleanName(%q) = %q, %v; want %q, forbidden %v", tt.in, got, err, tt.want, tt.forbidden)
		}
	}
}

func TestScriptClient(t *testing.T) {
	tests := []struct {
		name string
		mac  string
		uuid string
		arch Arch
		has  bool
		ok   bool
	}{
		{"ipxe/52-54-00-ab-cd-ef", "52:54:00:ab:cd:ef", "", 0, false, true},
		{"IPXE/52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef", "", 0, false, true},
		{"ipxe/efi-x64/52-54-00-ab-cd-ef", "52:54:00:ab:cd:ef", "", ArchEFIX64, true, true},
		{"ipxe/efi-x86_64/52-54-00-ab-cd-ef/" + strings.ToUpper(testUUID), "52:54:00:ab:cd:ef", testUUID, ArchEFIX64, true, true},
		{"ipxe/pcbios-i386/" + testUUID, "", testUUID, ArchBIOS, true, true},
		{"ipxe/efi-arm64/" + testUUID, "", testUUID, ArchEFIARM64, true, true},
		{"ipxe/bios/52-54-00-ab-cd-ef/00000000-0000-0000-0000-000000000000", "52:54:00:ab:cd:ef", "", ArchBIOS, true, true},
		{"ipxe/bios/00000000-0000-0000-0000-000000000000", "", "", 0, false, false},
		{"ipxe/bios/ffffffff-ffff-ffff-ffff-ffffffffffff", "", "", 0, false, false},
		{"ipxe", "", "", 0, false, false},
		{"ipxe/", "", "", 0, false, false},
		{"ipxe/efi-x64", "", "", 0, false, false},
		{"ipxe/snponly.efi", "", "", 0, false, false},
		{"ipxe/52-54-00-ab-cd-ef-00-11", "", "", 0, false, false},
		{"ipxe/5254.00ab.cdef", "", "", 0, false, false},
		{"ipxe/52-54-00-ab-cd-e;", "", "", 0, false, false},
		{"ipxe/efi-x64/52-54-00-ab-cd-ef/" + testUUID + "/more", "", "", 0, false, false},
		{"boot/52-54-00-ab-cd-ef", "", "", 0, false, false},
	}
	for _, tt := range tests {
		c, ok := ScriptAsker(Client{}, tt.name)
		if ok != tt.ok {
			t.Errorf("%q: ok = %v, want %v", tt.name, ok, tt.ok)
			continue
		}
		if !ok {
			continue
		}
		if c.MAC.String() != tt.mac || c.UUID != tt.uuid || c.Arch != tt.arch || c.HasArch != tt.has || !c.IPXE {
			t.Errorf("%q: client %+v", tt.name, c)
		}
	}
}

// What the planner writes into a URL, the files must read back.
func TestScriptNameRoundTrip(t *testing.T) {
	for _, m := range []Machine{MachineUnknown, MachineBIOS, MachineEFIIA32, MachineEFIX64, MachineARM32, MachineARM64} {
		for _, c := range []Client{{MAC: testMAC}, {UUID: testUUID}, {MAC: testMAC, UUID: testUUID}} {
			name := ScriptName(m, c)
			got, ok := ScriptAsker(Client{}, name)
			if !ok || got.MAC.String() != c.MAC.String() || got.UUID != c.UUID {
				t.Errorf("%s: %+v %v, want %+v", name, got, ok, c)
			}
			if back := DefaultFirmware()[got.Arch].Machine; got.HasArch && back != m || got.HasArch != (m != MachineUnknown) {
				t.Errorf("%s: machine %q, want %q", name, back, m)
			}
		}
	}
}
