package machine

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent/disk"
	"castpoint/deploy/sequence"
)

// fakeDrive is an NVMe drive: it formats its file when it is told to, unless it lies.
type fakeDrive struct {
	controller, namespace, active [identifySize]byte
	lies                          bool
	formatted                     []uint32 // dword 10
}

func newDrive() *fakeDrive {
	d := new(fakeDrive)
	d.controller[256] = 1 << 1 // Format NVM
	binary.LittleEndian.PutUint32(d.controller[516:], 1)
	return d
}

func (d *fakeDrive) do(path string, c nvmeCommand) error {
	switch {
	case c.opcode == nvmeFormat:
		d.formatted = append(d.formatted, c.cdw10)
		if d.lies {
			return nil
		}
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		return errors.Join(os.Truncate(path, 0), os.Truncate(path, st.Size()))
	case c.opcode == nvmeIdentify && c.cdw10 == identifyController:
		copy(c.data, d.controller[:])
	case c.opcode == nvmeIdentify && c.cdw10 == identifyNamespace && c.namespace == 1:
		copy(c.data, d.namespace[:])
	case c.opcode == nvmeIdentify && c.cdw10 == identifyActive:
		copy(c.data, d.active[:])
	default:
		return errors.New("status 0x1: no such command")
	}
	return nil
}

func TestSecureEraseNVMe(t *testing.T) {
	many := func(d *fakeDrive, fna byte) {
		binary.LittleEndian.PutUint32(d.controller[516:], 16)
		binary.LittleEndian.PutUint32(d.active[:], 1)
		binary.LittleEndian.PutUint32(d.active[4:], 2)
		d.controller[524] = fna
	}
	for _, c := range []struct {
		name  string
		set   func(*fakeDrive)
		word  uint32
		wrong string
	}{
		{name: "plain", set: func(*fakeDrive) {}, word: 1 << 9},
		// Layout 2 with metadata at the end of blocks, protection of type 1 in its first bytes.
		{name: "layout stays", set: func(d *fakeDrive) { d.namespace[26], d.namespace[29] = 0x12, 0x09 }, word: 1<<9 | 0x12 | 1<<5 | 1<<8},
		{name: "layout 18 stays", set: func(d *fakeDrive) { d.namespace[26] = 0x22 }, word: 1<<9 | 2 | 1<<12},
		{name: "one of two namespaces", set: func(d *fakeDrive) { many(d, 0) }, word: 1 << 9},
		{name: "all namespaces at once", set: func(d *fakeDrive) { many(d, 1<<1) }, wrong: "2 namespaces"},
		{name: "no Format NVM", set: func(d *fakeDrive) { d.controller[256] = 0 }, wrong: "take the method random or zero"},
		{name: "a lie", set: func(d *fakeDrive) { d.lies = true }, word: 1 << 9, wrong: "still there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, _ := newTestLinux(t)
			drive := newDrive()
			c.set(drive)
			l.kernel.(*fakeKernel).drive = drive
			d := fullDisk(t, busNVMe)
			err := l.Wipe(t.Context(), d, &sequence.WipeDisk{Method: sequence.WipeSecureErase}, nil)
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), d.Path) {
					t.Errorf("error %v, want one with %q and the disk", err, c.wrong)
				}
			} else if err != nil {
				t.Error(err)
			}
			if c.word == 0 && len(drive.formatted) > 0 || c.word != 0 && (len(drive.formatted) != 1 || drive.formatted[0] != c.word) {
				t.Errorf("dword 10 of the formats %#x, want %#x", drive.formatted, c.word)
			}
		})
	}
}

// fullDisk is a file for a disk, without a piece that is empty.
func fullDisk(t *testing.T, bus string) disk.Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	const size = 4 << 20
	if err := os.WriteFile(path, []byte(strings.Repeat("a secret\n", size/9+1)[:size]), 0o600); err != nil {
		t.Fatal(err)
	}
	return disk.Disk{Path: path, Size: size, Sector: 512, Bus: bus}
}

