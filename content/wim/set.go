package wim

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"castpoint/content/wim/format"
)

// Part is one file of a split WIM.
type Part struct {
	Name string // for messages; may be empty
	R    io.ReaderAt
	Size int64
}

// Wrap puts the name of the part into an error.
func (p Part) Wrap(err error) error {
	if p.Name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", p.Name, err)
}

// MissingPartsError says which parts of a split WIM are not there.
type MissingPartsError struct {
	GUID    string // of the WIM
	Missing []int  // numbers, from 1
	Total   int    // parts that the WIM has
}

func (e *MissingPartsError) Error() string {
	list := make([]string, 0, len(e.Missing))
	for _, n := range e.Missing {
		list = append(list, strconv.Itoa(n))
	}
	noun, verb := "part", "is"
	if len(list) > 1 {
		noun, verb = "parts", "are"
	}
	return fmt.Sprintf("%v: %s %s of the %d parts of this split WIM %s missing", ErrTruncated, noun, strings.Join(list, ", "), e.Total, verb)
}

// Unwrap makes errors.Is(err, ErrTruncated) true.
func (e *MissingPartsError) Unwrap() error { return ErrTruncated }

// maxMissingParts is how many missing parts are listed.
const maxMissingParts = 20

// sortParts describes the parts of one WIM and puts them in order. A WIM that
// is not split is one part.
func sortParts(parts []Part) ([]Part, []*Info, error) {
	type described struct {
		Part
		info *Info
	}
	if len(parts) == 0 {
		return nil, nil, errors.New("no parts of a WIM were given")
	}
	list := make([]described, 0, len(parts))
	for _, p := range parts {
		info, err := Describe(p.R, p.Size)
		if err != nil {
			return nil, nil, p.Wrap(err)
		}
		list = append(list, described{p, info})
	}
	slices.SortStableFunc(list, func(a, b described) int { return a.info.Part - b.info.Part })
	first := list[0].info
	missing := &MissingPartsError{GUID: first.GUID, Total: first.Parts}
	next := 1
	for _, p := range list {
		switch {
		case p.info.GUID != first.GUID:
			return nil, nil, p.Wrap(format.Corrupt("it belongs to another WIM than %s: their GUIDs are %s and %s", list[0].Name, p.info.GUID, first.GUID))
		case p.info.Parts != first.Parts:
			return nil, nil, p.Wrap(format.Corrupt("it says that the WIM has %d parts, %s says %d", p.info.Parts, list[0].Name, first.Parts))
		case p.info.Part < next:
			return nil, nil, p.Wrap(format.Corrupt("it is part %d, as another of the files is", p.info.Part))
		}
		for ; next < p.info.Part; next++ {
			missing.add(next)
		}
		next++
	}
	for ; next <= first.Parts; next++ {
		missing.add(next)
	}
	if missing.Missing != nil {
		return nil, nil, missing
	}
	for i, p := range list {
		if len(p.info.Images) != len(first.Images) {
			return nil, nil, p.Wrap(format.Corrupt("it describes %d images, the first part %d", len(p.info.Images), len(first.Images)))
		}
		parts[i] = p.Part
	}
	infos := make([]*Info, 0, len(list))
	for _, p := range list {
		infos = append(infos, p.info)
	}
	return parts, infos, nil
}

func (e *MissingPartsError) add(n int) {
	if len(e.Missing) < maxMissingParts {
		e.Missing = append(e.Missing, n)
	}
}

// DescribeSet describes a split WIM by all its parts, in any order, or a WIM
// that is not split. Info.Part is 0 when there are several, and Size that of
// all. Errors: those of Describe; a *MissingPartsError; ErrCorrupt for parts
// that do not belong together or are there twice.
func DescribeSet(parts []Part) (*Info, error) {
	_, infos, err := sortParts(slices.Clone(parts))
	if err != nil {
		return nil, err
	}
	return joinInfos(infos), nil
}

func joinInfos(infos []*Info) *Info {
	if len(infos) == 1 {
		return infos[0]
	}
	whole := *infos[0]
	whole.Part = 0
	for _, i := range infos[1:] {
		whole.Size += i.Size
		whole.Blobs += i.Blobs
		whole.Solid = whole.Solid || i.Solid
		whole.Integrity = whole.Integrity && i.Integrity
		whole.Unfinished = whole.Unfinished || i.Unfinished
	}
	return &whole
}

// OpenSet reads the tables of a split WIM, all of whose parts are given in any
// order, or of a WIM that is not split. Errors: those of DescribeSet and Open.
func OpenSet(parts []Part) (*Reader, error) {
	sorted, infos, err := sortParts(slices.Clone(parts))
	if err != nil {
		return nil, err
	}
	return open(joinInfos(infos), sorted)
}
