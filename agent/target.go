package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"castpoint/internal/atomicfile"
	"castpoint/multicast"
)

// Suffixes of a target's files while it is incomplete.
const (
	suffixPart  = ".part"
	suffixState = ".part.json"
)

// output is where a content goes: a file or a disk, a folder, or a pipe.
type output interface {
	// targets are where the objects of an admission go, nil for those that are not
	// for this member.
	targets(adm *multicast.Admission) ([]multicast.Target, error)
	// reserve takes room for size bytes.
	reserve(size int64) error
	// resumable says that there may be blocks of an earlier receive.
	resumable() bool
	where() string
	// finish is for a content that is complete.
	finish() error
	// discard removes an output of which nothing is worth keeping.
	discard() error
	// abandon leaves what is there for the next receive.
	abandon()
}

// target is a file or a disk.
type target struct {
	*os.File
	out    string // final path
	device bool
	fresh  bool // made by this receive: nothing in it is worth keeping
}

// single is the one target of an output that takes one file.
func single(adm *multicast.Admission, t multicast.Target) ([]multicast.Target, error) {
	if adm.Folder || len(adm.Files) != 1 {
		return nil, errFolder
	}
	list := make([]multicast.Target, len(adm.Objects))
	list[adm.Files[0].Object] = t
	return list, nil
}

// errFolder is for contents of several files where one is expected.
var errFolder = mark(ErrRefused, "the content is a folder of files: say --out and the name of a folder that is to be made")

func (t *target) targets(adm *multicast.Admission) ([]multicast.Target, error) { return single(adm, t) }

// checkOut says whether the content may go to out, before anything is asked of
// the server. device is true for a disk.
func checkOut(out string, force bool) (device bool, err error) {
	if out == "" {
		return false, mark(ErrUsage, "no output given: say --out and a name")
	}
	info, err := os.Stat(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir, err := os.Stat(filepath.Dir(out))
		if err == nil && !dir.IsDir() {
			err = errors.New("is not a folder")
		}
		if err != nil {
			return false, mark(ErrUsage, "output %s: the folder %s cannot be used: %w", out, filepath.Dir(out), bare(err))
		}
		return false, nil
	case err != nil:
		return false, fmt.Errorf("output: %w", err)
	case info.IsDir():
		return false, mark(ErrUsage, "output %s is a folder: name a file in it, or for a content of several files a folder that is not there yet", out)
	case info.Mode().IsRegular():
		if !force {
			return false, mark(ErrRefused, "output %s exists already: remove it, name another, or say --force to replace it", out)
		}
		return false, nil
	}
	return true, checkDevice(out, info)
}

// bare is an error without the path that is named already.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// statePath is where the state of a receive into out is kept: beside a file; for
// a disk in memory, where it lasts as long as the boot environment.
func statePath(out string, device bool) string {
	if !device {
		return out + suffixState
	}
	return filepath.Join(volatileDir(), "castpoint-"+strings.ReplaceAll(strings.Trim(filepath.Clean(out), `/\`), string(filepath.Separator), "-")+suffixState)
}

// openTarget opens the target without changing what is in it, and keeps other
// receivers away from it.
func openTarget(out string, device bool) (*target, error) {
	t := &target{out: out, device: device}
	if device {
		f, err := openDevice(out)
		if err != nil {
			return nil, err
		}
		t.File = f
		return t, nil
	}
	part := out + suffixPart
	_, err := os.Lstat(part)
	t.fresh = errors.Is(err, fs.ErrNotExist)
	if t.File, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	if err := lockFile(t.File); err != nil {
		return nil, errors.Join(mark(ErrRefused, "output %s: another receive is writing %s: %w", out, part, err), t.Close())
	}
	return t, nil
}

// reserve takes room for size bytes, so that a full disk is found before the
// first block.
func (t *target) reserve(size int64) error {
	if t.device {
		have, err := deviceSize(t.File)
		if err != nil {
			return fmt.Errorf("output %s: %w", t.out, err)
		}
		if have < size {
			return mark(ErrRefused, "output %s has %s, the object needs %s: choose a larger disk", t.out, Size(have), Size(size))
		}
		return nil
	}
	err := t.Truncate(size)
	if err == nil {
		err = allocate(t.File, size)
	}
	if err == nil {
		return nil
	}
	if isFull(err) {
		free := "too little"
		if n, freeErr := freeSpace(filepath.Dir(t.out)); freeErr == nil {
			free = Size(n)
		}
		err = fmt.Errorf("output %s needs %s, and %s has %s free: make room, or choose another place", t.out, Size(size), filepath.Dir(t.out), free)
	} else {
		err = fmt.Errorf("output %s: take room for %s: %w", t.out, Size(size), err)
	}
	return err
}

func (t *target) resumable() bool { return !t.fresh && !t.device }

func (t *target) where() string { return t.Name() }

// abandon closes the file when finish has not; what matters was synced, or is
// found again by hash.
func (t *target) abandon() { _ = t.Close() }

// discard removes a target of which nothing is worth keeping.
func (t *target) discard() error {
	err := t.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	if t.fresh && !t.device {
		err = errors.Join(err, os.Remove(t.Name()))
	}
	return err
}

// finish gives a complete file its name, durably.
func (t *target) finish() error {
	if err := t.Close(); err != nil {
		return fmt.Errorf("output %s: %w", t.out, err)
	}
	if t.device {
		return nil
	}
	if err := os.Rename(t.out+suffixPart, t.out); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(t.out)); err != nil {
		return fmt.Errorf("output %s: %w", t.out, err)
	}
	return nil
}

// Size writes a number of bytes the way people read it: 1 kB is 1000 bytes.
func Size(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return fmt.Sprintf("%d bytes", n)
	}
	v, u := float64(n), -1
	for v >= 999.5 && u < len(units)-1 {
		v /= 1000
		u++
	}
	return fmt.Sprintf("%.3g %cB", v, units[u])
}

// Rate writes bits per second the way people read it.
func Rate(bits float64) string {
	units := []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s"}
	u := 0
	for bits >= 999.5 && u < len(units)-1 {
		bits /= 1000
		u++
	}
	return fmt.Sprintf("%.3g %s", bits, units[u])
}
