package lease

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"castpoint/internal/calendar"
)

// The journal is a text file. Its first line names the format; each further
// line is one change:
//
//	<CRC-32C of the rest, 8 hexadecimal digits> <lease as JSON>\n
//
// A line is written with one system call before the client hears of its lease,
// so the death of this process loses nothing. The file is synced within
// syncEvery, so the death of the host loses at most that. A line that a crash
// cut short, or that the disk garbled, fails its checksum and is passed over.
// When most lines are history the file is written anew and renamed into place.
const (
	journalHeader = "castpoint leases 1"
	syncEvery     = time.Second
	compactAt     = 4096 // lines of history before compaction is considered
	maxLine       = 4096 // bytes; longer lines are garbage
)

// Journal is a Store in a file of its own. Close it after the server has
// ended.
type Journal struct {
	path string
	lock *os.File // path + ".lock"; held from OpenJournal to Close

	mu    sync.Mutex
	file  *os.File
	live  map[netip.Addr]Lease
	lines int // in the file
	dirty bool

	// Damaged is the number of lines that could not be read when the journal
	// was opened; a crash leaves at most one.
	Damaged int

	stop    chan struct{}
	syncing sync.WaitGroup
}

// record is one line: a lease, or the end of one.
type record struct {
	Lease
	// Stamp is when the lease ends by a clock that nobody sets: another process may read
	// the file when the host's clock was set.
	Stamp calendar.Stamp `json:"stamp,omitempty"`
	Gone  bool           `json:"gone,omitempty"`
}

func newRecord(l Lease) record {
	return record{Lease: l, Stamp: calendar.NewStamp(l.Expires, time.Now())}
}

// OpenJournal opens the file, or makes it, and keeps other processes from it. A
// file of another format is an error, never overwritten.
func OpenJournal(path string) (*Journal, error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open leases %s: %w", path, err)
	}
	j := &Journal{path: path, lock: lock, live: map[netip.Addr]Lease{}, stop: make(chan struct{})}
	if err = j.read(); err == nil {
		// A fresh file each time: the end of the old one may be a torn line.
		err = j.compact()
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	j.syncing.Go(j.serveSync)
	return j, nil
}

func (j *Journal) read() error {
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open leases: %w", err)
	}
	defer f.Close()
	now := time.Now()
	damaged, err := readJournal(f, func(r record) {
		if r.Gone {
			delete(j.live, r.Address)
		} else {
			r.Expires = r.Stamp.Time(r.Expires, now)
			j.live[r.Address] = r.Lease
		}
	})
	j.Damaged = damaged
	if err != nil {
		return fmt.Errorf("read leases of %s: %w", j.path, err)
	}
	return nil
}

// readJournal gives every whole record, in order, and counts the others.
func readJournal(from io.Reader, each func(record)) (damaged int, err error) {
	lines := bufio.NewReaderSize(from, maxLine)
	first := true
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return damaged, nil
		case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull):
			return damaged, err
		}
		if first {
			first = false
			if string(bytes.TrimSuffix(line, []byte("\n"))) != journalHeader {
				return damaged, fmt.Errorf("first line is not %q: another file, or another version's", journalHeader)
			}
			continue
		}
		r, ok := parseLine(line)
		if !ok {
			damaged++
			continue
		}
		each(r)
	}
}

func parseLine(line []byte) (record, bool) {
	body, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole || len(body) < 10 || body[8] != ' ' {
		return record{}, false
	}
	want, err := strconv.ParseUint(string(body[:8]), 16, 32)
	body = body[9:]
	if err != nil || uint32(want) != crc32.Checksum(body, castagnoli()) {
		return record{}, false
	}
	var r record
	if json.Unmarshal(body, &r) != nil || !r.Address.IsValid() || r.Address.Zone() != "" {
		return record{}, false
	}
	return r, true
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendLine(b []byte, r record) ([]byte, error) {
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode lease of %s: %w", r.Address, err)
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(body, castagnoli()))
	b = append(b, body...)
	return append(b, '\n'), nil
}

// Load gives the leases that were in the file.
func (j *Journal) Load() ([]Lease, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	leases := make([]Lease, 0, len(j.live))
	for _, l := range j.live {
		leases = append(leases, l)
	}
	return leases, nil
}

// Put writes a lease.
func (j *Journal) Put(l Lease) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.write(newRecord(l)); err != nil {
		return err
	}
	j.live[l.Address] = l
	return nil
}

// Delete writes that a lease has ended before its time.
func (j *Journal) Delete(a netip.Addr) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.live[a]; !ok {
		return nil
	}
	if err := j.write(record{Lease: Lease{Address: a}, Gone: true}); err != nil {
		return err
	}
	delete(j.live, a)
	return nil
}

func (j *Journal) write(r record) error {
	if j.file == nil {
		return fmt.Errorf("leases %s: %w", j.path, fs.ErrClosed)
	}
	if j.lines > compactAt && j.lines > 4*len(j.live) {
		if err := j.compact(); err != nil {
			return err
		}
	}
	line, err := appendLine(nil, r)
	if err != nil {
		return err
	}
	if n, err := j.file.Write(line); err != nil {
		if n > 0 { // end the torn line, so that it damages no other
			_, _ = j.file.WriteString("\n")
		}
		return fmt.Errorf("write lease of %s: %w", r.Address, err)
	}
	j.lines++
	j.dirty = true
	return nil
}

// compact writes the live leases to a new file, syncs it and puts it in the
// place of the old one. On failure the old one stays.
func (j *Journal) compact() error {
	f, err := os.CreateTemp(filepath.Dir(j.path), filepath.Base(j.path)+".*.new")
	if err != nil {
		return fmt.Errorf("rewrite leases: %w", err)
	}
	defer func() {
		if f != j.file {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	b := []byte(journalHeader + "\n")
	for _, l := range j.live {
		if b, err = appendLine(b, newRecord(l)); err != nil {
			return err
		}
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		return fmt.Errorf("rewrite leases: %w", err)
	}
	if j.file != nil {
		_ = j.file.Close()
	}
	j.file, j.lines, j.dirty = f, len(j.live), false
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// serveSync syncs the file while it changes.
func (j *Journal) serveSync() {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-tick.C:
		}
		j.mu.Lock()
		file, dirty := j.file, j.dirty
		j.dirty = false
		j.mu.Unlock()
		if dirty && file.Sync() != nil {
			// Closed by a compaction, which has synced, or a failing disk,
			// which the next write reports.
			j.mu.Lock()
			j.dirty = j.dirty || file == j.file
			j.mu.Unlock()
		}
	}
}

// Close syncs and closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	file := j.file
	j.file = nil
	j.mu.Unlock()
	if file == nil {
		return nil
	}
	close(j.stop)
	j.syncing.Wait()
	return errors.Join(file.Sync(), file.Close(), j.lock.Close())
}
