package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Find looks a path up below a folder as Windows does, whatever the letter case:
// images differ in it, and the file systems of the boot environment do not ignore
// it. It returns the path as it is on the disk; fs.ErrNotExist when there is none.
func Find(root, path string) (string, error) {
	at := root
	for part := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		if part == "" {
			continue
		}
		exact := filepath.Join(at, part)
		if _, err := os.Lstat(exact); err == nil {
			at = exact
			continue
		}
		entries, err := os.ReadDir(at)
		if err != nil {
			return "", err
		}
		found := ""
		for _, e := range entries {
			if strings.EqualFold(e.Name(), part) {
				found = filepath.Join(at, e.Name())
				break
			}
		}
		if found == "" {
			return "", &fs.PathError{Op: "find", Path: filepath.Join(root, filepath.FromSlash(path)), Err: fs.ErrNotExist}
		}
		at = found
	}
	return at, nil
}

// makeFolder makes folders below root, taking those that are there in another letter
// case, and returns the path.
func makeFolder(root, path string) (string, error) {
	at := root
	for part := range strings.SplitSeq(strings.ReplaceAll(path, `\`, "/"), "/") {
		if part == "" {
			continue
		}
		next, err := Find(at, part)
		if errors.Is(err, fs.ErrNotExist) {
			next = filepath.Join(at, part)
			err = os.Mkdir(next, 0o755)
		}
		if err != nil {
			return "", err
		}
		at = next
	}
	return at, nil
}

// copyTree copies the files of a folder into another, which is made. What is there
// under the same name is replaced.
func copyTree(ctx context.Context, from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dest := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(dest, 0o755)
		}
		if !d.Type().IsRegular() {
			return nil
		}
		return copyFile(path, dest)
	})
}

// copyFile replaces a file, durably: it may be the one that the machine boots by.
func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, err)
	}
	return nil
}

// writeFile writes a file, durably.
func writeFile(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
