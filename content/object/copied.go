package object

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"castpoint/content"
	"castpoint/content/inspect"

	"github.com/zeebo/blake3"
	"go.uber.org/zap"
)

// An addition that is killed, or interrupted, leaves its copies of large files
// in tmp, each with a journal beside it: the hash of every block that has been
// written. The next addition of the same file goes on behind the blocks that
// have their hashes. The journal proves nothing by itself, so neither it nor
// the copy is synced.

const (
	// journalFrom is the size from which copies have journals, in bytes. Smaller
	// files are copied again in less time than anybody notices.
	journalFrom = 8 << 20
	// keepCopies is for how long an unfinished copy that nobody goes on with
	// stays.
	keepCopies = 14 * 24 * time.Hour

	prefixCopy    = "copy-"
	suffixJournal = ".journal"

	journalMagic   = "castjnl\x00"
	journalVersion = 1
	journalHeader  = 48 // magic, version, block size, identity
)

// temporary is a file in tmp that becomes an object.
type temporary struct {
	file *os.File
	path string

	key     string   // of its unfinished copy; "" when it has no journal
	journal *os.File // nil without
	hashes  []byte   // of the blocks that an earlier addition has written
	written int64    // blocks in the journal

	// good is how many bytes of an earlier copy have been found to be right. It
	// is set by the goroutine that reads before it hands them on.
	good atomic.Int64
}

// identity tells one state of a source from all others.
func identity(s *inspect.Source) [sha256.Size]byte {
	path, err := filepath.Abs(s.Path)
	if err != nil {
		path = s.Path
	}
	return sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d\x00%d", path, s.Inside(), s.Size, s.Info.Size(), s.Info.ModTime().UnixNano()))
}

// copyKey is the name of the source's unfinished copy in tmp; "" for files too
// small to have one.
func copyKey(s *inspect.Source) string {
	if s.Size < journalFrom {
		return ""
	}
	id := identity(s)
	return prefixCopy + hex.EncodeToString(id[:16])
}

// copied is how much of a source is on the disk already, in bytes.
func (s *Store) copied(from *inspect.Source) int64 {
	key := copyKey(from)
	s.copies.Lock()
	defer s.copies.Unlock()
	if key == "" || s.copying[key] {
		return 0
	}
	info, err := os.Stat(filepath.Join(s.dir, dirTmp, key))
	if err != nil {
		return 0
	}
	return inspect.DiskBytes(info)
}

// makeTemporary makes the file that a source is copied into, or opens the one that an
// earlier addition has left.
func (s *Store) makeTemporary(from *inspect.Source) (*temporary, error) {
	t := &temporary{key: copyKey(from)}
	if t.key != "" && !s.takeCopy(t.key) {
		t.key = "" // two additions of one file at the same time: only one goes on later
	}
	var err error
	if t.key == "" {
		if t.file, err = os.CreateTemp(filepath.Join(s.dir, dirTmp), "add-*"); err != nil {
			return nil, spaceError(fmt.Errorf("make temporary file: %w", err))
		}
		t.path = t.file.Name()
		return t, nil
	}
	t.path = filepath.Join(s.dir, dirTmp, t.key)
	_ = os.Chmod(t.path, 0o600) // it was made read-only when it was complete
	t.file, err = os.OpenFile(t.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = t.openJournal(from)
	}
	if err != nil {
		s.discard(t)
		return nil, spaceError(fmt.Errorf("make temporary file: %w", err))
	}
	return t, nil
}

// openJournal opens the journal and reads the hashes that are in it, or begins
// a new one when it is of something else.
func (t *temporary) openJournal(s *inspect.Source) error {
	var err error
	if t.journal, err = os.OpenFile(t.path+suffixJournal, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	want := make([]byte, 0, journalHeader)
	want = append(want, journalMagic...)
	want = binary.LittleEndian.AppendUint32(want, journalVersion)
	want = binary.LittleEndian.AppendUint32(want, content.BlockSize)
	id := identity(s)
	want = append(want, id[:]...)
	b, err := io.ReadAll(io.LimitReader(t.journal, journalHeader+content.BlockCount(s.Size)*content.HashSize))
	if err != nil {
		return err
	}
	info, err := t.file.Stat()
	if err != nil {
		return err
	}
	if bytes.HasPrefix(b, want) && info.Size() <= s.Size {
		t.hashes = b[journalHeader:]
		t.hashes = t.hashes[:len(t.hashes)/content.HashSize*content.HashSize] // the last may be torn
		return nil
	}
	if err := errors.Join(t.journal.Truncate(0), t.file.Truncate(0)); err != nil {
		return err
	}
	_, err = t.journal.WriteAt(want, 0)
	return err
}

// record notes the hashes of blocks that have just been written.
func (t *temporary) record(hashes []byte) error {
	if t.journal == nil {
		return nil
	}
	if _, err := t.journal.WriteAt(hashes, journalHeader+t.written*content.HashSize); err != nil {
		return fmt.Errorf("write journal of the copy: %w", err)
	}
	t.written += int64(len(hashes) / content.HashSize)
	return nil
}

// dropJournal makes it an ordinary temporary file: its bytes come otherwise than
// by copying.
func (t *temporary) dropJournal() {
	if t.journal != nil {
		_ = t.journal.Close()
		_ = os.Remove(t.path + suffixJournal)
		t.journal, t.hashes = nil, nil
	}
}

// close closes the files. The copy stays.
func (t *temporary) close() {
	_ = t.file.Close()
	if t.journal != nil {
		_ = t.journal.Close()
	}
}

// takeCopy reserves an unfinished copy for one addition.
func (s *Store) takeCopy(key string) bool {
	s.copies.Lock()
	defer s.copies.Unlock()
	if s.copying[key] {
		return false
	}
	s.copying[key] = true
	return true
}

// leave gives up a temporary file and lets the next addition of the same source
// go on with it. Without a journal it is deleted.
func (s *Store) leave(t *temporary) {
	if t.journal == nil {
		s.discard(t)
		return
	}
	t.close()
	s.freeCopy(t)
}

// discard deletes a temporary file.
func (s *Store) discard(t *temporary) {
	if t.file != nil {
		t.close()
	}
	_ = os.Remove(t.path)
	t.dropJournal()
	s.freeCopy(t)
}

func (s *Store) freeCopy(t *temporary) {
	s.copies.Lock()
	defer s.copies.Unlock()
	if t.key != "" {
		delete(s.copying, t.key)
	}
}

// idle lists the unfinished copies that no addition is working on, without their
// journals. copies must be held.
func (s *Store) idle() (all []fs.FileInfo) {
	entries, err := os.ReadDir(filepath.Join(s.dir, dirTmp))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), prefixCopy) && !strings.HasSuffix(e.Name(), suffixJournal) && !s.copying[e.Name()] {
			all = append(all, info)
		}
	}
	return all
}

