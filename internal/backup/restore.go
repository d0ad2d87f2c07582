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
	"strings"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"castpoint/internal/atomicfile"
	"castpoint/internal/store"
)

// maxDescription bounds the description in memory: 150 bytes for each of two
// hundred thousand objects.
const maxDescription = 32 << 20

// ErrInUse says that the data folder is not empty.
var ErrInUse = errors.New("is not empty")

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
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		return nil, fail(err)
	}
	defer z.Close()
	stage, err := os.MkdirTemp(filepath.Dir(data), "."+filepath.Base(data)+".restore-*") // mode 0700
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
	r := &reader{tar: tar.NewReader(z), root: root}
	kept, err := r.all()
	if err == nil {
		err = store.Check(ctx, stage)
	}
	if err == nil && objects != "" {
		err = r.link(objects)
	}
	if err == nil {
		r.missing()
		err = adopt(stage, owner)
	}
	if err != nil {
		return nil, fail(err)
	}
	// Remove takes an empty folder only.
	if err := os.Remove(data); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(err)
	}
	if err := errors.Join(os.Rename(stage, data), atomicfile.SyncDir(filepath.Dir(data))); err != nil {
		return nil, fail(err)
	}
	if r.result.Settings, err = putSettings(settings, kept, owner); err != nil {
		return nil, fmt.Errorf("the data folder is restored, the settings are not: %w", err)
	}
	return &r.result, nil
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
	case len(entries) > 0:
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

// reader takes one archive apart.
type reader struct {
	tar    *tar.Reader
	root   *os.Root // of the folder that becomes the data folder
	result Result
}

// all puts the files in place and returns the settings file, nil if there was none.
func (r *reader) all() (settings []byte, err error) {
	h, err := r.tar.Next()
	if err != nil || h.Name != nameDescription {
		return nil, errors.Join(errors.New("this is no backup of castpoint"), err)
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
		if err != nil {
			return nil, fmt.Errorf("the backup is damaged or was cut off: %w", err)
		}
		if h.Name == nameSettings {
			if settings, err = io.ReadAll(io.LimitReader(r.tar, 1<<20)); err != nil {
				return nil, err
			}
			continue
		}
		if err := r.entry(h); err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
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
func (r *reader) link(from string) error {
	for _, o := range r.result.Objects {
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
