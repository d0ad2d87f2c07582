package library

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"castpoint/content"

	"go.uber.org/zap"
)

// DefaultReserve is the disk space that the library leaves free, in bytes: room
// for the database, logs and the system beside it.
const DefaultReserve = 1 << 30

// Options are the settings of a library; the zero value is good.
type Options struct {
	// Reserve is what an Add leaves free on the file system, in bytes. 0 means
	// DefaultReserve; a negative value reserves nothing.
	Reserve int64
	Log     *zap.Logger // nil: no log
	// Trial is asked before files are inspected in this process; its error refuses
	// them. nil asks nobody.
	Trial func(ctx context.Context, req content.AddRequest) error
	// Steady says whether the clock may be believed: until then nothing is deleted for
	// its age. nil: always.
	Steady func() bool
}

// Library is a content library on disk. All methods may be called from many
// goroutines at once.
//
// Two locks order the work: disk serializes everything that changes what is
// referred to (an object appearing, a content appearing, changing or going);
// index guards the map of contents and is held only for moments, so readers
// never wait for the disk. disk is taken before index.
type Library struct {
	dir     string
	reserve int64
	log     *zap.Logger
	trial   func(ctx context.Context, req content.AddRequest) error
	steady  func() bool
	lock    *os.File

	disk sync.Mutex
	pins map[content.Digest]int // objects of unfinished adds; guarded by disk

	index    sync.RWMutex
	contents map[string]*content.Content // by ID; a Content is replaced, never changed
	taken    map[string]bool             // IDs and names of unfinished adds
	copying  map[string]bool             // unfinished copies that an add works on
	unread   []Problem                   // content files that could not be read
	closed   bool

	space    space
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	adding   sync.WaitGroup // operations that Close waits for
	replaced replaced
}

// replaced holds what tests replace: nothing else differs in them.
type replaced struct {
	clone func(dst, src *os.File) (bool, error)
	free  func(dir string) (int64, error)
	// step is called at the named points of an operation; an error stops it.
	step func(point string) error
}

// Problem is something on disk that the library could not use.
type Problem struct {
	Path string
	Err  error
}

func (p Problem) String() string { return p.Path + ": " + p.Err.Error() }

// Folders and files of a library.
const (
	dirObjects   = "objects"
	dirManifests = "manifests"
	dirContents  = "contents"
	dirTmp       = "tmp"
	fileLock     = "lock"

	suffixContent = ".json"
	suffixPending = ".pending" // tmp/<digest>.pending: the object may be without a content
)

// Open opens the library in dir with the default settings.
func Open(dir string) (*Library, error) { return OpenOptions(dir, Options{}) }

// OpenOptions opens the library in dir, making it when it is not there, takes
// its lock, and removes what an interrupted operation left behind.
//
// Errors: ErrLocked when another process has it open (the message names it), or
// those of the file system. A content that cannot be read does not prevent
// opening: it is left out and listed by Problems.
func OpenOptions(dir string, o Options) (*Library, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open library %s: %w", dir, err)
	}
	l := &Library{
		dir:      dir,
		reserve:  o.Reserve,
		log:      o.Log,
		trial:    o.Trial,
		steady:   o.Steady,
		pins:     map[content.Digest]int{},
		contents: map[string]*content.Content{},
		taken:    map[string]bool{},
		copying:  map[string]bool{},
		replaced: replaced{
			clone: cloneFile,
			free:  freeBytes,
			step:  func(string) error { return nil },
		},
	}
	if l.reserve == 0 {
		l.reserve = DefaultReserve
	}
	l.reserve = max(l.reserve, 0)
	if l.log == nil {
		l.log = zap.NewNop()
	}
	for _, d := range []string{"", dirObjects, dirManifests, dirContents, dirTmp} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return nil, fmt.Errorf("open library: %w", err)
		}
	}
	if l.lock, err = takeLock(filepath.Join(dir, fileLock)); err != nil {
		return nil, fmt.Errorf("open library %s: %w", dir, err)
	}
	if err := errors.Join(l.load(), l.recover()); err != nil {
		_ = l.lock.Close()
		return nil, fmt.Errorf("open library %s: %w", dir, err)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
}

// takeLock locks the file and writes this process's id into it.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	ok, err := lockFile(f)
	if err == nil && !ok {
		err = fmt.Errorf("%w by %s: stop it, or send it the command instead", content.ErrLocked, lockHolder(f))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// lockHolder names the process that holds the lock, as far as it can be known.
func lockHolder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || convErr != nil {
		return "another process"
	}
	who := "process " + strconv.Itoa(pid)
	if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		who += " (" + strings.TrimSpace(string(name)) + ")"
	}
	return who
}

// Close stops unfinished operations, waits for them, and gives up the lock.
// Objects that are open stay readable. Calling it again does nothing.
func (l *Library) Close() error {
	l.index.Lock()
	if l.closed {
		l.index.Unlock()
		return nil
	}
	l.closed = true
	l.index.Unlock()
	l.cancel()
	l.adding.Wait()
	if err := l.lock.Close(); err != nil {
		return fmt.Errorf("close library %s: %w", l.dir, err)
	}
	return nil
}

// begin registers an operation that Close has to wait for. The context returned
// ends with ctx or when the library is closed; done must be called.
func (l *Library) begin(ctx context.Context) (_ context.Context, done func(), err error) {
	l.index.RLock()
	defer l.index.RUnlock()
	if l.closed {
		return nil, nil, content.ErrClosed
	}
	l.adding.Add(1)
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(content.ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
		l.adding.Done()
	}, nil
}

// Dir is the folder of the library, absolute.
func (l *Library) Dir() string { return l.dir }