// security is the end of what hdparm -I prints.
func security(words string) string {
	return "/dev/sda:\n\nATA device, with non-removable media\n\tModel Number:       EXAMPLE SSD\nCommands/features:\n\tEnabled\tSupported:\n\t   *\tSMART feature set\n" +
		"\t    \tSecurity Mode feature set\nSecurity: \n\tMaster password revision code = 65534\n" + words +
		"\t2min for SECURITY ERASE UNIT. 2min for ENHANCED SECURITY ERASE UNIT.\nLogical Unit WWN Device Identifier: 5000000000000000\n\tenabled\n"
}

func TestParseSecurity(t *testing.T) {
	const not = "\tnot\t"
	for _, c := range []struct {
		text string
		want ataSecurity
	}{
		{security("\t\tsupported\n" + not + "enabled\n" + not + "locked\n" + not + "frozen\n" + not + "expired: security count\n\t\tsupported: enhanced erase\n"),
			ataSecurity{supported: true, enhanced: true}},
		{security("\t\tsupported\n" + not + "enabled\n" + not + "locked\n\t\tfrozen\n" + not + "expired: security count\n" + not + "supported: enhanced erase\n"),
			ataSecurity{supported: true, frozen: true}},
		{security("\t\tsupported\n\t\tenabled\n\t\tlocked\n" + not + "frozen\n" + not + "expired: security count\n" + not + "supported: enhanced erase\n\tSecurity level high\n"),
			ataSecurity{supported: true, enabled: true, locked: true}},
		{"/dev/sda:\n\nATA device, with non-removable media\n\tModel Number:       QEMU HARDDISK\n", ataSecurity{}},
	} {
		if got := parseSecurity(c.text); got != c.want {
			t.Errorf("%+v, want %+v, of\n%s", got, c.want, c.text)
		}
	}
}

func TestSecureEraseATA(t *testing.T) {
	ready := security("\t\tsupported\n\tnot\tenabled\n\tnot\tlocked\n\tnot\tfrozen\n\t\tsupported: enhanced erase\n")
	for _, c := range []struct {
		name, says, wrong string
		runs              []string
	}{
		// The programs are written down only, so what was on the disk is still there.
		{"ready", ready, "still there", []string{"-I", "--user-master u --security-set-pass castpoint", "--user-master u --security-erase-enhanced castpoint", "-I"}},
		{"frozen", strings.Replace(ready, "\tnot\tfrozen", "\t\tfrozen", 1), "HDD security freeze lock", []string{"-I"}},
		{"none", "ATA device\n", "take the method random or zero", []string{"-I"}},
		// Power went away while it erased itself: it is locked, and begins anew.
		{"locked", strings.NewReplacer("\tnot\tenabled", "\t\tenabled", "\tnot\tlocked", "\t\tlocked").Replace(ready), "still has its password",
			[]string{"-I", "--user-master u --security-unlock castpoint", "--user-master u --security-erase-enhanced castpoint", "-I",
				"--user-master u --security-disable castpoint"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, r := newTestLinux(t)
			d := fullDisk(t, busSATA)
			r.says["hdparm"] = Result{Tail: c.says}
			err := l.Wipe(t.Context(), d, &sequence.WipeDisk{Method: sequence.WipeSecureErase}, nil)
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("error %v, want one with %q", err, c.wrong)
			}
			want := ""
			for _, args := range c.runs {
				want += "hdparm " + args + " " + d.Path + "\n"
			}
			if got := r.b.String(); got != want {
				t.Errorf("runs\n%swant\n%s", got, want)
			}
		})
	}
}

// TestSecureEraseElsewhere: disks without a command of their own say so.
func TestSecureEraseElsewhere(t *testing.T) {
	for bus, want := range map[string]string{"virtio": "virtio", "": "not known", busMMC: "secure discard"} {
		l, _ := newTestLinux(t)
		l.kernel.(*fakeKernel).discard = errors.ErrUnsupported
		err := l.Wipe(t.Context(), fullDisk(t, bus), &sequence.WipeDisk{Method: sequence.WipeSecureErase}, nil)
		if !errors.Is(err, errNoErase) || !strings.Contains(err.Error(), want) {
			t.Errorf("bus %q: %v", bus, err)
		}
	}
}
