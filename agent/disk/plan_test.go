package disk

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/deploy/sequence"
)

var update = flag.Bool("update", false, "write the golden files anew")

// steady is random bytes that are the same in every run.
func steady() *rand.ChaCha8 { return rand.NewChaCha8([32]byte{1}) }

func testDisk(size int64) Disk { return Disk{Path: "/dev/sda", Size: size, Sector: 512} }

func mustPlace(t *testing.T, step sequence.PartitionDisk, firmware string, d Disk) *Plan {
	t.Helper()
	p, err := Place(&step, firmware, d, steady())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// windowsList is a layout for both firmwares, as the template for Windows has it.
func windowsList() []sequence.Partition {
	extent := func(s string) sequence.Extent {
		e, err := sequence.ParseExtent(s)
		if err != nil {
			panic(err)
		}
		return e
	}
	return []sequence.Partition{
		{Name: "System", Type: sequence.PartitionESP, Size: extent("300MiB"), Firmware: "uefi"},
		{Name: "Reserved", Type: sequence.PartitionMSR, Size: extent("16MiB"), Firmware: "uefi"},
		{Name: "System", Size: extent("500MiB"), Firmware: "bios", Active: true},
		{Name: "Windows", Size: extent("rest")},
		{Name: "Data", Size: extent("25%"), Label: "My Data", Full: true, Letter: "K:"},
		{Name: "Recovery", Type: sequence.PartitionRecovery, Size: extent("1GiB"), Firmware: "uefi"},
	}
}

// TestScripts compares the scripts of whole layouts with golden files: sfdisk's and
// diskpart's, and the commands that format.
func TestScripts(t *testing.T) {
	for _, c := range []struct {
		name, firmware string
		step           sequence.PartitionDisk
		disk           Disk
	}{
		{"windows-uefi", "uefi", sequence.PartitionDisk{Partitions: windowsList()}, testDisk(64 << 30)},
		{"windows-bios", "bios", sequence.PartitionDisk{Partitions: windowsList()}, testDisk(64 << 30)},
		{"standard-windows-uefi", "uefi", sequence.PartitionDisk{Layout: "windows"}, Disk{Path: "/dev/nvme0n1", Number: 1, Size: 256e9, Sector: 4096}},
		{"standard-windows-bios", "bios", sequence.PartitionDisk{Layout: "windows"}, testDisk(256e9)},
		{"standard-linux-uefi", "uefi", sequence.PartitionDisk{Layout: "linux"}, testDisk(20e9)},
		{"standard-data", "uefi", sequence.PartitionDisk{Layout: "data"}, testDisk(20e9)},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := mustPlace(t, c.step, c.firmware, c.disk)
			var b strings.Builder
			b.WriteString("# " + strings.Join(p.SfdiskCommand(), " ") + "\n" + p.Sfdisk() + "\n# format\n")
			for _, v := range p.Volumes {
				if args := p.Mkfs(v, 0); args != nil {
					b.WriteString(strings.Join(args, " ") + "\n")
				}
			}
			b.WriteString("\n# diskpart\n" + strings.ReplaceAll(p.Diskpart(), "\r\n", "\n"))
			golden(t, c.name+".golden", b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err, ": go test -update writes it")
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs:\n%s", name, d)
	}
}

// TestSfdiskTakesIt has sfdisk make every table on a file, and reads it back.
func TestSfdiskTakesIt(t *testing.T) {
	sfdisk, err := exec.LookPath("sfdisk")
	if err != nil {
		if sfdisk, err = exec.LookPath("/usr/sbin/sfdisk"); err != nil {
			t.Fatal("sfdisk is not here: run test/install-tools")
		}
	}
	for _, firmware := range []string{"uefi", "bios"} {
		path := filepath.Join(t.TempDir(), "disk")
		const size = 8 << 30
		if err := errorOf(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		p := mustPlace(t, sequence.PartitionDisk{Partitions: windowsList()}, firmware, Disk{Path: path, Size: size, Sector: 512})
		args := p.SfdiskCommand()
		cmd := exec.Command(sfdisk, args[1:]...)
		cmd.Stdin = strings.NewReader(p.Sfdisk())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s\n%s", firmware, err, out, p.Sfdisk())
		}
		out, err := exec.Command(sfdisk, "--json", path).Output()
		if err != nil {
			t.Fatal(err)
		}
		var dump struct {
			Table struct {
				Label, ID  string
				Partitions []struct {
					Start, Size int64
					UUID, Type  string
					Bootable    bool
				}
			} `json:"partitiontable"`
		}
		if err := json.Unmarshal(out, &dump); err != nil {
			t.Fatal(err)
		}
		if !strings.EqualFold(dump.Table.ID, p.ID) || len(dump.Table.Partitions) != len(p.Volumes) {
			t.Fatalf("%s: sfdisk made %s with %d partitions, want %s with %d", firmware, dump.Table.ID, len(dump.Table.Partitions), p.ID, len(p.Volumes))
		}
		for i, v := range p.Volumes {
			got := dump.Table.Partitions[i]
			if got.Start*512 != v.Start || got.Size*512 != v.Size || firmware == "uefi" && !strings.EqualFold(got.UUID, v.ID) || got.Bootable != v.Active {
				t.Errorf("%s: partition %s: sfdisk made %+v, want %+v", firmware, v.Name, got, v)
			}
		}
	}
}

func errorOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// TestPlaceRefuses what cannot be: every message names the partition or the disk,
// and says what to do.
func TestPlaceRefuses(t *testing.T) {
	extent := func(s string) sequence.Extent {
		e, err := sequence.ParseExtent(s)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	rest := extent("rest")
	for _, c := range []struct {
		step sequence.PartitionDisk
		disk Disk
		want string
	}{
		{sequence.PartitionDisk{}, testDisk(1e9), "layout"},
		{sequence.PartitionDisk{Layout: "windows", Table: "apm"}, testDisk(1e9), "partition table"},
		{sequence.PartitionDisk{Layout: "windows"}, testDisk(1e9), "choose a larger disk"},
		{sequence.PartitionDisk{Layout: "windows"}, testDisk(1e6), "choose a larger disk"},
		{sequence.PartitionDisk{Layout: "windows"}, Disk{Path: "/dev/sda", Size: 64e9, Sector: 520}, "sectors of 520 bytes"},
		{sequence.PartitionDisk{Table: "mbr", Layout: "data"}, testDisk(3 << 40), "use a GPT"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest}, {Name: "a", Size: extent("1GiB")}}}, testDisk(4e9), "there twice"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest}, {Name: "B", Size: rest}}}, testDisk(4e9), "more than one"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: extent("60%")}, {Name: "B", Size: extent("50%")}}}, testDisk(4e9), "110%"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Type: "esp", Size: extent("10MiB")}}}, testDisk(4e9), "at least 34 MiB"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest, Active: true}}}, testDisk(4e9), "active"},
		{sequence.PartitionDisk{Table: "mbr", Partitions: []sequence.Partition{{Name: "A", Type: "msr", Size: rest}}}, testDisk(4e9), "GPT disk"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest, Label: "a*b"}}}, testDisk(4e9), "label"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest, Letter: "X"}}}, testDisk(4e9), "Windows PE"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest, Firmware: "bios"}}}, testDisk(4e9), "no partition for this machine's firmware"},
		{sequence.PartitionDisk{Partitions: []sequence.Partition{{Name: "A", Size: rest, Format: "zfs"}}}, testDisk(4e9), "format"},
		{sequence.PartitionDisk{Table: "mbr", Partitions: []sequence.Partition{
			{Name: "A", Size: extent("1GiB")}, {Name: "B", Size: extent("1GiB")}, {Name: "C", Size: extent("1GiB")}, {Name: "D", Size: extent("1GiB")}, {Name: "E", Size: rest},
		}}, testDisk(64e9), "room for 4"},
	} {
		if p, err := Place(&c.step, "uefi", c.disk, steady()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("plan %v, error %v; want one with %q", p, err, c.want)
		}
	}
}

