// Package target is where a content goes: a file or a disk, a folder, or the standard
// input of a program. What is incomplete has the name OUT.part, and a state file beside
// it, by which a later receive goes on.
package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"castpoint/agent"
	"castpoint/internal/atomicfile"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
)

// Target is where a content goes: a file or a disk, a folder, or a pipe.
type Target interface {
	// Targets are where the objects of an admission go, nil for those that are not
	// for this member.
	Targets(adm *multicast.Admission) ([]assembly.Target, error)
	// Reserve takes room for size bytes.
	Reserve(size int64) error
	// Resumable says that there may be blocks of an earlier receive.
	Resumable() bool
	// Where names the output in messages.
	Where() string
	// Finish is for a content that is complete.
	Finish() error
	// Discard removes an output of which nothing is worth keeping.
	Discard() error
	// Abandon leaves what is there for the next receive.
	Abandon()
}

// File is a file or a disk.
type File struct {
	*os.File
	out    string // final path
	device bool
	fresh  bool // made by this receive: nothing in it is worth keeping
}

// single is the one target of an output that takes one file.
func single(adm *multicast.Admission, t assembly.Target) ([]assembly.Target, error) {
	if adm.Folder || len(adm.Files) != 1 {
		return nil, ErrFolder
	}
	list := make([]assembly.Target, len(adm.Objects))
	list[adm.Files[0].Object] = t
	return list, nil
}

// ErrFolder is for contents of several files where one is expected.
var ErrFolder = agent.Errorf(agent.ErrRefused, "the content is a folder of files: say --out and the name of a folder that is to be made")

// Targets has the file for the one object.
func (t *File) Targets(adm *multicast.Admission) ([]assembly.Target, error) { return single(adm, t) }

// OpenFile opens the target without changing what is in it, and keeps other
// receivers away from it.
func OpenFile(out string, device bool) (*File, error) {
	t := &File{out: out, device: device}
	if device {
		f, err := openDevice(out)
		if err != nil {
			return nil, err
		}
		t.File = f
		return t, nil
	}
	part := out + PartSuffix
	_, err := os.Lstat(part)
	t.fresh = errors.Is(err, fs.ErrNotExist)
	if t.File, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	if err := lockFile(t.File); err != nil {
		return nil, errors.Join(agent.Errorf(agent.ErrRefused, "output %s: another receive is writing %s: %w", out, part, err), t.Close())
	}
	return t, nil
}

// Reserve takes room for size bytes, so that a full disk is found before the
// first block.
func (t *File) Reserve(size int64) error {
	if t.device {
		have, err := deviceSize(t.File)
		if err != nil {
			return fmt.Errorf("output %s: %w", t.out, err)
		}
		if have < size {
			return agent.Errorf(agent.ErrRefused, "output %s has %s, the object needs %s: choose a larger disk", t.out, agent.Size(have), agent.Size(size))
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
	if IsFull(err) {
		free := "too little"
		if n, freeErr := freeSpace(filepath.Dir(t.out)); freeErr == nil {
			free = agent.Size(n)
		}
		err = fmt.Errorf("output %s needs %s, and %s has %s free: make room, or choose another place", t.out, agent.Size(size), filepath.Dir(t.out), free)
	} else {
		err = fmt.Errorf("output %s: take room for %s: %w", t.out, agent.Size(size), err)
	}
	return err
}

// Resumable says that there may be blocks of an earlier receive.
func (t *File) Resumable() bool { return !t.fresh && !t.device }

// Where is the output in messages.
func (t *File) Where() string { return t.Name() }

// Abandon closes the file when finish has not; what matters was synced, or is
// found again by hash.
func (t *File) Abandon() { _ = t.Close() }

// Discard removes a target of which nothing is worth keeping.
func (t *File) Discard() error {
	err := t.Close()
	if errors.Is(err, fs.ErrClosed) {
		err = nil
	}
	if t.fresh && !t.device {
		err = errors.Join(err, os.Remove(t.Name()))
	}
	return err
}

// Finish gives a complete file its name, durably.
func (t *File) Finish() error {
	if err := t.Close(); err != nil {
		return fmt.Errorf("output %s: %w", t.out, err)
	}
	if t.device {
		return nil
	}
	if err := os.Rename(t.out+PartSuffix, t.out); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := atomicfile.SyncDir(filepath.Dir(t.out)); err != nil {
		return fmt.Errorf("output %s: %w", t.out, err)
	}
	return nil
}
