package backup

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"castpoint/internal/atomicfile"
	"castpoint/internal/store"
)

// maxDescription bounds the description in memory: 150 bytes for each of two
// hundred thousand objects.
const maxDescription = 32 << 20

// Errors of Restore.
var (
	// ErrInUse says that the data folder is not empty.
	ErrInUse = errors.New("is not empty")
	// ErrDamaged says that the bytes of a backup are not those that were written.
	ErrDamaged = errors.New("the backup is damaged or was cut off: take another copy of it")
)

// Restore makes a data folder out of a backup. The folder must not exist or be
// empty. Objects are taken out of a folder of objects of another library, if one
// is named, by hard link where the file system can; those that are not there are
// in the result. The settings go to the file named, or, when there is another one,
// beside it.
func Restore(ctx context.Context, from, data, settings, objects string) (_ *Result, err error) {
	fail := func(err error) error { return fmt.Errorf("restore %s: %w", from, err) }
	f, err := os.Open(from)
	if err != nil {
		return nil, fail(err)
	}
	defer f.Close()
	if data, err = filepath.Abs(data); err != nil {
		return nil, fail(err)
	}
	owner, err := vacant(data)
	if err != nil {
		return nil, fail(err)
	}
	mounted, err := isMount(data)
	if err != nil {
		return nil, fail(err)
	}
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, fail(err)
	}
	defer z.Close()
	beside := filepath.Dir(data)
	if mounted {
		beside = data
	}
	stage, err := os.MkdirTemp(beside, "."+filepath.Base(data)+".restore-*") // mode 0700
	if err != nil {
		return nil, fail(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(stage))
		}
	}()
	root, err := os.OpenRoot(stage)
	if err != nil {
		return nil, fail(err)
	}
	defer root.Close()
	archive := checked{ctx, z}
	r := &reader{tar: tar.NewReader(archive), root: root}
	kept, err := r.all()
	if err == nil {
		// The checksum of everything is behind the archive's end.
		_, err = io.Copy(io.Discard, archive)
	}
	if err == nil {
		err = store.Check(ctx, stage)
	}
	if err == nil && objects != "" {
		err = r.link(ctx, objects)
	}
	if err == nil {
		r.missing()
		err = adopt(stage, owner)
	}
	if err != nil {
		return nil, fail(err)
	}
	if err := settle(stage, data, mounted); err != nil {
		return nil, fail(err)
	}
	if r.result.Settings, err = putSettings(settings, kept, owner); err != nil {
		return nil, fmt.Errorf("the data folder is restored, the settings are not: %w", err)
	}
	return &r.result, nil
}

// lostFound is what a file system of its own has at its root from the beginning.
const lostFound = "lost+found"

// isMount says whether a folder is the root of a mounted file system: a disk for the
// library, or the volume of a container.
func isMount(dir string) (bool, error) {
	var st unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_TYPE, &st)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("statx", err)
	}
	return st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
}

// settle puts the whole folder in its place by one rename. The root of a mounted file
// system cannot be replaced: into it goes one after the other, the database last.
func settle(stage, data string, mounted bool) (err error) {
	if !mounted {
		// Remove takes an empty folder only.
		if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return errors.Join(os.Rename(stage, data), atomicfile.SyncDir(filepath.Dir(data)))
	}
	entries, err := os.ReadDir(stage)
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		if e.Name() != store.FileName {
			names = append(names, e.Name())
		}
	}
	if len(names) < len(entries) {
		names = append(names, store.FileName)
	}
	for i, name := range names {
		if err := os.Rename(filepath.Join(stage, name), filepath.Join(data, name)); err != nil {
			for _, done := range names[:i] {
				err = errors.Join(err, os.RemoveAll(filepath.Join(data, done)))
			}
			return err
		}
	}
	return errors.Join(os.Remove(stage), atomicfile.SyncDir(data))
}

// vacant checks that nothing is overwritten, and returns the owner of the folder
// that is there.
func vacant(data string) (*syscall.Stat_t, error) {
	entries, err := os.ReadDir(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != lostFound }):
		return nil, fmt.Errorf("data folder %s %w: stop the server and move it away, or name another with --data", data, ErrInUse)
	}
	info, err := os.Stat(data)
	if err != nil {
		return nil, err
	}
	owner, _ := info.Sys().(*syscall.Stat_t)
	return owner, nil
}

// adopt gives the files to the owner of the folder that they replace, so that a
// service can use what root has restored.
func adopt(stage string, owner *syscall.Stat_t) error {
	if owner == nil || os.Geteuid() != 0 {
		return nil
	}
	return filepath.WalkDir(stage, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(name, int(owner.Uid), int(owner.Gid))
	})
}

