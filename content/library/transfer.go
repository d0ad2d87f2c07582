package library

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/content/object"

	"go.uber.org/zap"
)

// Names within an export; see docs/content.md.
const (
	exportContent   = "castpoint-content.json"
	exportManifests = "manifests" // manifests/<digest>, and behind it
	exportObjects   = "objects"   // objects/<digest>

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
	var written, total int64
	for _, f := range c.Objects() {
		total += f.Size
	}
	advance := func(n int64) error {
		written += n
		if progress != nil {
			progress(written, total)
		}
		return nil
	}
	_ = advance(0)
	t := tar.NewWriter(w)
	b, err := json.MarshalIndent(contentFile{Format: contentFormat, Content: *c}, "", "\t")
	if err == nil {
		err = writeEntry(t, exportContent, c.Updated, b)
	}
	for _, f := range c.Objects() {
		if err != nil {
			break
		}
		err = l.exportObject(ctx, t, c, f, advance)
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
func (l *Library) exportObject(ctx context.Context, t *tar.Writer, c *content.Content, f content.File, advance func(int64) error) error {
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
	if err := writeEntry(t, exportManifests+"/"+f.Digest.String(), c.Updated, b); err != nil {
		return err
	}
	if err := t.WriteHeader(entry(exportObjects+"/"+f.Digest.String(), c.Updated, f.Size)); err != nil {
		return err
	}
	have, err := object.Hash(ctx, o, f.Size, object.Pass{Advance: advance}, t)
	if err != nil {
		return err
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
	var total int64
	want := map[content.Digest]content.File{}
	for _, f := range c.Objects() {
		want[f.Digest] = f
		if total += f.Size; total < 0 || total > content.MaxObjectSize {
			return fmt.Errorf("%w: it claims a size beyond any disk", ErrExport)
		}
	}
	for _, f := range c.Files {
		if want[f.Digest].Size != f.Size {
			return fmt.Errorf("%w: object %s has two sizes", ErrExport, f.Digest)
		}
	}
	a, err := l.objects.Reserve(total, progress)
	if err != nil {
		return err
	}
	defer l.end(a)
	for len(want) > 0 {
		f, err := l.importObject(ctx, a, t, want)
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
	l.log.Info("content imported", zap.String("content", c.ID), zap.String("name", c.Name), zap.Int64("bytes", total))
	return nil
}

// importObject reads a manifest and the object behind it, which must be one of
// those wanted.
func (l *Library) importObject(ctx context.Context, a *object.Addition, t *tar.Reader, want map[content.Digest]content.File) (f content.File, err error) {
	h, d, err := nextEntry(t, exportManifests)
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
	h, again, err := nextEntry(t, exportObjects)
	if err != nil {
		return f, err
	}
	if again != d || h.Size != f.Size {
		return f, fmt.Errorf("%w: %s of %d bytes follows the manifest of %s", ErrExport, h.Name, h.Size, d)
	}
	err = a.Put(ctx, t, f.Size, func(have *content.Manifest) error {
		if have.Digest != d || !bytes.Equal(have.Hashes, m.Hashes) {
			return fmt.Errorf("%w: the bytes of %s are not those of its name: copy the export again", ErrExport, h.Name)
		}
		return nil
	})
	if errors.Is(err, object.ErrSource) {
		err = fmt.Errorf("%w: %w", ErrExport, err)
	}
	if err != nil {
		return f, err
	}
	l.mended(d)
	return f, nil
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
	d, ok := content.ParseDigest(filepath.Base(h.Name))
	if !ok || h.Typeflag != tar.TypeReg || h.Name != dir+"/"+d.String() {
		return nil, content.Digest{}, fmt.Errorf("%w: unexpected entry %q", ErrExport, h.Name)
	}
	return h, d, nil
}
