// Package inbox is the folder that takes what machines write by TFTP, logs above all.
package inbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"castpoint/tftp"
)

// Inbox is such a folder. Every machine has a folder of its own there, by address;
// nothing that is there is ever replaced. Anybody may send files: they leave the
// reserve of the disk free.
type Inbox struct {
	root *os.Root
	room func() error // says why no more may be written
}

// Open opens the folder, making it when it is not there. So many bytes of its
// disk stay free.
func Open(dir string, reserve int64) (*Inbox, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("tftp-upload: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("tftp-upload: %w", err)
	}
	return &Inbox{root, func() error { return roomIn(dir, reserve) }}, nil
}

// leastFree is the share of a file system that is left for others, of its files and,
// where the reserve is more than that, of its bytes: small ones are used, too.
const leastFree = 0.05

// roomIn says why no more may be written to a file system: it has no more than is kept.
func roomIn(dir string, reserve int64) error {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	return tooFull(dir, &disk, reserve)
}

func tooFull(dir string, disk *syscall.Statfs_t, reserve int64) error {
	reserve = min(reserve, int64(leastFree*float64(disk.Blocks))*disk.Bsize)
	if free := int64(disk.Bavail) * disk.Bsize; free < reserve || free == 0 {
		return fmt.Errorf("%w: %s has %d bytes free, and %d are kept (setting disk-reserve)", tftp.ErrNoSpace, dir, free, reserve)
	}
	if float64(disk.Ffree) < leastFree*float64(disk.Files) {
		return fmt.Errorf("%w: the file system of %s has room for %d files only", tftp.ErrNoSpace, dir, disk.Ffree)
	}
	return nil
}

// Close gives the folder up.
func (u *Inbox) Close() { _ = u.root.Close() }

// limitVersions bounds the search for a name that is free.
const limitVersions = 1000

// Create begins an upload. The file has the suffix .part until it is whole.
func (u *Inbox) Create(_ context.Context, r tftp.Request) (tftp.Upload, error) {
	host := strings.ReplaceAll(r.Peer.Addr().Unmap().WithZone("").String(), ":", "-")
	name := path.Join(host, path.Clean("/"+r.Path))
	if path.Base(name) == host || len(name) > 255 {
		return nil, fmt.Errorf("%w: %q is no name for an upload", tftp.ErrForbidden, r.Name)
	}
	if err := u.room(); err != nil {
		return nil, fmt.Errorf("take upload %s: %w", name, err)
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o750); err != nil {
		return nil, fmt.Errorf("take upload %s: %w", name, err)
	}
	for n := 1; n <= limitVersions; n++ {
		to := name
		if n > 1 {
			to = fmt.Sprintf("%s.%d", name, n)
		}
		if _, err := u.root.Lstat(to); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		f, err := u.root.OpenFile(to+".part", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
		if errors.Is(err, fs.ErrExist) {
			continue // another transfer, or what a crash has left
		}
		if err != nil {
			return nil, fmt.Errorf("take upload %s: %w", name, err)
		}
		return &machineFile{of: u, file: f, name: to}, nil
	}
	return nil, fmt.Errorf("%w: there are %d files called %s already: remove some", tftp.ErrForbidden, limitVersions, name)
}

// machineFile is a file on its way.
type machineFile struct {
	of    *Inbox
	file  *os.File
	name  string
	since int64 // bytes since there was room
}

// roomEvery is after how many bytes an upload asks for room again.
const roomEvery = 1 << 20

func (u *machineFile) Write(b []byte) (int, error) {
	if u.since += int64(len(b)); u.since > roomEvery {
		if err := u.of.room(); err != nil {
			return 0, err
		}
		u.since = 0
	}
	return u.file.Write(b)
}

func (u *machineFile) Commit() error {
	if err := errors.Join(u.file.Sync(), u.file.Close()); err != nil {
		u.discard()
		return fmt.Errorf("keep upload %s: %w", u.name, err)
	}
	// A link, not a rename: it never replaces a file.
	err := u.of.root.Link(u.name+".part", u.name)
	u.discard()
	if err != nil {
		return fmt.Errorf("keep upload %s: %w", u.name, err)
	}
	return nil
}

func (u *machineFile) Abort() {
	_ = u.file.Close() // nothing of it is kept
	u.discard()
	// Nor are folders, where nothing else is in them: addresses are easily made up.
	for dir := path.Dir(u.name); dir != "."; dir = path.Dir(dir) {
		if u.of.root.Remove(dir) != nil {
			return
		}
	}
}

func (u *machineFile) discard() { _ = u.of.root.Remove(u.name + ".part") }