// TestPlanFits is that partitions never overlap, leave the ends free and are where
// both systems put them, whatever the disk's size.
func TestPlanFits(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		size := 2<<30 + r.Int64N(4<<40)
		firmware := []string{"uefi", "bios"}[r.IntN(2)]
		d := Disk{Path: "/dev/sda", Size: size, Sector: []int{512, 4096}[r.IntN(2)]}
		if firmware == "bios" {
			d.Size = min(size, 1<<41)
		}
		p, err := Place(&sequence.PartitionDisk{Partitions: windowsList()}, firmware, d, steady())
		if err != nil {
			t.Fatalf("disk of %d bytes: %v", d.Size, err)
		}
		at := int64(mib)
		for _, v := range p.Volumes {
			if v.Start != at || v.Size <= 0 || v.Size%mib != 0 {
				t.Fatalf("disk of %d bytes: volume %+v, want it to start at %d", d.Size, v, at)
			}
			at += v.Size
		}
		if at > d.Size-mib {
			t.Fatalf("disk of %d bytes: partitions end at %d", d.Size, at)
		}
	}
}

func TestChoose(t *testing.T) {
	disks := []Disk{
		{Path: "/dev/nvme1n1", Size: 1e12, Serial: "N1"}, {Path: "/dev/sdb", Size: 5e11, Bus: "usb", Serial: "USB"},
		{Path: "/dev/sda", Size: 2e12, Serial: "S1"}, {Path: "/dev/nvme0n1", Size: 2.5e11, Serial: "N0"}, {Path: "/dev/sdaa", Size: 1e10},
	}
	order(disks)
	for want, path := range map[string]string{
		"": "/dev/nvme0n1", "0": "/dev/nvme0n1", "first": "/dev/nvme0n1", "1": "/dev/nvme1n1", "2": "/dev/sda", "3": "/dev/sdaa",
		"largest": "/dev/sda", "smallest": "/dev/sdaa", "serial:USB": "/dev/sdb", "/dev/sdb": "/dev/sdb",
	} {
		if d, err := Choose(disks, want); err != nil || d.Path != path {
			t.Errorf("%q chooses %s, %v; want %s", want, d.Path, err, path)
		}
	}
	for _, want := range []string{"4", "-1", "serial:none", "/dev/sdz", "biggest"} {
		if d, err := Choose(disks, want); err == nil || !strings.Contains(err.Error(), "/dev/nvme0n1") {
			t.Errorf("%q chooses %s, error %v does not list the disks", want, d.Path, err)
		}
	}
	if _, err := Choose(nil, ""); err == nil || !strings.Contains(err.Error(), "driver") {
		t.Errorf("no disk: %v", err)
	}
}

// memoryDisk is a disk in memory, whose writes can be cut short.
type memoryDisk struct {
	b    []byte
	left int // bytes until it fails; -1 for never
}

func (m *memoryDisk) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(b, at)
}
func (m *memoryDisk) Sync() error { return nil }

func (m *memoryDisk) WriteAt(b []byte, at int64) (int, error) {
	n := len(b)
	if m.left >= 0 && n > m.left {
		n = m.left
	}
	if m.left >= 0 {
		m.left -= n
	}
	copy(m.b[at:], b[:n])
	if n < len(b) {
		return n, os.ErrDeadlineExceeded
	}
	return n, nil
}
