package library

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"castpoint/content"
	"castpoint/content/object"

	"go.uber.org/zap"
)

// Validation is what Validate found.
type Validation struct {
	ID    string           `json:"id"`
	Files []FileValidation `json:"files"` // in the order of the content
}

// FileValidation is what Validate found about one file.
type FileValidation struct {
	File    content.File `json:"file"`
	Missing bool         `json:"missing,omitempty"` // the object is not there
	Size    int64        `json:"size"`              // bytes found
	// DamagedBlocks counts the blocks that do not match the manifest, Damaged
	// lists the first of them by number.
	DamagedBlocks int   `json:"damaged_blocks,omitempty"`
	Damaged       []int `json:"damaged,omitempty"`
	// BadDigest says that the object's SHA-256 is not its name.
	BadDigest bool `json:"bad_digest,omitempty"`
	// ManifestRepaired says that the manifest was missing or damaged and has
	// been made anew from the object, which is good.
	ManifestRepaired bool `json:"manifest_repaired,omitempty"`
}

// maxDamagedListed bounds the list of damaged blocks of a file.
const maxDamagedListed = 1000

// OK says whether the file is as it was when it was added.
func (f *FileValidation) OK() bool {
	return !f.Missing && !f.BadDigest && f.DamagedBlocks == 0 && f.Size == f.File.Size
}

// Err is nil when all files are good, and otherwise an ErrDamaged that says
// what is wrong with the first that is not and what to do.
func (v *Validation) Err() error {
	if what := v.problem(); what != "" {
		return fmt.Errorf("%w: %s: %s: check the disk, then castpoint content repair %s", content.ErrDamaged, v.ID, what, v.ID)
	}
	return nil
}

// problem says what is wrong with the first file that is not good.
func (v *Validation) problem() string {
	for _, f := range v.Files {
		if f.OK() {
			continue
		}
		what := fmt.Sprintf("its SHA-256 is not %s", f.File.Digest)
		switch {
		case f.Missing:
			what = "it is missing"
		case f.Size != f.File.Size:
			what = fmt.Sprintf("it has %d bytes, not %d", f.Size, f.File.Size)
		case f.DamagedBlocks > 0:
			what = fmt.Sprintf("%d of %d blocks are damaged, the first at byte %d",
				f.DamagedBlocks, content.BlockCount(f.File.Size), int64(f.Damaged[0])*content.BlockSize)
		}
		return fmt.Sprintf("file %s: %s", f.File.Name, what)
	}
	return ""
}

// Validate reads all objects of a content and compares them with their
// manifests and digests. Damage is in the result, not in the error. progress,
// which may be nil, is called with bytes read and in total.
//
// The result is noted in the content (Checked).
//
// Errors: ErrNotFound, ErrAmbiguous, ErrClosed, the end of ctx, or a read error
// of the disk.
func (l *Library) Validate(ctx context.Context, idOrName string, progress func(done, total int64)) (*Validation, error) {
	return l.validate(ctx, idOrName, progress, nil)
}

// ValidateIdle is Validate with threads that read and compute only when nothing
// else on the host wants to (I/O class idle, lowest CPU priority).
func (l *Library) ValidateIdle(ctx context.Context, idOrName string) (v *Validation, err error) {
	done := make(chan struct{})
	go func() { // its thread ends with it
		defer close(done)
		idleThread()
		v, err = l.validate(ctx, idOrName, nil, idleThread)
	}()
	<-done
	return v, err
}

func (l *Library) validate(ctx context.Context, idOrName string, progress func(done, total int64), begin func()) (*Validation, error) {
	ctx, done, err := l.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	c, err := l.Get(idOrName)
	if err != nil {
		return nil, err
	}
	var total, read int64
	for _, f := range c.Files {
		total += f.Size
	}
	advance := func(n int64) error {
		read += n
		if progress != nil {
			progress(min(read, total), total)
		}
		return nil
	}
	_ = advance(0)
	v := &Validation{ID: c.ID}
	for _, f := range c.Files {
		fv, err := l.validateFile(ctx, f, object.Pass{Advance: advance, Begin: begin})
		if err != nil {
			return nil, fmt.Errorf("validate %s: file %s: %w", c.ID, f.Name, err)
		}
		v.Files = append(v.Files, fv)
		if !fv.OK() {
			l.log.Error("content is damaged", zap.String("content", c.ID), zap.String("file", f.Name),
				zap.Bool("missing", fv.Missing), zap.Int("blocks", fv.DamagedBlocks))
		}
	}
	if err := l.noteChecked(c, v); err != nil {
		// What was found out is right all the same.
		l.log.Error("result of a validation cannot be written", zap.String("content", c.ID), zap.Error(err))
	}
	return v, nil
}

// noteChecked writes the result of a validation into the content, unless it has
// other files by now or is gone.
func (l *Library) noteChecked(c *content.Content, v *Validation) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	l.index.RLock()
	now := l.contents[c.ID]
	l.index.RUnlock()
	if now == nil || now.Revision != c.Revision || !now.Created.Equal(c.Created) {
		return nil
	}
	next := now.Clone()
	next.Checked = &content.Checked{Time: time.Now().UTC().Truncate(time.Second), Problem: v.problem()}
	return l.commit(next)
}

func (l *Library) validateFile(ctx context.Context, f content.File, p object.Pass) (FileValidation, error) {
	v := FileValidation{File: f}
	o, err := l.OpenObject(f.Digest)
	if errors.Is(err, content.ErrNotFound) {
		v.Missing = true
		return v, p.Advance(f.Size)
	}
	if err != nil {
		return v, err
	}
	defer o.Close()
	info, err := o.Stat()
	if err != nil {
		return v, err
	}
	v.Size = info.Size()
	// The blocks that are there are compared even when the size is wrong.
	have, err := object.Hash(ctx, io.NewSectionReader(o, 0, v.Size), v.Size, p)
	if err != nil {
		return v, err
	}
	if v.Size < f.Size {
		if err := p.Advance(f.Size - v.Size); err != nil { // what is missing needs no time
			return v, err
		}
	}
	v.BadDigest = have.Digest != f.Digest
	want, err := l.Manifest(f.Digest)
	switch {
	case err == nil && want.Size == f.Size:
		for i := range min(have.Blocks(), want.Blocks()) {
			if !bytes.Equal(have.Hashes[i*content.HashSize:(i+1)*content.HashSize], want.Hashes[i*content.HashSize:(i+1)*content.HashSize]) {
				if v.DamagedBlocks++; len(v.Damaged) < maxDamagedListed {
					v.Damaged = append(v.Damaged, i)
				}
			}
		}
		if v.BadDigest || v.DamagedBlocks == 0 {
			return v, nil
		}
		// The digest is right and blocks differ: the manifest was wrong, with a
		// right checksum. Nothing known does this; the object decides.
		v.DamagedBlocks, v.Damaged = 0, nil
	case err != nil && !errors.Is(err, content.ErrNotFound) && !errors.Is(err, content.ErrManifest):
		return v, err
	}
	if v.BadDigest {
		return v, nil
	}
	v.ManifestRepaired = true
	return v, l.objects.WriteManifest(have)
}
