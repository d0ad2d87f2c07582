package library

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"castpoint/content"
	"castpoint/content/object"

	"go.uber.org/zap"
)

// Options are the settings of a library; the zero value is good.
type Options struct {
	// Reserve is what an Add leaves free on the file system, in bytes. 0 means
	// object.DefaultReserve; a negative value reserves nothing.
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
// Two locks order the work: disk serializes everything that changes what objects
// are referred to (a content appearing, changing or going, and objects going with
// it); index guards the map of contents and is held only for moments, so readers
// never wait for the disk. disk is taken before index.
type Library struct {
	dir     string
	objects *object.Store
	log     *zap.Logger
	trial   func(ctx context.Context, req content.AddRequest) error

	disk sync.Mutex

	index    sync.RWMutex
	contents map[string]*content.Content // by ID; a Content is replaced, never changed
	taken    map[string]bool             // IDs and names of unfinished adds
	unread   []Problem                   // content files that could not be read
	closed   bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	adding sync.WaitGroup // operations that Close waits for
	faults object.Faults
}

// Problem is something on disk that the library could not use.
type Problem struct {
	Path string
	Err  error
}

func (p Problem) String() string { return p.Path + ": " + p.Err.Error() }

// Folder and names of the files of contents; the others are of the store of objects.
const (
	dirContents   = "contents"
	suffixContent = ".json"
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
		log:      o.Log,
		trial:    o.Trial,
		contents: map[string]*content.Content{},
		taken:    map[string]bool{},
	}
	if l.log == nil {
		l.log = zap.NewNop()
	}
	l.objects, err = object.Open(dir, object.Options{Reserve: o.Reserve, Log: l.log, Steady: o.Steady, Faults: &l.faults})
	if err != nil {
		return nil, fmt.Errorf("open library %s: %w", dir, err)
	}
	err = l.load()
	if err == nil {
		err = l.objects.Recover(l.references())
	}
	if err != nil {
		_ = l.objects.Close()
		return nil, fmt.Errorf("open library %s: %w", dir, err)
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l, nil
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
	if err := l.objects.Close(); err != nil {
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
	return l.objects.Open(d)
}

// Manifest reads the manifest of an object. Errors: ErrNotFound; ErrManifest
// when it is damaged (Validate repairs it).
func (l *Library) Manifest(d content.Digest) (*content.Manifest, error) { return l.objects.Manifest(d) }

// HasRoom says whether n bytes may be written to the file system of the library,
// now and beside what is promised to additions. Errors: ErrNoSpace.
func (l *Library) HasRoom(n int64) error { return l.objects.HasRoom(n) }

// HasRoomInReserve says whether n bytes may be written that the reserve is for, the logs
// of machines among them: the last quarter of it stays. Errors: ErrNoSpace.
func (l *Library) HasRoomInReserve(n int64) error { return l.objects.HasRoomInReserve(n) }

func (l *Library) contentPath(id string) string {
	return filepath.Join(l.dir, dirContents, id+suffixContent)
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
	if err := os.MkdirAll(filepath.Join(l.dir, dirContents), 0o750); err != nil {
		return err
	}
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
			size, err := l.objects.Size(f.Digest)
			if err == nil && size != f.Size {
				err = fmt.Errorf("%w: object %s has %d bytes, not %d", content.ErrDamaged, f.Digest, size, f.Size)
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
