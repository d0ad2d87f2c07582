package target

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"castpoint/agent"
	"castpoint/internal/atomicfile"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
)

// suffixLock is the file that keeps other receivers away from a folder.
const suffixLock = ".part.lock"

// maxOpen is how many files of a folder are open at the same time: contents have
// thousands.
const maxOpen = 64

// Folder is an output of several files: OUT.part, which becomes OUT when all of them
// are complete. Files are made when their first block comes. What names the server
// gives them, they stay in the folder.
type Folder struct {
	out   string
	root  *os.Root // OUT.part
	lock  *os.File
	fresh bool // made by this receive: nothing in it is worth keeping
	files []*member

	mu   sync.Mutex
	open []*member // the one that was used last comes last
}

// member is an object of a folder, under all the names it has there. It is a target;
// the further names are filled at the end.
type member struct {
	folder *Folder
	names  []string // in the form of this system
	size   int64    // bytes

	file *os.File // nil while it is not open
	used int      // reads and writes under way
}

// OpenFolder opens the folder without changing what is in it, and keeps other
// receivers away from it.
func OpenFolder(out string) (_ *Folder, err error) {
	f := &Folder{out: out}
	part := out + PartSuffix
	if f.lock, err = os.OpenFile(out+suffixLock, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	if err := lockFile(f.lock); err != nil {
		return nil, errors.Join(agent.Errorf(agent.ErrRefused, "output %s: another receive is writing %s: %w", out, part, err), f.lock.Close())
	}
	err = os.Mkdir(part, 0o755)
	f.fresh = err == nil
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err == nil {
		f.root, err = os.OpenRoot(part)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("output: %w", err), f.unlock())
	}
	return f, nil
}

// Targets are the members of the folder, by object. What else is in the folder was
// left by a receive of something else, and is removed.
func (f *Folder) Targets(adm *multicast.Admission) ([]assembly.Target, error) {
	list := make([]assembly.Target, len(adm.Objects))
	f.files = nil
	names := map[string]bool{}
	for _, file := range adm.Files {
		name := filepath.FromSlash(file.Name)
		if !filepath.IsLocal(name) || filepath.Clean(name) != name || name == "." || strings.ContainsRune(name, 0) {
			return nil, agent.Errorf(agent.ErrRefused, "the server names a file %q: it would not be in the folder on this machine", file.Name)
		}
		if names[name] {
			return nil, agent.Errorf(agent.ErrRefused, "the server names two files %q", file.Name)
		}
		names[name] = true
		if list[file.Object] == nil {
			m := &member{folder: f, size: adm.Objects[file.Object].Size}
			f.files = append(f.files, m)
			list[file.Object] = m
		}
		m := list[file.Object].(*member)
		m.names = append(m.names, name)
	}
	err := fs.WalkDir(f.root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || names[filepath.FromSlash(path)] {
			return err
		}
		return f.root.Remove(filepath.FromSlash(path))
	})
	if err != nil {
		return nil, fmt.Errorf("output %s: clear what is not of this content: %w", f.Where(), err)
	}
	return list, nil
}

// Reserve looks whether there is room for size bytes.
func (f *Folder) Reserve(size int64) error {
	if !f.fresh {
		return nil // how much of it is there already shows later
	}
	free, err := freeSpace(filepath.Dir(f.out))
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("output %s: how much room there is cannot be told: %w", f.out, err)
	}
	if free < size {
		return fmt.Errorf("output %s needs %s, and %s has %s free: make room, or choose another place", f.out, agent.Size(size), filepath.Dir(f.out), agent.Size(free))
	}
	return nil
}

// Resumable says that there may be blocks of an earlier receive.
func (f *Folder) Resumable() bool { return !f.fresh }

// Where is the output in messages.
func (f *Folder) Where() string { return f.out + PartSuffix }

// WriteAt makes the file if it is not there.
func (m *member) WriteAt(p []byte, off int64) (int, error) {
	file, err := m.take(true)
	if err != nil {
		return 0, err
	}
	defer m.release()
	return file.WriteAt(p, off)
}

