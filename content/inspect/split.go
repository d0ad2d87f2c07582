package inspect

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"castpoint/content"
	"castpoint/content/wim"
)

// splitSources finds the other parts of the split WIM that s, open as file, is a
// part of. The first part is the image, the others are its parts. look gives the
// files that may be parts; what is no WIM, or no part of this one, is left out.
// When parts are missing, those that are there are given: describing them says
// so.
func splitSources(s Source, file *os.File, look func(take func(Source, *os.File) error) error) (image Source, more []Source, err error) {
	info, err := wim.Describe(s.At(file), s.Size)
	if err != nil || !info.Split() {
		return s, nil, nil //nolint:nilerror // what is wrong with it is found by whoever describes it
	}
	byNumber := map[int]Source{info.Part: s}
	err = look(func(p Source, f *os.File) error {
		r := p.At(f)
		if !wim.IsPartOf(r, p.Size, info.GUID) {
			return nil
		}
		other, err := wim.Describe(r, p.Size)
		if err != nil {
			return fmt.Errorf("%w file %s: %w", content.ErrFile, p.Text(), err)
		}
		if old, ok := byNumber[other.Part]; ok {
			return fmt.Errorf("%w file %s: it is part %d of the split WIM, and so is %s: remove one of them", content.ErrFile, p.Text(), other.Part, old.Text())
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
			image.Role = content.RoleImage
			continue
		}
		p.Role = content.RolePart
		more = append(more, p)
	}
	return image, more, nil
}

// beside gives the files beside a file that have the same extension.
func beside(file string, take func(Source, *os.File) error) error {
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil {
		return fmt.Errorf("look for the parts of a split WIM: %w", err)
	}
	for _, e := range entries {
		other := filepath.Join(filepath.Dir(file), e.Name())
		if e.Name() == filepath.Base(file) || !e.Type().IsRegular() || !strings.EqualFold(filepath.Ext(other), filepath.Ext(file)) {
			continue
		}
		f, info, err := OpenFile(other)
		if err != nil {
			return err
		}
		err = take(SourceOf(content.RolePart, other, info), f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// splitMedia finds the parts of the WIM of setup media, which are among its files.
func splitMedia(first Source, files []Source) ([]Source, error) {
	f, err := first.Open()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	image, more, err := splitSources(first, f, func(take func(Source, *os.File) error) error {
		for _, s := range files {
			if s.Name == first.Name || !sameFolder(s.Name, first.Name) {
				continue
			}
			f, err := s.Open()
			if err != nil {
				return err
			}
			if err := errors.Join(take(s, f), f.Close()); err != nil {
				return err
			}
		}
		return nil
	})
	return append([]Source{image}, more...), err
}

// sameFolder says that two files of setup media may be parts of one WIM.
func sameFolder(a, b string) bool {
	return strings.EqualFold(path.Dir(a), path.Dir(b)) && strings.EqualFold(path.Ext(a), path.Ext(b))
}

// describeWIM describes the WIM that sources are, all parts of it.
func describeWIM(sources []Source) (*wim.Info, error) {
	parts := make([]wim.Part, 0, len(sources))
	for _, p := range sources {
		f, err := p.Open()
		if err != nil {
			return nil, err
		}
		defer f.Close()
		parts = append(parts, wim.Part{Name: p.Text(), R: p.At(f), Size: p.Size})
	}
	w, err := wim.DescribeSet(parts)
	var missing *wim.MissingPartsError
	switch {
	case errors.As(err, &missing):
		return nil, fmt.Errorf("%w file %s: %w: put all parts into one folder", content.ErrFile, sources[0].Text(), err)
	case err != nil:
		return nil, fmt.Errorf("%w file %w", content.ErrFile, err)
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
