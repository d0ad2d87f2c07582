package disk

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// external disks are never chosen by number or size: they are somebody's backup.
func (d Disk) external() bool { return d.Removable || d.Bus == "usb" }

// Fixed are the disks that are built in.
func Fixed(disks []Disk) []Disk {
	return slices.DeleteFunc(slices.Clone(disks), Disk.external)
}

// order sorts disks by kind, then as they are counted: sda to sdz come before sdaa,
// nvme2n1 before nvme10n1.
func order(disks []Disk) {
	slices.SortStableFunc(disks, func(a, b Disk) int {
		nameA, nameB := path.Base(a.Path), path.Base(b.Path)
		if nameA[:min(2, len(nameA))] != nameB[:min(2, len(nameB))] {
			return cmp.Compare(nameA, nameB)
		}
		return cmp.Or(cmp.Compare(len(nameA), len(nameB)), cmp.Compare(nameA, nameB))
	})
}

// Choose finds the disk that a sequence names: "", "first" and "0" are the first
// built-in disk, other numbers count on; smallest and largest compare the built-in
// ones; serial:TEXT and a path name any disk.
func Choose(disks []Disk, want string) (Disk, error) {
	fixed := Fixed(disks)
	if len(disks) == 0 {
		return Disk{}, errors.New("this machine has no disk that the boot environment knows: a driver may be missing")
	}
	if want == "" || want == "first" {
		want = "0"
	}
	bySize := func(a, b Disk) int { return cmp.Compare(a.Size, b.Size) }
	if n, err := strconv.Atoi(want); err == nil && n >= 0 && n < len(fixed) {
		return fixed[n], nil
	}
	switch {
	case want == "largest" && len(fixed) > 0:
		return slices.MaxFunc(fixed, bySize), nil
	case want == "smallest" && len(fixed) > 0:
		return slices.MinFunc(fixed, bySize), nil
	}
	serial, hasSerial := strings.CutPrefix(want, "serial:")
	for _, d := range disks {
		if d.Path == want || hasSerial && d.Serial == serial {
			return d, nil
		}
	}
	return Disk{}, fmt.Errorf("there is no disk %q; there are %s", want, describe(disks))
}

// describe lists disks in one line, for messages.
func describe(disks []Disk) string {
	var words []string
	for _, d := range disks {
		s := fmt.Sprintf("%s (%d GB", d.Path, d.Size/1_000_000_000)
		if d.Model != "" {
			s += ", " + d.Model
		}
		if d.external() {
			s += ", not built in"
		}
		words = append(words, s+")")
	}
	return strings.Join(words, ", ")
}
