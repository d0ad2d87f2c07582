package backup

import (
	"archive/tar"
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
	"time"

	"github.com/klauspost/compress/zstd"

	"castpoint/internal/atomicfile"
	"castpoint/internal/store"
)

// skipped are what a data folder holds only while a server runs, or can get again.
// The database is carried as a snapshot.
var skipped = map[string]bool{
	"admin.sock": true, "admin.json": true, "downloads": true,
	"library/objects": true, "library/tmp": true, "library/lock": true,
	lostFound:      true,
	store.FileName: true, store.FileName + "-wal": true, store.FileName + "-shm": true,
}

// Write makes a backup of a data folder, while a server may be working with it,
// and of the settings file, if there is one. A backup that exists is replaced
// when the new one is whole.
func Write(ctx context.Context, to, data, settings, version string) (_ *Result, err error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("back up: %w", err)
	}
	w := &writer{data: data, now: time.Now().UTC().Truncate(time.Second)}
	w.result.Description = Description{Format: Format, Version: version, Host: host, Time: w.now}
	if w.result.Objects, err = objects(data); err != nil {
		return nil, fmt.Errorf("back up %s: %w", data, err)
	}
	// Beside its place, so that the rename stays within one file system.
	tmp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("write backup %s: %w", to, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	z, err := zstd.NewWriter(tmp)
	if err != nil {
		return nil, fmt.Errorf("write backup %s: %w", to, err)
	}
	w.tar = tar.NewWriter(z)
	err = w.all(ctx, settings)
	if err = errors.Join(err, w.tar.Close(), z.Close()); err == nil {
		err = tmp.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("back up %s: %w", data, err)
	}
	if err := os.Rename(tmp.Name(), to); err != nil {
		return nil, fmt.Errorf("write backup %s: %w", to, err)
	}
	if err := errors.Join(tmp.Close(), atomicfile.SyncDir(filepath.Dir(to))); err != nil {
		return nil, fmt.Errorf("write backup %s: %w", to, err)
	}
	return &w.result, nil
}

// writer fills one archive.
type writer struct {
	tar    *tar.Writer
	data   string
	now    time.Time
	result Result
}

func (w *writer) all(ctx context.Context, settings string) error {
	b, err := json.Marshal(w.result.Description)
	if err != nil {
		return err
	}
	if err := w.bytes(nameDescription, b); err != nil {
		return err
	}
	switch b, err := os.ReadFile(settings); {
	case errors.Is(err, fs.ErrNotExist) || settings == "":
	case err != nil:
		return err
	default:
		if err := w.bytes(nameSettings, b); err != nil {
			return err
		}
	}
	// Contents go before manifests: a content that is added meanwhile is left out,
	// or has its manifest, which was there before it.
	if err := w.tree("library/contents"); err != nil {
		return err
	}
	if err := w.tree("."); err != nil {
		return err
	}
	return w.database(ctx)
}

// tree adds the files of a folder of the data folder. What goes away meanwhile was
// removed by the server.
func (w *writer) tree(root string) error {
	return filepath.WalkDir(filepath.Join(w.data, root), func(name string, d fs.DirEntry, err error) error {
		rel, relErr := filepath.Rel(w.data, name)
		if relErr != nil {
			return relErr
		}
		rel = filepath.ToSlash(rel)
		switch {
		case errors.Is(err, fs.ErrNotExist) && rel != ".":
			return nil
		case err != nil:
			return err
		case skipped[rel] || rel == "library/contents" && root == ".":
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			if rel == "." {
				return nil
			}
			return w.folder(rel, d)
		case !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "."):
			return nil // sockets, and files that are being written
		}
		return w.file(rel, name)
	})
}

func (w *writer) folder(rel string, d fs.DirEntry) error {
	info, err := d.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: path.Join(nameData, rel) + "/", Mode: int64(info.Mode().Perm()), ModTime: w.now,
	})
}

func (w *writer) file(rel, name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{
		Typeflag: tar.TypeReg, Name: path.Join(nameData, rel), Size: info.Size(), Mode: int64(info.Mode().Perm()), ModTime: info.ModTime(),
	}
	if err := w.tar.WriteHeader(h); err != nil {
		return err
	}
	// A file that grows meanwhile, as the leases do, is carried as it was at first:
	// whole lines, for it is only ever added to.
	n, err := io.CopyN(w.tar, f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	w.result.Files, w.result.Bytes = w.result.Files+1, w.result.Bytes+n
	return nil
}

func (w *writer) bytes(name string, b []byte) error {
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(b)), Mode: 0o600, ModTime: w.now}); err != nil {
		return err
	}
	_, err := w.tar.Write(b)
	return err
}

func (w *writer) database(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "castpoint-backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	snapshot := filepath.Join(dir, store.FileName)
	ok, err := store.Snapshot(ctx, w.data, snapshot)
	if err != nil || !ok {
		return err
	}
	return w.file(store.FileName, snapshot)
}

// objects lists the library's objects.
func objects(data string) ([]Object, error) {
	var list []Object
	root := filepath.Join(data, "library", "objects")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed meanwhile, or a library without objects
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		list = append(list, Object{d.Name(), info.Size()})
		return nil
	})
	return list, err
}
