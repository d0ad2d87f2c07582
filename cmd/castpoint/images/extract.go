package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"castpoint/cmd/castpoint/cli"
	"castpoint/content/wim"
)

// extraction writes into one folder and nowhere else, whatever the image says.
// plan makes the folders and the empty files and notes the others; run then reads
// each content once, in the order of the WIM file, with several processors.
type extraction struct {
	reader *wim.Reader
	tree   *wim.Tree
	root   *os.Root
	force  bool

	files map[wim.Hash][]target
	blobs []wim.Hash
	twice map[string]bool // paths that were planned
	mu    sync.Mutex
	done  Extracted
}

// target is a file to be written.
type target struct {
	path string
	time time.Time
}

func newExtraction(r *wim.Reader, t *wim.Tree, out string, force bool) (*extraction, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		return nil, err
	}
	return &extraction{reader: r, tree: t, root: root, force: force, files: map[wim.Hash][]target{}, twice: map[string]bool{}}, nil
}

// plan takes a file or folder under its own name; of the root, what is in it.
func (x *extraction) plan(ctx context.Context, name string) error {
	e, err := lookup(x.tree, name)
	if err != nil {
		return err
	}
	top := path.Dir(name)
	return walkBelow(x.tree, name, e, true, func(full string, e wim.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := strings.TrimPrefix(strings.TrimPrefix(full, top), "/")
		if to == "" || x.twice[to] { // one file by two of the paths asked for
			return nil
		}
		x.twice[to] = true
		data, ok := e.Data()
		switch {
		case e.IsDir():
			x.done.Folders++
			return x.root.MkdirAll(to, 0o755)
		case ok && e.ReparseTag == 0 && data.Hash != (wim.Hash{}):
			if x.files[data.Hash] == nil {
				x.blobs = append(x.blobs, data.Hash)
			}
			x.files[data.Hash] = append(x.files[data.Hash], target{to, e.Modified})
			return nil
		case e.ReparseTag == 0 && (ok || len(e.Streams) == 0): // an empty file
			w, err := x.create(target{to, e.Modified})
			if err != nil {
				return err
			}
			return w.Done(nil)
		}
		x.done.Skipped = append(x.done.Skipped, full)
		return nil
	})
}

// run writes what was planned.
func (x *extraction) run(ctx context.Context, threads int, progress func(done, total int64)) error {
	err := x.reader.ReadBlobs(ctx, x.blobs, threads, func(h wim.Hash) (wim.BlobWriter, error) {
		w, err := x.create(x.files[h][0])
		if err != nil {
			return nil, err
		}
		return w, nil
	}, progress)
	var damaged *wim.BlobError
	if errors.As(err, &damaged) && x.files[damaged.Hash] != nil {
		return fmt.Errorf("%s: %w", visible(x.files[damaged.Hash][0].path), err)
	}
	if err != nil {
		return err
	}
	for _, targets := range x.files {
		for _, t := range targets[1:] {
			if err := x.copy(ctx, targets[0], t); err != nil {
				return err
			}
		}
	}
	return nil
}

// copy writes a file that has the content of another.
func (x *extraction) copy(ctx context.Context, from, to target) error {
	f, err := x.root.Open(from.path)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := x.create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, contextReader{ctx, f})
	return w.Done(err)
}

// extractedFile is a file that is being written.
type extractedFile struct {
	x *extraction
	f *os.File
	target
	n int64
}

// create makes a file.
func (x *extraction) create(t target) (*extractedFile, error) {
	flags := os.O_CREATE | os.O_WRONLY | os.O_EXCL
	if x.force {
		flags = os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	}
	f, err := x.root.OpenFile(t.path, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, cli.Refused(fmt.Errorf("%s exists: --force replaces it", t.path))
	}
	if err != nil {
		return nil, err
	}
	return &extractedFile{x: x, f: f, target: t}, nil
}

// Write implements wim.BlobWriter.
func (w *extractedFile) Write(b []byte) (int, error) {
	n, err := w.f.Write(b)
	w.n += int64(n)
	return n, err
}

// Done implements wim.BlobWriter.
func (w *extractedFile) Done(err error) error {
	if err = errors.Join(err, w.f.Close()); err != nil {
		_ = w.x.root.Remove(w.path) // what is wrong is not left behind
		return err
	}
	w.x.mu.Lock()
	w.x.done.Files++
	w.x.done.Bytes += w.n
	w.x.mu.Unlock()
	return w.x.root.Chtimes(w.path, w.time, w.time)
}
