package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"castpoint/deploy/sequence"
)

// Disk is a disk of this machine.
type Disk struct {
	Path      string `json:"path"`   // /dev/sda; \\.\PhysicalDrive0
	Number    int    `json:"number"` // as the system counts; diskpart's under Windows
	Size      int64  `json:"size"`   // bytes
	Sector    int    `json:"sector"` // bytes of a logical sector
	Model     string `json:"model,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Bus       string `json:"bus,omitempty"` // nvme, sata, usb, virtio ...
	Removable bool   `json:"removable,omitempty"`
	Rotates   bool   `json:"rotates,omitempty"`
}

// Plan is a layout on a disk.
type Plan struct {
	Disk    Disk     `json:"disk"`
	Table   string   `json:"table"`
	ID      string   `json:"id"` // GUID of a GPT; signature of an MBR, 0x and eight digits
	Volumes []Volume `json:"volumes"`
}

// Volume is a partition at its place, and what is on it.
type Volume struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Format   string `json:"format"`
	Label    string `json:"label"`
	Number   int    `json:"number"` // of the partition, from 1
	Start    int64  `json:"start"`  // bytes from the start of the disk
	Size     int64  `json:"size"`   // bytes
	ID       string `json:"id,omitempty"`
	Path     string `json:"path"`             // what Linux calls it
	Letter   string `json:"letter,omitempty"` // what Windows PE calls it: one letter
	Active   bool   `json:"active,omitempty"`
	Full     bool   `json:"full,omitempty"`
	Variable string `json:"variable,omitempty"`
}

// tail is what stays free at the end of a disk: the backup GPT has 33 sectors.
const tail = mib

// Place places what a step wants on a disk. GUIDs and signature are made of
// random. Nothing is written.
func Place(step *sequence.PartitionDisk, firmware string, d Disk, random io.Reader) (*Plan, error) {
	table, list, err := layout(step, firmware)
	if err != nil {
		return nil, err
	}
	p := &Plan{Disk: d, Table: table}
	if err := p.place(list); err != nil {
		return nil, fmt.Errorf("disk %s: %w", d.Path, err)
	}
	if err := p.letters(list); err != nil {
		return nil, err
	}
	if err := p.identify(random); err != nil {
		return nil, fmt.Errorf("make identifiers of partitions: %w", err)
	}
	return p, nil
}

func (p *Plan) place(list []sequence.Partition) error {
	if p.Disk.Sector < 512 || mib%p.Disk.Sector != 0 {
		return fmt.Errorf("sectors of %d bytes: want 512 or 4096", p.Disk.Sector)
	}
	if limit := int64(1<<32) * int64(p.Disk.Sector); p.Table == MBR && p.Disk.Size > limit {
		return fmt.Errorf("it has %d bytes, of which an MBR reaches %d: use a GPT", p.Disk.Size, limit)
	}
	room := (p.Disk.Size - mib - tail) / mib * mib
	left := room
	for _, want := range list {
		left -= wholeMiB(want.Size.Bytes)
	}
	if left < 0 {
		return fmt.Errorf("the partitions need %d MiB, it has room for %d: choose a larger disk, or smaller partitions", (room-left)/mib, max(room, 0)/mib)
	}
	rest := left
	for _, want := range list {
		rest -= shareOf(left, want.Size)
	}
	start := int64(mib)
	for i, want := range list {
		size := wholeMiB(want.Size.Bytes) + shareOf(left, want.Size)
		if want.Size.Rest {
			size = rest
		}
		k, _ := kindOf(want.Type)
		if size < k.smallest {
			return fmt.Errorf("partition %s gets %d MiB, one of type %s has at least %d: choose a larger disk", want.Name, size/mib, want.Type, k.smallest/mib)
		}
		p.Volumes = append(p.Volumes, Volume{
			Name: want.Name, Type: want.Type, Format: want.Format, Label: want.Label,
			Number: i + 1, Start: start, Size: size, Path: partitionPath(p.Disk.Path, i+1),
			Active: want.Active, Full: want.Full, Variable: want.Variable,
		})
		start += size
	}
	return nil
}

func wholeMiB(n int64) int64 { return (n + mib - 1) / mib * mib }

// shareOf is a share of what the sizes leave; 0 for a size that is no share.
func shareOf(left int64, e sequence.Extent) int64 {
	return int64(float64(left)*e.Share/100) / mib * mib
}

// letters gives every volume that Windows PE can reach a letter: the one that it
// asks for, the ones that Microsoft's own scripts use, else a free one. A to C
// are left to what firmware and Windows PE put there, X is Windows PE.
func (p *Plan) letters(list []sequence.Partition) error {
	const all = "DEFGHIJKLMNOPQTUVYZWSR"
	used := make(map[string]bool)
	for i, want := range list {
		if used[want.Letter] && want.Letter != "" {
			return fmt.Errorf("two partitions want the letter %s", want.Letter)
		}
		used[want.Letter] = true
		p.Volumes[i].Letter = want.Letter
	}
	for i := range p.Volumes {
		v := &p.Volumes[i]
		if v.Letter != "" || v.Format != NTFS && v.Format != FAT32 && v.Format != ExFAT {
			continue
		}
		for _, letter := range usual(v) + all {
			if s := string(letter); !used[s] {
				v.Letter, used[s] = s, true
				break
			}
		}
		if v.Letter == "" {
			return errors.New("more partitions than there are drive letters")
		}
	}
	return nil
}

// usual is the letter that a volume has in Microsoft's scripts.
func usual(v *Volume) string {
	switch {
	case v.Type == sequence.PartitionESP || v.Active:
		return "S"
	case v.Type == sequence.PartitionRecovery:
		return "R"
	case strings.EqualFold(v.Name, "Windows"):
		return "W"
	}
	return ""
}

// partitionPath is what Linux calls a partition of a disk: behind a name that ends
// in a digit comes a p.
func partitionPath(disk string, number int) string {
	if n := len(disk); n > 0 && disk[n-1] >= '0' && disk[n-1] <= '9' {
		return fmt.Sprintf("%sp%d", disk, number)
	}
	return fmt.Sprintf("%s%d", disk, number)
}

func (p *Plan) identify(random io.Reader) error {
	if p.Table == MBR {
		var b [4]byte
		for binary.LittleEndian.Uint32(b[:]) == 0 {
			if _, err := io.ReadFull(random, b[:]); err != nil {
				return err
			}
		}
		p.ID = fmt.Sprintf("0x%08x", binary.LittleEndian.Uint32(b[:]))
		return nil
	}
	var err error
	if p.ID, err = newGUID(random); err != nil {
		return err
	}
	for i := range p.Volumes {
		if p.Volumes[i].ID, err = newGUID(random); err != nil {
			return err
		}
	}
	return nil
}

// newGUID makes a random GUID (RFC 9562 section 5.4).
func newGUID(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])), nil
}

// Volume returns the volume with that name, in any letter case.
func (p *Plan) Volume(name string) (Volume, bool) {
	for _, v := range p.Volumes {
		if strings.EqualFold(v.Name, name) {
			return v, true
		}
	}
	return Volume{}, false
}

// PartUUID is what the Linux kernel calls a partition: the GUID of a GPT's, of an MBR
// the signature and the number.
func (p *Plan) PartUUID(v Volume) string {
	if p.Table == MBR {
		return fmt.Sprintf("%s-%02x", strings.TrimPrefix(p.ID, "0x"), v.Number)
	}
	return strings.ToLower(v.ID)
}