// checked tells errors of the compressed bytes from those of the disk written to, and
// ends with its context.
type checked struct {
	ctx  context.Context
	from io.Reader
}

func (c checked) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.from.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, err
}

// reader takes one archive apart.
type reader struct {
	tar    *tar.Reader
	root   *os.Root // of the folder that becomes the data folder
	result Result
}

// all puts the files in place and returns the settings file, nil if there was none.
func (r *reader) all() (settings []byte, err error) {
	h, err := r.tar.Next()
	switch {
	case errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, io.EOF), errors.Is(err, tar.ErrHeader), err == nil && h.Name != nameDescription:
		return nil, errors.New("this is no backup of castpoint")
	case err != nil:
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r.tar, maxDescription))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &r.result.Description); err != nil {
		return nil, fmt.Errorf("%s: %w", nameDescription, err)
	}
	if r.result.Format != Format {
		return nil, fmt.Errorf("the backup has format %d, made by castpoint %s; this castpoint reads format %d", r.result.Format, r.result.Version, Format)
	}
	for {
		h, err := r.tar.Next()
		if errors.Is(err, io.EOF) {
			return settings, nil
		}
		if errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return nil, err
		}
		if h.Name == nameSettings {
			if settings, err = io.ReadAll(io.LimitReader(r.tar, 1<<20)); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.entry(h); err != nil {
			return nil, fmt.Errorf("%q: %w", h.Name, err)
		}
	}
}

func (r *reader) entry(h *tar.Header) error {
	name, ok := strings.CutPrefix(h.Name, nameData+"/")
	name = path.Clean(name)
	if !ok || !filepath.IsLocal(name) || name == "." {
		return errors.New("no name of a file in a data folder")
	}
	mode := fs.FileMode(h.Mode).Perm() // nothing else: no sticky bits, no links
	switch h.Typeflag {
	case tar.TypeDir:
		return r.root.MkdirAll(name, mode|0o700)
	case tar.TypeReg:
	default:
		return errors.New("neither a file nor a folder")
	}
	if err := r.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, r.tar)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	r.result.Files, r.result.Bytes = r.result.Files+1, r.result.Bytes+n
	return nil
}

// place is an object's path in a folder of objects.
func place(o Object) (string, error) {
	if len(o.SHA256) != 64 || strings.Trim(o.SHA256, "0123456789abcdef") != "" {
		return "", fmt.Errorf("object %q: no SHA-256", o.SHA256)
	}
	return filepath.Join(o.SHA256[:2], o.SHA256), nil
}

// link takes objects of the right size out of another library. castpoint content
// validate reads them.
func (r *reader) link(ctx context.Context, from string) error {
	if _, err := os.ReadDir(from); err != nil {
		return fmt.Errorf("folder of objects: %w", err)
	}
	for _, o := range r.result.Objects {
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := place(o)
		if err != nil {
			return err
		}
		old := filepath.Join(from, rel)
		if st, err := os.Stat(old); err != nil || st.Size() != o.Size {
			continue
		}
		to := filepath.Join(r.root.Name(), "library", "objects", rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
			return err
		}
		if os.Link(old, to) == nil {
			continue
		}
		if err := copyFile(to, old); err != nil {
			return fmt.Errorf("object %s: %w", o.SHA256, err)
		}
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// missing notes the objects that are not there.
func (r *reader) missing() {
	for _, o := range r.result.Objects {
		rel, err := place(o)
		if err == nil {
			_, err = r.root.Stat(filepath.Join("library", "objects", rel))
		}
		if err != nil {
			r.result.Missing = append(r.result.Missing, o)
		}
	}
}

// putSettings writes the settings file where none is, and beside one that differs. The
// service reads it, so it belongs to the group of the data folder's owner.
func putSettings(to string, settings []byte, owner *syscall.Stat_t) (string, error) {
	if settings == nil || to == "" {
		return "", nil
	}
	switch there, err := os.ReadFile(to); {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return "", err
		}
	case err != nil:
		return "", err
	case bytes.Equal(there, settings):
		return to, nil
	default:
		to += ".restored"
	}
	if err := atomicfile.Write(to, settings); err != nil {
		return "", err
	}
	if owner == nil || os.Geteuid() != 0 {
		return to, nil
	}
	return to, errors.Join(os.Lchown(to, 0, int(owner.Gid)), os.Chmod(to, 0o640))
}
