package content

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"castpoint/content/wim"
)

// splitSources finds the other parts of the split WIM that s, open as file, is a
// part of. The first part is the image, the others are its parts. look gives the
// files that may be parts; what is no WIM, or no part of this one, is left out.
// When parts are missing, those that are there are given: describing them says
// so.
func splitSources(s source, file *os.File, look func(take func(source, *os.File) error) error) (image source, more []source, err error) {
	info, err := wim.Describe(s.at(file), s.size)
	if err != nil || !info.Split() {
		return s, nil, nil //nolint:nilerror // what is wrong with it is found by whoever describes it
	}
	byNumber := map[int]source{info.Part: s}
	err = look(func(p source, f *os.File) error {
		r := p.at(f)
		if !wim.IsPartOf(r, p.size, info.GUID) {
			return nil
		}
		other, err := wim.Describe(r, p.size)
		if err != nil {
			return fmt.Errorf("%w file %s: %w", ErrFile, p.text(), err)
		}
		if old, ok := byNumber[other.Part]; ok {
			return fmt.Errorf("%w file %s: it is part %d of the split WIM, and so is %s: remove one of them", ErrFile, p.text(), other.Part, old.text())
		}
		byNumber[other.Part] = p
		return nil
	})
	if err != nil {
		return s, nil, err
	}
	image = s
	for n := 1; n <= info.Parts; n++ {
		p, ok := byNumber[n]
		if !ok {
			continue
		}
		if n == 1 {
			image = p
			image.role = RoleImage
			continue
		}
		p.role = RolePart
		more = append(more, p)
	}
	return image, more, nil
}

// beside gives the files beside a file that have the same extension.
func beside(file string, take func(source, *os.File) error) error {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("look for the parts of a split WIM: %w", err)
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(file), e.Name())
		if e.Name() == filepath.Base(file) || !e.Type().IsRegular() || !strings.EqualFold(filepath.Ext(other), filepath.Ext(file)) {
			continue
		}
		f, info, err := openSource(other)
		if err != nil {
			return err
		}
		err = take(fileSource(RolePart, other, info), f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// splitMedia finds the parts of the WIM of setup media, which are among its files.
func splitMedia(first source, files []source) ([]source, error) {
	f, err := first.open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	image, more, err := splitSources(first, f, func(take func(source, *os.File) error) error {
		for _, s := range files {
			if s.name == first.name || !sameFolder(s.name, first.name) {
				continue
			}
			f, err := s.open()
			if err != nil {
				return err
			}
			if err := errors.Join(take(s, f), f.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	return append([]source{image}, more...), err
}

// sameFolder says that two files of setup media may be parts of one WIM.
func sameFolder(a, b string) bool {
	return strings.EqualFold(path.Dir(a), path.Dir(b)) && strings.EqualFold(path.Ext(a), path.Ext(b))
}

// describeWIM describes the WIM that sources are, all parts of it.
func describeWIM(sources []source) (*wim.Info, error) {
	parts := make([]wim.Part, 0, len(sources))
	for _, p := range sources {
		f, err := p.open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		parts = append(parts, wim.Part{Name: p.text(), R: p.at(f), Size: p.size})
	}
	w, err := wim.DescribeSet(parts)
	var missing *wim.MissingPartsError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%w file %s: %w: put all parts into one folder", ErrFile, sources[0].text(), err)
	case err != nil:
		return nil, fmt.Errorf("%w file %w", ErrFile, err)
	}
	return w, nil
}

// unusual says what of a WIM keeps it from being applied by every program.
func unusual(w *wim.Info) []string {
	var list []string
	if w.Pipable {
		list = append(list, "the WIM is pipable: only wimlib reads it, Microsoft's programs (DISM, Windows Setup) do not")
	}
	if w.Solid || w.Compression == wim.CompressionLZMS {
		list = append(list, fmt.Sprintf("the WIM is of the kind %s: DISM applies it from Windows 8.1 on, boot managers and programs before that do not read it, and one file costs up to 64 MiB of decompression", variant(w)))
	} else if w.ChunkSize > 1<<15 {
		list = append(list, fmt.Sprintf("the WIM has chunks of %d KiB: programs before Windows 8 read no other size than 32 KiB", w.ChunkSize>>10))
	}
	if w.Split() {
		list = append(list, fmt.Sprintf("the WIM is split into %d parts: DISM needs all of them (/SWMFile), and multicast sends only contents of one file (wimlib-imagex join makes one)", w.Parts))
	}
	if !w.Integrity {
		list = append(list, "the WIM has no integrity table: damage it came with is not noticed before its files are read (castpoint wim verify reads them)")
	}
	return list
}
