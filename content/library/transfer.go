package library

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"

	"go.uber.org/zap"
)

// Names within an export; see docs/content.md.
const (
	exportContent = "castpoint-content.json"

	// maxExportContent bounds the content file of an export that is imported:
	// 100 000 files of 300 bytes, and room for the description of images.
	maxExportContent = 64 << 20
)

// ErrExport says that a file is not an export of a content, or a damaged one.
var ErrExport = errors.New("not a usable export of a content")

// Export writes a content with all its objects to w as one tar archive that
// Import reads. The content may be removed meanwhile; the export is complete
// all the same or fails.
//
// Errors: ErrNotFound, ErrAmbiguous, ErrDamaged when an object is missing or
// its bytes are not those of its name, or those of w.
func (l *Library) Export(ctx context.Context, idOrName string, w io.Writer, progress func(done, total int64)) error {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	c, err := l.Get(idOrName)
	if err != nil {
		return err
	}
	a := &addition{l: l, report: progress} // for its progress
	for _, d := range c.Objects() {
		a.total += d.Size
	}
	a.advance(0)
	t := tar.NewWriter(w)
	b, err := json.MarshalIndent(contentFile{Format: contentFormat, Content: *c}, "", "\t")
	if err == nil {
		err = writeEntry(t, exportContent, c.Updated, b)
	}
	for _, f := range c.Objects() {
		if err != nil {
			break
		}
		err = l.exportObject(ctx, t, c, f, a)
	}
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		return fmt.Errorf("export %s: %w", c.ID, err)
	}
	return nil
}

// exportObject writes manifest and object, and checks the object on its way: a
// damaged one must not spread.
func (l *Library) exportObject(ctx context.Context, t *tar.Writer, c *content.Content, f content.File, a *addition) error {
	m, err := l.Manifest(f.Digest)
	if err != nil {
		return fmt.Errorf("%w: %w", content.ErrDamaged, err)
	}
	o, err := l.OpenObject(f.Digest)
	if err != nil {
		return fmt.Errorf("%w: %w", content.ErrDamaged, err)
	}
	defer o.Close()
	b, err := m.MarshalBinary()
	if err != nil {
		return err
	}
	if err := writeEntry(t, dirManifests+"/"+f.Digest.String(), c.Updated, b); err != nil {
		return err
	}
	if err := t.WriteHeader(entry(dirObjects+"/"+f.Digest.String(), c.Updated, f.Size)); err != nil {
		return err
	}
	have, err := digestReader(ctx, o, f.Size, pass{advance: func(n int64) error { a.advance(n); return nil }}, t)
	if err != nil {
		return readError(ctx, err)
	}
	if have.Digest != f.Digest {
		return fmt.Errorf("%w: file %s: its SHA-256 is not %s: validate the content", content.ErrDamaged, f.Name, f.Digest)
	}
	return nil
}

func entry(name string, when time.Time, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o444, ModTime: when, Format: tar.FormatPAX}
}

func writeEntry(t *tar.Writer, name string, when time.Time, b []byte) error {
	if err := t.WriteHeader(entry(name, when, int64(len(b)))); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

// Import adds the content of an export, which may come from anywhere: nothing
// in it is believed that is not checked. Like Add it happens whole or not at
// all. The content keeps its ID when that is free, and its revision.
//
// Errors: ErrExport, ErrExists, ErrNoSpace, ErrClosed, or those of r.
func (l *Library) Import(ctx context.Context, r io.Reader, progress func(done, total int64)) (*content.Content, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	t := tar.NewReader(r)
	c, err := readExported(t)
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	if err := l.importContent(ctx, t, c, progress); err != nil {
		return nil, fmt.Errorf("import %q: %w", c.Name, err)
	}
	return c.Clone(), nil
}

// readExported reads and checks the content file at the start of an export.
func readExported(t *tar.Reader) (*content.Content, error) {
	h, err := t.Next()
	if err != nil || h.Typeflag != tar.TypeReg || h.Name != exportContent || h.Size > maxExportContent {
		return nil, fmt.Errorf("%w: it does not begin with %s", ErrExport, exportContent)
	}
	b, err := io.ReadAll(t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExport, err)
	}
	var f contentFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrExport, err)
	}
	if f.Format != contentFormat {
		return nil, fmt.Errorf("%w: format %d is not known to this version of castpoint", ErrExport, f.Format)
	}
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrExport, err)
	}
	if len(f.Files) == 0 || len(f.Files) > inspect.MaxFiles {
		return nil, fmt.Errorf("%w: it has %d files", ErrExport, len(f.Files))
	}
	f.Revision = max(f.Revision, 1)
	f.Checked = nil
	if !strings.Contains(f.Source, "://") { // a path of another host
		f.Source, f.SourceInitrd = "", ""
	}
	return &f.Content, nil
}