// idleCopies is the disk space that they take, in bytes.
func (s *Store) idleCopies() (size int64) {
	s.copies.Lock()
	defer s.copies.Unlock()
	for _, info := range s.idle() {
		size += inspect.DiskBytes(info)
	}
	return size
}

// dropCopies deletes them. It returns how many, and how many bytes of the disk
// they took.
func (s *Store) dropCopies() (n int, size int64, err error) {
	s.copies.Lock()
	defer s.copies.Unlock()
	for _, info := range s.idle() {
		path := filepath.Join(s.dir, dirTmp, info.Name())
		if err := os.Remove(path); err != nil {
			return n, size, fmt.Errorf("delete unfinished copy: %w", err)
		}
		_ = os.Remove(path + suffixJournal) // by itself it is a leftover, and goes with the next Open
		n++
		size += inspect.DiskBytes(info)
		s.log.Info("unfinished copy deleted", zap.String("file", info.Name()))
	}
	return n, size, nil
}

// unfinished says whether a file in tmp is an unfinished copy, or the journal of
// one, that the next addition may go on with.
func (s *Store) unfinished(name string) bool {
	key := strings.TrimSuffix(name, suffixJournal)
	if !strings.HasPrefix(key, prefixCopy) {
		return false
	}
	for _, part := range []string{key, key + suffixJournal} {
		info, err := os.Lstat(filepath.Join(s.dir, dirTmp, part))
		if err != nil || !info.Mode().IsRegular() {
			return false
		}
		if part != key && time.Since(info.ModTime()) > keepCopies && (s.steady == nil || s.steady()) {
			return false
		}
	}
	return true
}

// resumeReader reads a source, but for the blocks that an earlier copy of it has
// and that have the right hash: those come from the copy.
type resumeReader struct {
	source io.ReaderAt
	size   int64
	at     int64
	copy   *temporary
	hashes []byte // of the blocks of the copy that were not looked at yet
}

// Read gives whole blocks, for which b has room: hash asks so.
func (r *resumeReader) Read(b []byte) (int, error) {
	n := int(min(content.BlockSize, r.size-r.at))
	if len(r.hashes) >= content.HashSize && n > 0 && n <= len(b) {
		b := b[:n]
		if _, err := r.copy.file.ReadAt(b, r.at); err == nil && blake3.Sum256(b) == [content.HashSize]byte(r.hashes) {
			r.hashes = r.hashes[content.HashSize:]
			r.at += int64(n)
			r.copy.good.Store(r.at)
			return n, nil
		}
	}
	r.hashes = nil
	n, err := r.source.ReadAt(b, r.at)
	r.at += int64(n)
	return n, err
}

// resumeWriter writes what an earlier copy does not have. begin prepares the
// file for what comes from an offset on.
type resumeWriter struct {
	copy  *temporary
	begin func(at int64) (io.Writer, error)
	to    io.Writer
	at    int64
}

func (w *resumeWriter) Write(b []byte) (n int, err error) {
	skip := int(min(max(w.copy.good.Load()-w.at, 0), int64(len(b))))
	w.at += int64(len(b))
	if skip == len(b) {
		return len(b), nil
	}
	if w.to == nil {
		if w.to, err = w.begin(w.at - int64(len(b)) + int64(skip)); err != nil {
			return 0, err
		}
	}
	n, err = w.to.Write(b[skip:])
	return skip + n, err
}

// leftBy is what is said with an error that leaves a copy behind.
func (t *temporary) leftBy(err error) error {
	if t.journal == nil || t.written == 0 {
		return err
	}
	return fmt.Errorf("%w (%s are kept: the same command goes on from there)", err, sizeText(t.written*content.BlockSize))
}