// Problems lists the content files that could not be read and the contents
// whose objects were missing or had the wrong size when the library was opened.
func (l *Library) Problems() []Problem {
	l.index.RLock()
	defer l.index.RUnlock()
	return slices.Clone(l.unread)
}

// List returns all contents in order of ID. Errors: ErrClosed.
func (l *Library) List() ([]*content.Content, error) {
	l.index.RLock()
	defer l.index.RUnlock()
	if l.closed {
		return nil, content.ErrClosed
	}
	list := make([]*content.Content, 0, len(l.contents))
	for _, c := range l.contents {
		list = append(list, c.Clone())
	}
	slices.SortFunc(list, func(a, b *content.Content) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Get returns the content with the given ID or, when there is none, the only
// one with that name; letter case does not matter. Errors: ErrNotFound;
// ErrAmbiguous when several have the name.
func (l *Library) Get(idOrName string) (*content.Content, error) {
	l.index.RLock()
	defer l.index.RUnlock()
	c, err := l.find(idOrName)
	if err != nil {
		return nil, err
	}
	return c.Clone(), nil
}

// find is Get without the copy; index must be held.
func (l *Library) find(idOrName string) (*content.Content, error) {
	if c, ok := l.contents[strings.ToLower(idOrName)]; ok {
		return c, nil
	}
	var found []*content.Content
	var ids []string
	for _, c := range l.contents {
		if strings.EqualFold(c.Name, idOrName) {
			found, ids = append(found, c), append(ids, c.ID)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("content %q: %w", idOrName, content.ErrNotFound)
	case 1:
		return found[0], nil
	}
	slices.Sort(ids)
	return nil, fmt.Errorf("content %q: %w: use one of the IDs %s", idOrName, content.ErrAmbiguous, strings.Join(ids, ", "))
}

// OpenObject opens an object for reading. The file stays readable when its
// content is removed. Errors: ErrNotFound.
func (l *Library) OpenObject(d content.Digest) (*os.File, error) {
	f, err := os.Open(l.objectPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("object %s: %w", d, content.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	return f, nil
}

// Manifest reads the manifest of an object. Errors: ErrNotFound; ErrManifest
// when it is damaged (Validate repairs it).
func (l *Library) Manifest(d content.Digest) (*content.Manifest, error) {
	f, err := os.Open(l.manifestPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("manifest of object %s: %w", d, content.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open manifest: %w", err)
	}
	defer f.Close()
	m, err := content.ReadManifest(f, content.MaxObjectSize)
	if err != nil {
		return nil, fmt.Errorf("manifest of object %s: %w", d, err)
	}
	if m.Digest != d {
		return nil, fmt.Errorf("manifest of object %s: %w: it is that of %s", d, content.ErrManifest, m.Digest)
	}
	return m, nil
}

func (l *Library) objectPath(d content.Digest) string {
	s := d.String()
	return filepath.Join(l.dir, dirObjects, s[:2], s)
}

func (l *Library) manifestPath(d content.Digest) string {
	return filepath.Join(l.dir, dirManifests, d.String())
}

func (l *Library) contentPath(id string) string {
	return filepath.Join(l.dir, dirContents, id+suffixContent)
}

func (l *Library) pendingPath(d content.Digest) string {
	return filepath.Join(l.dir, dirTmp, d.String()+suffixPending)
}

// contentFormat is the version of the content files; a library written by a
// later castpoint with another version is not read.
const contentFormat = 1

// contentFile is what contents/<id>.json holds.
type contentFile struct {
	Format int `json:"format"`
	content.Content
}

// load reads all content files.
func (l *Library) load() error {
	entries, err := os.ReadDir(filepath.Join(l.dir, dirContents))
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(l.dir, dirContents, e.Name())
		c, err := readContent(path)
		if err != nil {
			l.unread = append(l.unread, Problem{path, err})
			l.log.Error("content cannot be read", zap.String("file", path), zap.Error(err))
			continue
		}
		l.contents[c.ID] = c
		for _, f := range c.Files {
			info, err := os.Stat(l.objectPath(f.Digest))
			if err == nil && info.Size() != f.Size {
				err = fmt.Errorf("%w: object %s has %d bytes, not %d", content.ErrDamaged, f.Digest, info.Size(), f.Size)
			}
			if err != nil {
				l.unread = append(l.unread, Problem{path, err})
				l.log.Error("content is incomplete", zap.String("content", c.ID), zap.String("file", f.Name), zap.Error(err))
			}
		}
	}
	return nil
}

// readContent reads and checks one content file.
func readContent(path string) (*content.Content, error) {
	id, ok := strings.CutSuffix(filepath.Base(path), suffixContent)
	if !ok || !content.ValidID(id) {
		return nil, fmt.Errorf("file name is not that of a content")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f contentFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %v", content.ErrDamaged, err)
	}
	if f.Format != contentFormat {
		return nil, fmt.Errorf("format %d is not known to this version of castpoint", f.Format)
	}
	if f.ID != id {
		return nil, fmt.Errorf("%w: it says its ID is %q", content.ErrDamaged, f.ID)
	}
	if err := f.Check(); err != nil {
		return nil, fmt.Errorf("%w: %v", content.ErrDamaged, err)
	}
	return &f.Content, nil
}

// allRead says that every content file was read, so that an object which none
// of the contents refers to is needed by nobody. index must be held.
func (l *Library) allRead() bool {
	for _, p := range l.unread {
		id, ok := strings.CutSuffix(filepath.Base(p.Path), suffixContent)
		if ok && l.contents[id] == nil && !l.gone(p.Path) {
			return false
		}
	}
	return true
}

// gone says that somebody has dealt with a file by deleting or moving it.
func (l *Library) gone(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}
