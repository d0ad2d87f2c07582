package library

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/content/object"

	"go.uber.org/zap"
)

// ErrOther says that a file is not the one that a content was made of.
var ErrOther = errors.New("it is another file")

// Original is a file that a content was made of, or what claims to be it. It is
// closed after use.
type Original interface {
	io.ReaderAt
	io.Closer
}

// Originals finds the files that a content was made of. What it gives is
// believed when it has been hashed.
type Originals interface {
	// Open opens the original of a file; ErrNotFound when it does not have it.
	Open(ctx context.Context, f content.File) (Original, error)
}

// OriginalsAt finds the originals of c where it was added from: the path, and
// the initramfs, that an AddRequest would have.
//
// Errors: ErrFile.
func OriginalsAt(c *content.Content, path, initrd string) (Originals, error) {
	o := &hostOriginals{byKey: map[string]inspect.Source{}}
	switch {
	case c.Kind.Folder():
		sources, ok, err := inspect.ListISO(path)
		if err != nil {
			return nil, err
		}
		if !ok {
			o.folder = path
		}
		o.take(sources...)
	case initrd != "":
		for role, p := range map[content.Role]string{content.RoleKernel: path, content.RoleInitrd: initrd} {
			f, info, err := inspect.OpenFile(p)
			if err != nil {
				return nil, err
			}
			f.Close()
			o.take(inspect.SourceOf(role, p, info))
		}
	default:
		if _, ok := c.File(content.RoleInitrd); ok {
			return nil, fmt.Errorf("%w request: %s has an initramfs: say where it is, too", content.ErrInvalid, c.ID)
		}
		s, more, err := inspect.ImageSource(path, c.Kind)
		if err != nil {
			return nil, err
		}
		o.take(append(more, s)...)
	}
	return o, nil
}

// hostOriginals are files of this host.
type hostOriginals struct {
	folder string // "" when all are in byKey
	byKey  map[string]inspect.Source
}

// originalKey is what finds an original: the name of a file of a folder or of a
// part, the role of others, which may have been renamed.
func originalKey(role content.Role, name string) string {
	if role == content.RoleFile || role == content.RolePart {
		return string(role) + " " + name
	}
	return string(role)
}

func (o *hostOriginals) take(sources ...inspect.Source) {
	for _, s := range sources {
		o.byKey[originalKey(s.Role, s.Name)] = s
	}
}

func (o *hostOriginals) Open(_ context.Context, f content.File) (Original, error) {
	s, ok := o.byKey[originalKey(f.Role, f.Name)]
	if o.folder != "" {
		path := filepath.Join(o.folder, filepath.FromSlash(f.Name))
		file, info, err := inspect.OpenFile(path)
		if err != nil {
			return nil, err
		}
		if info.Size() != f.Size {
			file.Close()
			return nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrOther, path, info.Size(), f.Size)
		}
		return file, nil
	}
	if !ok {
		return nil, fmt.Errorf("original of file %s: %w", f.Name, content.ErrNotFound)
	}
	if s.Size != f.Size {
		return nil, fmt.Errorf("%w: %s has %d bytes, not %d", ErrOther, s.Text(), s.Size, f.Size)
	}
	file, err := s.Open()
	if err != nil {
		return nil, err
	}
	return struct {
		io.ReaderAt
		io.Closer
	}{s.At(file), file}, nil
}

// Repair validates a content and replaces what is damaged by the originals, of
// which it reads only the damaged blocks where it knows which those are. Nothing
// is replaced that does not have the SHA-256 it had when it was added. Whoever
// has a damaged object open keeps it. The result is that of a validation
// afterwards; the revision stays.
//
// Errors: ErrNotFound, ErrAmbiguous, ErrOther when an original is not the file
// that was added, ErrNoSpace, ErrClosed, those of from, or read errors.
func (l *Library) Repair(ctx context.Context, idOrName string, from Originals, progress func(done, total int64)) (*Validation, error) {
	v, err := l.Validate(ctx, idOrName, progress)
	if err != nil || v.Err() == nil {
		return v, err
	}
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := l.repair(ctx, v, from, progress); err != nil {
		return nil, fmt.Errorf("repair %s: %w", v.ID, err)
	}
	return l.Validate(ctx, v.ID, progress)
}

// repair replaces the objects that a validation found damaged.
func (l *Library) repair(ctx context.Context, v *Validation, from Originals, progress func(done, total int64)) error {
	var total int64
	for _, f := range v.Files {
		if !f.OK() {
			total += f.File.Size
		}
	}
	a, err := l.objects.Reserve(total, progress)
	if err != nil {
		return err
	}
	defer l.end(a)
	repaired := map[content.Digest]bool{}
	for _, f := range v.Files {
		if f.OK() || repaired[f.File.Digest] {
			continue
		}
		if err := l.repairFile(ctx, a, f.File, from); err != nil {
			return fmt.Errorf("file %s: %w", f.File.Name, err)
		}
		repaired[f.File.Digest] = true
		l.log.Info("file repaired", zap.String("content", v.ID), zap.String("file", f.File.Name), zap.Int("blocks", f.DamagedBlocks))
	}
	return nil
}

// repairFile puts one object together anew.
func (l *Library) repairFile(ctx context.Context, a *object.Addition, f content.File, from Originals) error {
	original, err := from.Open(ctx, f)
	if err != nil {
		return err
	}
	defer original.Close()
	r := &patched{original: original, size: f.Size}
	if m, err := l.Manifest(f.Digest); err == nil && m.Size == f.Size {
		r.manifest = m
	}
	if have, err := l.OpenObject(f.Digest); err == nil {
		defer have.Close()
		r.have = have
	} else if !errors.Is(err, content.ErrNotFound) {
		return err
	}
	err = a.Put(ctx, io.NewSectionReader(r, 0, f.Size), f.Size, func(m *content.Manifest) error {
		if m.Digest != f.Digest {
			return fmt.Errorf("%w: its SHA-256 is %s, not %s", ErrOther, m.Digest, f.Digest)
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.mended(f.Digest)
	return nil
}

// patched reads an object whose damaged blocks come from the original. Without
// manifest or object all of them do.
type patched struct {
	manifest *content.Manifest // nil when it is lost
	have     *os.File          // nil when it is lost
	original io.ReaderAt
	size     int64
	block    []byte
}

// ReadAt reads within one block: object.Hash's buffers are whole blocks, so
// each is read once. It is used by one goroutine.
func (p *patched) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		if at >= p.size {
			return n, io.EOF
		}
		start := at / content.BlockSize * content.BlockSize
		if p.block == nil {
			p.block = make([]byte, content.BlockSize)
		}
		block := p.block[:min(content.BlockSize, p.size-start)]
		if err := p.read(block, start); err != nil {
			return n, err
		}
		n += copy(b[n:], block[at-start:])
	}
	return n, nil
}

func (p *patched) read(block []byte, start int64) error {
	i := int(start / content.BlockSize)
	if p.manifest != nil && p.have != nil {
		if _, err := p.have.ReadAt(block, start); err == nil && p.manifest.VerifyBlock(i, block) {
			return nil
		}
	}
	if n, err := p.original.ReadAt(block, start); n < len(block) {
		if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: it ends at byte %d of %d", ErrOther, start+int64(n), p.size)
		}
		return err
	}
	if p.manifest != nil && !p.manifest.VerifyBlock(i, block) {
		return fmt.Errorf("%w: its bytes from %d on are not those that were added", ErrOther, start)
	}
	return nil
}
