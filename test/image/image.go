// Package image makes real WIM files out of what is on this machine, and checks
// them, both with wimlib: a program that castpoint has no part in.
package image

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compression is what XPRESS makes of programs and libraries, about.
const compression = 2.6

// Make writes a WIM file of at least the given size in bytes (and usually not
// much more) from files under /usr, named name in its XML, with one image. What
// is missing because files compress well is filled up with random bytes.
func Make(ctx context.Context, path, name string, size int64) error {
	sources, err := choose("/usr", int64(float64(size)*compression))
	if err != nil {
		return fmt.Errorf("choose files for a WIM: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(path), "wim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	list := filepath.Join(work, "list")
	if err := os.WriteFile(list, []byte(strings.Join(sources, "\n")+"\n"), 0o644); err != nil {
		return err
	}
	if err := wimlib(ctx, "capture", list, path, name, "made by wimlib for castpoint's tests",
		"--source-list", "--compress=XPRESS", "--no-acls", "--check"); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() >= size {
		return nil
	}
	filler := filepath.Join(work, "filler")
	f, err := os.Create(filler)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, size-info.Size())
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return wimlib(ctx, "update", path, "1", "--command", "add '"+filler+"' /filler", "--no-acls")
}

// Export writes the images of a WIM file into another, with options of
// wimlib-imagex export that say how.
func Export(ctx context.Context, from, to string, args ...string) error {
	return wimlib(ctx, append([]string{"export", from, "all", to}, args...)...)
}

// choose lists folders below root, one line for wimlib each ("source target",
// in quotes), whose files have about the given number of bytes together.
func choose(root string, want int64) ([]string, error) {
	var lines []string
	var have int64
	var visit func(dir string) error
	visit = func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if have >= want {
				return nil
			}
			if strings.ContainsAny(path, "\"'\n") || !(e.IsDir() || e.Type().IsRegular()) {
				continue
			}
			n, err := sizeOf(path)
			if err != nil {
				return err
			}
			// A folder that is far too big is taken in parts.
			if have+n > want+want/20 {
				if e.IsDir() {
					if err := visit(path); err != nil {
						return err
					}
				}
				continue
			}
			have += n
			lines = append(lines, fmt.Sprintf("%q %q", path, strings.TrimPrefix(path, "/")))
		}
		return nil
	}
	if err := visit(root); err != nil {
		return nil, err
	}
	return lines, nil
}

func sizeOf(path string) (int64, error) {
	var n int64
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n += info.Size()
		return nil
	})
	return n, err
}

// Verify checks every resource of a WIM file against its SHA-1, and the
// integrity table if there is one.
func Verify(ctx context.Context, path string) error {
	return wimlib(ctx, "verify", path)
}

// wimlib runs wimlib-imagex, which is quiet about what went well.
func wimlib(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "wimlib-imagex", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return errors.New("wimlib-imagex is not here: run test/install-tools")
	}
	if err != nil {
		// Progress is written with carriage returns; the reason comes last.
		lines := bytes.FieldsFunc(bytes.TrimSpace(out), func(r rune) bool { return r == '\n' || r == '\r' })
		return fmt.Errorf("wimlib-imagex %s: %w: %s", args[0], err, bytes.Join(lines[max(0, len(lines)-3):], []byte("; ")))
	}
	return nil
}

// Same compares a received file with the source, byte by byte.
func Same(want, have string) error {
	a, err := os.Open(want)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(have)
	if err != nil {
		return fmt.Errorf("received file: %w", err)
	}
	defer b.Close()
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		na, errA := io.ReadFull(a, bufA)
		nb, errB := io.ReadFull(b, bufB)
		if na != nb || string(bufA[:na]) != string(bufB[:nb]) {
			return fmt.Errorf("%s differs from the source within the MiB at offset %d", have, at)
		}
		at += int64(na)
		if errA != nil || errB != nil {
			if errors.Is(errA, io.EOF) || errors.Is(errA, io.ErrUnexpectedEOF) {
				return nil
			}
			return errors.Join(errA, errB)
		}
	}
}
