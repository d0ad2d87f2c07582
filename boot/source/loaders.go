package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"castpoint/boot"
	"castpoint/boot/asset"
)

// DefaultDir is where Debian's ipxe package puts its files.
const DefaultDir = "/usr/lib/ipxe"

const (
	loaderDepth  = 6               // folders below a loader folder that are looked into: EFI/Microsoft/Boot/Fonts is four
	loaderFiles  = 4096            // files indexed in all; a loader folder has dozens
	loaderRescan = 2 * time.Second // least time between two scans caused by unknown names
)

// Loaders finds loader files by name in one or more folders on disk. Letter
// case does not matter; the first folder that has a name wins. A file that
// appears later is found without a restart. Safe for concurrent use.
type Loaders struct {
	dirs []string
	sets string // folder of imported assets, searched behind dirs; "" for none
	now  func() time.Time

	mu      sync.Mutex
	index   map[string]string // lower-case name with slashes -> path on disk
	held    map[string]bool   // what has found
	scanned time.Time
	changed time.Time // of the folder sets when it was scanned
}

// NewLoaders indexes the folders; with none it takes [DefaultDir]. A
// folder that is missing is no error (the package may be installed later), a
// path that is not a folder or cannot be read is.
func NewLoaders(dirs ...string) (*Loaders, error) {
	if len(dirs) == 0 {
		dirs = []string{DefaultDir}
	}
	l := &Loaders{now: time.Now}
	for _, d := range dirs {
		abs, err := filepath.Abs(d)
		if err != nil {
			return nil, fmt.Errorf("loader folder %q: %w", d, err)
		}
		switch st, err := os.Stat(abs); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, fmt.Errorf("loader folder: %w", err)
		case !st.IsDir():
			return nil, fmt.Errorf("loader folder %s: not a folder", abs)
		}
		l.dirs = append(l.dirs, abs)
	}
	l.scan()
	return l, nil
}

// Assets adds a folder of imported assets. They go before what a distribution's
// packages bring (folders below /usr), and behind all other loader folders. What is
// imported or removed later counts without a restart.
func (l *Loaders) Assets(dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sets = dir
	l.scan()
}

// Dirs are the folders searched, in order.
func (l *Loaders) Dirs() []string { return append([]string(nil), l.dirs...) }

// Find returns the path on disk of the loader file with that name below a
// loader folder, and whether it is there now.
func (l *Loaders) Find(name string) (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stale() {
		l.scan()
	}
	if p, ok := l.lookup(name); ok {
		return p, true
	}
	if now := l.now(); now.Sub(l.scanned) >= loaderRescan {
		l.scan()
		return l.lookup(name)
	}
	return "", false
}

// First finds the first of the names that exists.
func (l *Loaders) First(names []string) (string, bool) {
	for _, name := range names {
		if _, ok := l.Find(name); ok {
			return name, true
		}
	}
	return "", false
}

// Open opens a loader file for a client.
func (l *Loaders) Open(name string, c boot.Client) (*File, error) {
	path, ok := l.Find(name)
	if !ok {
		return nil, fmt.Errorf("%w: %q", boot.ErrNotFound, name)
	}
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %q", boot.ErrNotFound, name)
	}
	if err != nil {
		return nil, fmt.Errorf("open loader file: %w", err)
	}
	st, err := file.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %q is not a file", boot.ErrNotFound, name)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return diskFile(name, c, file, st), nil
}

// maxHeld bounds what is remembered of the contents of loader files.
const maxHeld = 64

// Has tells whether a loader file has a text in it. The answer is kept for as long
// as size and time of the file are the same.
func (l *Loaders) Has(name, text string) bool {
	path, ok := l.Find(name)
	if !ok {
		return false
	}
	st, err := os.Stat(path)
	if err != nil {
		return false
	}
	key := fmt.Sprintf("%s %d %d %s", path, st.Size(), st.ModTime().UnixNano(), text)
	l.mu.Lock()
	defer l.mu.Unlock()
	if found, ok := l.held[key]; ok {
		return found
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	if len(l.held) >= maxHeld || l.held == nil {
		l.held = make(map[string]bool)
	}
	found := bytes.Contains(data, []byte(text))
	l.held[key] = found
	return found
}

func (l *Loaders) lookup(name string) (string, bool) {
	p, ok := l.index[strings.ToLower(name)]
	if !ok {
		return "", false
	}
	st, err := os.Stat(p)
	return p, err == nil && st.Mode().IsRegular()
}

// scan reads the folders. Links are followed: Debian's ipxe.efi is one, to
// /boot. Whoever can place links in a loader folder decides what is served.
func (l *Loaders) scan() {
	index := make(map[string]string)
	scanDirs := func(dirs []string) {
		for _, dir := range dirs {
			scanDir(index, dir, "", loaderDepth)
		}
	}
	// What a distribution's packages bring comes last.
	packaged := slices.IndexFunc(l.dirs, func(d string) bool { return strings.HasPrefix(d, "/usr/") })
	if packaged < 0 {
		packaged = len(l.dirs)
	}
	scanDirs(l.dirs[:packaged])
	if l.sets != "" {
		l.changed = modTime(l.sets)
		scanDirs(asset.Folders(l.sets))
	}
	scanDirs(l.dirs[packaged:])
	l.index, l.scanned = index, l.now()
}

// stale tells whether something was imported or removed. It is looked at for every
// file that a machine asks for, and costs as much as looking for that file.
func (l *Loaders) stale() bool { return l.sets != "" && !modTime(l.sets).Equal(l.changed) }

func modTime(dir string) time.Time {
	st, err := os.Stat(dir)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

func scanDir(index map[string]string, dir, prefix string, depth int) {
	entries, err := os.ReadDir(dir) // sorted by name, so the winner of a clash of case is stable
	if err != nil {
		return
	}
	for _, e := range entries {
		if len(index) >= loaderFiles {
			return
		}
		path := filepath.Join(dir, e.Name())
		st, err := os.Stat(path)
		if err != nil {
			continue // a link to nowhere
		}
		name := prefix + strings.ToLower(e.Name())
		switch {
		case st.IsDir() && depth > 0:
			scanDir(index, path, name+"/", depth-1)
		case st.Mode().IsRegular():
			if _, taken := index[name]; !taken {
				index[name] = path
			}
		}
	}
}
