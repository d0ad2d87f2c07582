package content

import (
	"fmt"
	"slices"
	"strings"
)

// Clone copies c so that a caller may change it.
func (c *Content) Clone() *Content {
	n := *c
	n.Files = slices.Clone(c.Files)
	n.Images = slices.Clone(c.Images)
	n.Unusual = slices.Clone(c.Unusual)
	n.Programs = slices.Clone(c.Programs)
	for i := range n.Programs {
		p := &n.Programs[i]
		p.Success, p.Reboot = slices.Clone(p.Success), slices.Clone(p.Reboot)
	}
	if c.Checked != nil {
		checked := *c.Checked
		n.Checked = &checked
	}
	return &n
}

// Digests lists the objects of c, each once.
func (c *Content) Digests() []Digest {
	var ds []Digest
	for _, f := range c.Files {
		ds = append(ds, f.Digest)
	}
	slices.SortFunc(ds, func(a, b Digest) int { return strings.Compare(string(a[:]), string(b[:])) })
	return slices.Compact(ds)
}

// Attached are the files that were attached to a boot image.
func (c *Content) Attached() []File {
	var list []File
	for _, f := range c.Files {
		if f.Role == RoleAttached {
			list = append(list, f)
		}
	}
	return list
}

// Detach takes the attached files away of which gone is true, and counts them.
func (c *Content) Detach(gone func(File) bool) int {
	before := len(c.Files)
	c.Files = slices.DeleteFunc(c.Files, func(f File) bool { return f.Role == RoleAttached && gone(f) })
	return before - len(c.Files)
}

// SamePlace says whether two attached files have the same path.
func (f File) SamePlace(g File) bool { return strings.EqualFold(f.Name, g.Name) }

// Objects lists the files of c by object, each object once.
func (c *Content) Objects() []File {
	seen := map[Digest]bool{}
	var list []File
	for _, f := range c.Files {
		if !seen[f.Digest] {
			seen[f.Digest] = true
			list = append(list, f)
		}
	}
	return list
}

// Damage is nil for a content of which no damage is known, and otherwise an ErrDamaged
// that says what is wrong and what to do.
func (c *Content) Damage() error {
	if c.Checked == nil || c.Checked.Problem == "" {
		return nil
	}
	return fmt.Errorf("%w: %s: %s: check the disk, then castpoint content repair %s", ErrDamaged, c.ID, c.Checked.Problem, c.ID)
}