// ReadAt reads a file that is not there as an empty one.
func (m *member) ReadAt(p []byte, off int64) (int, error) {
	file, err := m.take(false)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, io.EOF
	}
	if err != nil {
		return 0, err
	}
	defer m.release()
	return file.ReadAt(p, off)
}

// Sync does nothing: the folder is made durable as a whole.
func (m *member) Sync() error { return nil }

// take opens the file if it is not open; release gives it back.
func (m *member) take(write bool) (*os.File, error) {
	f := m.folder
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.file == nil {
		file, err := f.create(m.names[0], m.size, write)
		if err != nil {
			return nil, err
		}
		m.file = file
	} else {
		f.open = slices.DeleteFunc(f.open, func(o *member) bool { return o == m })
	}
	f.open = append(f.open, m)
	m.used++
	return m.file, f.close(maxOpen)
}

func (m *member) release() {
	m.folder.mu.Lock()
	m.used--
	m.folder.mu.Unlock()
}

// close closes the files that were not used for longest until only so many are open.
// The lock is held.
func (f *Folder) close(keep int) error {
	var errs []error
	for i := 0; i < len(f.open) && len(f.open) > keep; {
		m := f.open[i]
		if m.used > 0 {
			i++
			continue
		}
		errs = append(errs, m.file.Close())
		m.file = nil
		f.open = slices.Delete(f.open, i, i+1)
	}
	return errors.Join(errs...)
}

// create opens a file of the folder and gives it its size.
func (f *Folder) create(name string, size int64, write bool) (*os.File, error) {
	flags := os.O_RDWR
	if write {
		flags |= os.O_CREATE
		if dir := filepath.Dir(name); dir != "." {
			if err := f.root.MkdirAll(dir, 0o755); err != nil {
				return nil, err
			}
		}
	}
	file, err := f.root.OpenFile(name, flags, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && info.Size() != size {
		err = file.Truncate(size)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Finish gives a complete folder its name, durably.
func (f *Folder) Finish() error {
	for _, m := range f.files {
		if err := m.complete(); err != nil {
			return fmt.Errorf("output %s: %w", f.out, err)
		}
	}
	err := f.sync()
	if err = errors.Join(err, f.shut()); err != nil {
		return fmt.Errorf("output %s: %w", f.out, err)
	}
	if err := os.Rename(f.Where(), f.out); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := f.unlock(); err != nil {
		return err
	}
	if err := atomicfile.SyncDir(filepath.Dir(f.out)); err != nil {
		return fmt.Errorf("output %s: %w", f.out, err)
	}
	return nil
}

// complete makes what no block makes: a file without bytes, and the further names of
// an object.
func (m *member) complete() error {
	if _, err := m.take(true); err != nil {
		return err
	}
	defer m.release()
	for _, name := range m.names[1:] {
		file, err := m.folder.create(name, m.size, true)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, io.NewSectionReader(m.file, 0, m.size))
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// unlock lets other receivers in. A second call does nothing.
func (f *Folder) unlock() error {
	if f.lock == nil {
		return nil
	}
	// The file goes first: who has waited for the lock finds that there is another
	// of its name.
	err := os.Remove(f.lock.Name())
	closed := f.lock.Close()
	if err != nil {
		err = os.Remove(f.lock.Name()) // Windows removes no file that is open
	}
	f.lock = nil
	if err = errors.Join(err, closed); err != nil {
		return fmt.Errorf("output %s: %w", f.out, err)
	}
	return nil
}

// Abandon leaves what is there for the next receive, which finds it by its hashes.
func (f *Folder) Abandon() {
	_ = f.shut() // what matters is found again by its hashes
	_ = f.unlock()
}

func (f *Folder) shut() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return errors.Join(f.close(0), f.root.Close())
}

// Discard removes a folder of which nothing is worth keeping.
func (f *Folder) Discard() error {
	_ = f.shut() // nothing of it is kept
	var err error
	if f.fresh {
		err = os.RemoveAll(f.Where())
	}
	return errors.Join(err, f.unlock())
}
