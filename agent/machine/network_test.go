package machine

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What efibootmgr 17 prints of OVMF, and bcdedit of a German Windows.
const (
	ovmfMenu = "BootCurrent: 0004\nTimeout: 0 seconds\nBootOrder: 0000,0004,0001,0002,0003\n" +
		"Boot0000* UiApp\tFvVol(7cb8bdc9-f8eb-4f34-aaea-3ee4af6516a1)/FvFile(462caa21-7614-4503-836e-8ab6f4662331)\n" +
		"Boot0001* UEFI PXEv6 (MAC:525400123456)\tPciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv6([::]:<->[::]:,0,0)N.....YM....R,Y.\n" +
		"Boot0002* UEFI PXEv4 (MAC:525400000001)\tPciRoot(0x0)/Pci(0x2,0x0)/MAC(525400000001,1)/IPv4(0.0.0.00.0.0.0,0,0)N.....YM....R,Y.\n" +
		"Boot0003* UEFI PXEv4 (MAC:525400123456)\tPciRoot(0x0)/Pci(0x3,0x0)/MAC(525400123456,1)/IPv4(0.0.0.00.0.0.0,0,0)N.....YM....R,Y.\n" +
		"Boot0004* debian\tHD(1,GPT,5a6c,0x800,0x96000)/File(\\EFI\\debian\\grubx64.efi)\n"
	germanMenu = "\r\nFirmware-Start-Manager\r\n---------------------\r\nBezeichner              {fwbootmgr}\r\ndisplayorder            {bootmgr}\r\n" +
		"                        {11111111-2222-3333-4444-555555555501}\r\ntimeout                 0\r\n\r\n" +
		"Windows-Start-Manager\r\n--------------------\r\nBezeichner              {bootmgr}\r\ndescription             Windows Boot Manager\r\n\r\n" +
		"Firmwareanwendung (101fffff)\r\n-------------------------------\r\nBezeichner              {11111111-2222-3333-4444-555555555501}\r\ndescription             UEFI PXEv6 (MAC:525400123456)\r\n\r\n" +
		"Firmwareanwendung (101fffff)\r\n-------------------------------\r\nBezeichner              {11111111-2222-3333-4444-555555555502}\r\ndescription             UEFI PXEv4 (MAC:525400123456)\r\n\r\n" +
		"Firmwareanwendung (101fffff)\r\n-------------------------------\r\nBezeichner              {11111111-2222-3333-4444-555555555503}\r\ndescription             PLANAR DISK 1\r\n"
)

func TestBootNetwork(t *testing.T) {
	uefi := func(onDisk bool, says string) (*Linux, *recorder) {
		l, r := newTestLinux(t)
		if err := os.Mkdir(l.efi, 0o755); err != nil {
			t.Fatal(err)
		}
		l.onDisk = onDisk
		r.says["efibootmgr"] = Result{Tail: says}
		return l, r
	}
	l, r := uefi(true, ovmfMenu)
	entry, err := l.BootNetwork(t.Context(), "52:54:00:12:34:56")
	if err != nil || entry != "0003 UEFI PXEv4 (MAC:525400123456)" || !strings.HasSuffix(r.b.String(), "efibootmgr --quiet --bootnext 0003\n") {
		t.Errorf("entry %q, %v; it ran\n%s", entry, err, r.b.String())
	}
	l, _ = uefi(true, ovmfMenu)
	if entry, err := l.BootNetwork(t.Context(), ""); err != nil || !strings.HasPrefix(entry, "0002 ") {
		t.Errorf("any card: %q, %v", entry, err)
	}
	// The boot environment is booted once more by what has booted it.
	l, _ = uefi(false, ovmfMenu)
	if entry, err := l.BootNetwork(t.Context(), ""); err != nil || entry != "0004 debian" {
		t.Errorf("entry %q, %v", entry, err)
	}
	l, _ = uefi(true, "BootOrder: 0001\nBoot0001* Disk\tHD(1)\n")
	if _, err := l.BootNetwork(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "no entry for the network") {
		t.Errorf("no entry: %v", err)
	}
	bios, _ := newTestLinux(t)
	if _, err := bios.BootNetwork(t.Context(), ""); !errors.Is(err, errOwnOrder) {
		t.Errorf("BIOS: %v", err)
	}
}

func TestWindowsBootNetwork(t *testing.T) {
	r := &recorder{says: map[string]Result{"bcdedit": {Tail: germanMenu}}}
	w := NewWindows(r, "uefi", false, "")
	entry, err := w.BootNetwork(t.Context(), "52:54:00:12:34:56")
	if err != nil || entry != "UEFI PXEv4 (MAC:525400123456)" ||
		!strings.HasSuffix(r.b.String(), "bcdedit /set {fwbootmgr} bootsequence {11111111-2222-3333-4444-555555555502}\n") {
		t.Errorf("entry %q, %v; it ran\n%s", entry, err, r.b.String())
	}
	r.says["bcdedit"] = Result{Tail: strings.ReplaceAll(germanMenu, "PXE", "XXX")}
	if entry, err := w.BootNetwork(t.Context(), ""); err == nil {
		t.Errorf("entry %q of a menu without one", entry)
	}
	if _, err := NewWindows(r, "bios", false, "").BootNetwork(t.Context(), ""); !errors.Is(err, errOwnOrder) {
		t.Errorf("BIOS: %v", err)
	}
}

func TestParseMounts(t *testing.T) {
	got := parseMounts("22 1 254:2 / / rw - ext4 /dev/vda2 rw\n30 22 254:1 / /boot/efi rw - vfat /dev/vda1 rw\n" +
		"31 22 254:2 /var/lib/x /mnt/bound rw - ext4 /dev/vda2 rw\n32 22 8:1 /sub /mnt/a\\040b rw - ext4 /dev/sda1 rw\n33 22 8:1 / /mnt/whole rw - ext4 /dev/sda1 rw\nshort\n")
	want := map[string]string{"254:2": "/", "254:1": "/boot/efi", "8:1": "/mnt/whole"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got := unescapeMount(`/mnt/a\040b\134`); got != `/mnt/a b\` {
		t.Errorf("unescaped %q", got)
	}
}
