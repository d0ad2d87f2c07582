package point

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"castpoint/tftp"
)

// uploads is the folder that takes what machines write by TFTP, logs above all.
// Every machine has a folder of its own there, by address; nothing that is there
// is ever replaced.
type uploads struct{ root *os.Root }

// openUploads opens the folder, making it when it is not there.
func openUploads(dir string) (*uploads, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("tftp-upload: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("tftp-upload: %w", err)
	}
	return &uploads{root}, nil
}

func (u *uploads) close() { _ = u.root.Close() }

// limitVersions bounds the search for a name that is free.
const limitVersions = 1000

// create begins an upload. The file has the suffix .part until it is whole.
func (u *uploads) create(_ context.Context, r tftp.Request) (tftp.Upload, error) {
	host := strings.ReplaceAll(r.Peer.Addr().Unmap().WithZone("").String(), ":", "-")
	name := path.Join(host, path.Clean("/"+r.Path))
	if path.Base(name) == host || len(name) > 255 {
		return nil, fmt.Errorf("%w: %q is no name for an upload", tftp.ErrForbidden, r.Name)
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
		return &machineFile{u.root, f, to}, nil
	}
	return nil, fmt.Errorf("%w: there are %d files called %s already: remove some", tftp.ErrForbidden, limitVersions, name)
}

// machineFile is a file on its way.
type machineFile struct {
	root *os.Root
	file *os.File
	name string
}

func (u *machineFile) Write(b []byte) (int, error) { return u.file.Write(b) }

func (u *machineFile) Commit() error {
	if err := errors.Join(u.file.Sync(), u.file.Close()); err != nil {
		u.discard()
		return fmt.Errorf("keep upload %s: %w", u.name, err)
	}
	// A link, not a rename: it never replaces a file.
	err := u.root.Link(u.name+".part", u.name)
	u.discard()
	if err != nil {
		return fmt.Errorf("keep upload %s: %w", u.name, err)
	}
	return nil
}

func (u *machineFile) Abort() {
	_ = u.file.Close() // nothing of it is kept
	u.discard()
}

func (u *machineFile) discard() { _ = u.root.Remove(u.name + ".part") }
