package object

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"castpoint/content"
	"castpoint/content/inspect"
	"castpoint/content/wim/integrity"
)

// Take copies, clones or links a source into a temporary file, which is on the disk
// when it returns; Place makes an object of it. checked says that it is a WIM whose
// integrity table was right.
//
// Errors: ErrFile for a WIM that is damaged, ErrNoSpace, the end of ctx, or those of
// the source and of the disk. What was copied of a large file before reading failed is
// left to the next addition.
func (a *Addition) Take(ctx context.Context, s inspect.Source) (_ *content.Manifest, checked bool, err error) {
	src, err := reopen(s)
	if err != nil {
		return nil, false, err
	}
	defer src.Close()
	t, err := a.s.makeTemporary(&s)
	if err != nil {
		return nil, false, err
	}
	if a.link && s.Whole() && linkOver(t.path, src) {
		_ = t.file.Close() // nothing was written
		t.dropJournal()
		t.file = src
	}
	m, checked, err := a.fill(ctx, t, src, s)
	if err == nil {
		err = unchanged(src, s)
	}
	if err == nil {
		err = seal(t.file)
	}
	if err == nil {
		err = a.s.faults.At("temporary")
	}
	if err != nil {
		return nil, false, a.giveUp(ctx, t, err)
	}
	_ = t.file.Close()
	a.stored = append(a.stored, stored{t, m})
	return m, checked, nil
}

// giveUp takes back a temporary file, or leaves it to the next try when the
// source is not to blame.
func (a *Addition) giveUp(ctx context.Context, t *temporary, err error) error {
	if e, ok := errors.AsType[*sourceError](err); ok && e.read || context.Cause(ctx) != nil {
		a.resume = true
		a.s.leave(t)
		return t.leftBy(err)
	}
	a.s.discard(t)
	return err
}

// fill makes t hold the bytes of src and hashes what it holds.
func (a *Addition) fill(ctx context.Context, t *temporary, src *os.File, s inspect.Source) (*content.Manifest, bool, error) {
	size, need := s.Size, s.Need()
	defer func() { a.left -= need }()
	var from io.ReaderAt = t.file // a clone is hashed, not the source, which may change meanwhile
	var r io.Reader = io.NewSectionReader(t.file, 0, 1<<62)
	var to []io.Writer
	copying, err := a.mustCopy(t, src, s)
	if err != nil {
		return nil, false, err
	}
	if copying {
		if a.claim == nil {
			if a.claim, err = a.s.claim(a.left + manifestRoom(a.left)); err != nil {
				return nil, false, err
			}
		}
		from = s.At(src)
		r = &resumeReader{source: from, size: size, copy: t, hashes: t.hashes}
		to = append(to, &resumeWriter{copy: t, begin: func(at int64) (io.Writer, error) { return a.beginWriting(t.file, at, s) }})
	} else {
		t.dropJournal()
		a.claim.release(need)
	}
	var checker *integrity.Checker
	if s.WIM {
		checker, err = integrity.NewChecker(from, size)
		switch {
		case errors.Is(err, integrity.ErrNoIntegrity):
		case err != nil:
			return nil, false, fmt.Errorf("%w file %s: %w", content.ErrFile, s.Text(), err)
		default:
			to = append(to, checker)
		}
	}
	m, err := hash(ctx, r, size, Pass{written: t.record, Advance: func(n int64) error {
		a.advance(n)
		return a.s.faults.At("copy")
	}}, to...)
	if err != nil {
		return nil, false, readError(ctx, fmt.Errorf("copy %s: %w", s.Text(), err))
	}
	if checker == nil {
		return m, false, nil
	}
	if err := checker.Close(); err != nil {
		return nil, false, fmt.Errorf("%w file %s: %w", content.ErrFile, s.Text(), err)
	}
	return m, true, nil
}

// mustCopy says whether the source has to be copied; else t has its bytes
// already, as a hard link or a clone.
func (a *Addition) mustCopy(t *temporary, src *os.File, s inspect.Source) (bool, error) {
	if t.file == src {
		return false, nil
	}
	if !s.Whole() || len(t.hashes) > 0 { // a part of a file rarely begins where a block of the file system does
		return true, nil
	}
	cloned, err := a.s.faults.clone(t.file, src)
	if err != nil {
		return false, spaceError(fmt.Errorf("clone %s: %w", s.Text(), err))
	}
	return !cloned, nil
}

// beginWriting prepares a copy of s for being written from an offset to its end.
func (a *Addition) beginWriting(f *os.File, at int64, s inspect.Source) (io.Writer, error) {
	if err := f.Truncate(at); err != nil { // what an earlier addition has left behind it is wrong
		return nil, err
	}
	if s.Sparse() {
		return &sparseWriter{file: f, at: at}, f.Truncate(s.Size)
	}
	ok, err := allocate(f, s.Size)
	if err != nil {
		return nil, spaceError(fmt.Errorf("reserve space for %s: %w", s.Text(), err))
	}
	if ok {
		a.claim.release(s.Need())
	}
	return &earlyWriter{file: f, at: at, sent: at}, nil
}

// reopen opens a source and makes sure that it is what was inspected.
func reopen(s inspect.Source) (*os.File, error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !os.SameFile(info, s.Info) {
		_ = f.Close()
		return nil, fmt.Errorf("copy %s: another file has taken its place: add it again when nothing writes there", s.Path)
	}
	if err := unchanged(f, s); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// unchanged compares size and time of an open source with the inspected ones.
func unchanged(f *os.File, s inspect.Source) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("copy %s: %w", s.Path, err)
	}
	if info.Size() != s.Info.Size() || !info.ModTime().Equal(s.Info.ModTime()) {
		return fmt.Errorf("copy %s: another program is writing it: add it again when it is complete", s.Path)
	}
	return nil
}

// sparseWriter writes a file that is all zeros so far, and leaves out zeros.
type sparseWriter struct {
	file *os.File
	at   int64
}

// sparsePiece is the unit in which zeros are left out, in bytes: a whole number
// of pages and of blocks of any file system.
const sparsePiece = 64 << 10

func (w *sparseWriter) Write(b []byte) (int, error) {
	for n := 0; n < len(b); {
		// Pieces begin at multiples of their size in the file.
		piece := b[n:min(len(b), n+int(sparsePiece-w.at%sparsePiece))]
		if len(bytes.TrimLeft(piece, "\x00")) > 0 {
			if _, err := w.file.WriteAt(piece, w.at); err != nil {
				return n, err
			}
		}
		n += len(piece)
		w.at += int64(len(piece))
	}
	return len(b), nil
}

// earlyWriter writes a file and has what was written go to the disk soon, while
// more is being read and hashed, and not all at once at the end.
type earlyWriter struct {
	file     *os.File
	at, sent int64
}

// earlyPiece is how much goes at a time, in bytes.
const earlyPiece = 32 << 20

func (w *earlyWriter) Write(b []byte) (int, error) {
	n, err := w.file.WriteAt(b, w.at)
	w.at += int64(n)
	if w.at-w.sent >= earlyPiece {
		startWriting(w.file, w.sent, w.at-w.sent)
		w.sent = w.at
	}
	return n, err
}