// importContent stores the objects that follow in t and makes c a content.
func (l *Library) importContent(ctx context.Context, t *tar.Reader, c *content.Content, progress func(done, total int64)) error {
	base := c.ID
	if !content.ValidID(base) {
		base = slug(c.Name, c.Kind)
	}
	c.ID = ""
	release, err := l.reserveName(c, base)
	if err != nil {
		return err
	}
	defer release()
	a := &addition{l: l, report: progress}
	defer a.end()
	want := map[content.Digest]content.File{}
	for _, f := range c.Objects() {
		want[f.Digest] = f
		if a.total += f.Size; a.total < 0 || a.total > content.MaxObjectSize {
			return fmt.Errorf("%w: it claims a size beyond any disk", ErrExport)
		}
	}
	for _, f := range c.Files {
		if want[f.Digest].Size != f.Size {
			return fmt.Errorf("%w: object %s has two sizes", ErrExport, f.Digest)
		}
	}
	if a.claim, err = l.claimSpace(a.total + manifestRoom(a.total)); err != nil {
		return err
	}
	a.advance(0)
	for len(want) > 0 {
		f, err := a.importObject(ctx, t, want)
		if err != nil {
			return err
		}
		delete(want, f.Digest)
	}
	c.Updated = time.Now().UTC().Truncate(time.Second)
	l.disk.Lock()
	defer l.disk.Unlock()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := l.commit(c); err != nil {
		l.retract(c.ID)
		return err
	}
	l.log.Info("content imported", zap.String("content", c.ID), zap.String("name", c.Name), zap.Int64("bytes", a.total))
	return nil
}

// importObject reads a manifest and the object behind it, which must be one of
// those wanted.
func (a *addition) importObject(ctx context.Context, t *tar.Reader, want map[content.Digest]content.File) (f content.File, err error) {
	h, d, err := nextEntry(t, dirManifests)
	if err != nil {
		return f, err
	}
	f, ok := want[d]
	if !ok {
		return f, fmt.Errorf("%w: %s is not an object of the content, or there twice", ErrExport, h.Name)
	}
	m, err := content.ReadManifest(t, f.Size)
	if err != nil || m.Digest != d || m.Size != f.Size {
		return f, fmt.Errorf("%w: %s is not the manifest of its object: %w", ErrExport, h.Name, errors.Join(content.ErrManifest, err))
	}
	h, again, err := nextEntry(t, dirObjects)
	if err != nil {
		return f, err
	}
	if again != d || h.Size != f.Size {
		return f, fmt.Errorf("%w: %s of %d bytes follows the manifest of %s", ErrExport, h.Name, h.Size, d)
	}
	tmp, err := os.CreateTemp(filepath.Join(a.l.dir, dirTmp), "import-*")
	if err != nil {
		return f, spaceError(fmt.Errorf("make temporary file: %w", err))
	}
	defer func() {
		_ = tmp.Close()
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if ok, err := allocate(tmp, f.Size); err != nil {
		return f, spaceError(fmt.Errorf("reserve space for %s: %w", f.Name, err))
	} else if ok {
		a.claim.release(f.Size)
	}
	have, err := digestReader(ctx, t, f.Size, pass{advance: func(n int64) error {
		a.advance(n)
		return a.l.replaced.step("copy")
	}}, tmp)
	if err != nil {
		if !noSpace(err) {
			err = fmt.Errorf("%w: %w", ErrExport, err)
		}
		return f, readError(ctx, err)
	}
	if have.Digest != d || !bytes.Equal(have.Hashes, m.Hashes) {
		return f, fmt.Errorf("%w: the bytes of %s are not those of its name: copy the export again", ErrExport, h.Name)
	}
	if err := seal(tmp); err != nil {
		return f, err
	}
	return f, a.placeOne(tmp.Name(), have)
}

// nextEntry reads the header of a file in the given folder named by a digest.
func nextEntry(t *tar.Reader, dir string) (*tar.Header, content.Digest, error) {
	h, err := t.Next()
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, content.Digest{}, fmt.Errorf("%w: it ends before its last object: copy it again", ErrExport)
		}
		return nil, content.Digest{}, fmt.Errorf("%w: %w", ErrExport, err)
	}
	d, ok := parseDigest(filepath.Base(h.Name))
	if !ok || h.Typeflag != tar.TypeReg || h.Name != dir+"/"+d.String() {
		return nil, content.Digest{}, fmt.Errorf("%w: unexpected entry %q", ErrExport, h.Name)
	}
	return h, d, nil
}

// readError prefers the reason why ctx ended to the error it caused.
func readError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return spaceError(err)
}
