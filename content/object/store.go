package object

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"castpoint/content"

	"go.uber.org/zap"
)

// DefaultReserve is the disk space that a store leaves free, in bytes: room for the
// database, logs and the system beside it.
const DefaultReserve = 1 << 30

// Options are the settings of a store; the zero value is good.
type Options struct {
	// Reserve is what additions leave free on the file system, in bytes. 0 means
	// DefaultReserve; a negative value reserves nothing.
	Reserve int64
	Log     *zap.Logger // nil: no log
	// Steady says whether the clock may be believed: until then nothing is deleted for
	// its age. nil: always.
	Steady func() bool
	Faults *Faults // nil: none
}

// Faults are what tests put in the place of the file system; nothing else differs
// in them. A function that is nil is not replaced.
type Faults struct {
	Clone func(dst, src *os.File) (bool, error)
	Free  func(dir string) (int64, error)
	// Step is called at the named points of an operation; an error stops it.
	Step func(point string) error
}

// At calls Step.
func (f *Faults) At(point string) error {
	if f.Step == nil {
		return nil
	}
	return f.Step(point)
}

func (f *Faults) clone(dst, src *os.File) (bool, error) {
	if f.Clone == nil {
		return cloneFile(dst, src)
	}
	return f.Clone(dst, src)
}

func (f *Faults) free(dir string) (int64, error) {
	if f.Free == nil {
		return freeBytes(dir)
	}
	return f.Free(dir)
}

// Store is a folder with objects and their manifests. All methods may be called
// from many goroutines at once.
type Store struct {
	dir     string
	reserve int64
	log     *zap.Logger
	steady  func() bool
	lock    *os.File
	faults  *Faults

	mu   sync.Mutex             // held by what makes objects appear or go
	pins map[content.Digest]int // objects of unfinished additions; guarded by mu

	copies  sync.Mutex
	copying map[string]bool // unfinished copies that an addition works on; guarded by copies

	space space
}

// Folders and files of a store.
const (
	dirObjects   = "objects"
	dirManifests = "manifests"
	dirTmp       = "tmp"
	fileLock     = "lock"

	suffixPending = ".pending" // tmp/<digest>.pending: nothing may refer to the object
)

// Open opens the store in dir, an absolute path, making it when it is not there, and
// takes its lock. What an interrupted operation has left stays until Recover.
//
// Errors: ErrLocked when another process has it open (the message names it), or
// those of the file system.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		dir:     dir,
		reserve: o.Reserve,
		log:     o.Log,
		steady:  o.Steady,
		faults:  o.Faults,
		pins:    map[content.Digest]int{},
		copying: map[string]bool{},
	}
	if s.reserve == 0 {
		s.reserve = DefaultReserve
	}
	s.reserve = max(s.reserve, 0)
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.faults == nil {
		s.faults = &Faults{}
	}
	for _, d := range []string{"", dirObjects, dirManifests, dirTmp} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o750); err != nil {
			return nil, err
		}
	}
	var err error
	s.lock, err = takeLock(filepath.Join(dir, fileLock))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives up the lock. No addition may be unfinished. Objects that are open
// stay readable.
func (s *Store) Close() error { return s.lock.Close() }

// Open opens an object for reading. The file stays readable when the object goes.
// Errors: ErrNotFound.
func (s *Store) Open(d content.Digest) (*os.File, error) {
	f, err := os.Open(s.objectPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("object %s: %w", d, content.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	return f, nil
}

// Size is the number of bytes that an object has, wrong ones included. Errors: those
// of the file system, fs.ErrNotExist among them.
func (s *Store) Size(d content.Digest) (int64, error) {
	info, err := os.Stat(s.objectPath(d))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Manifest reads the manifest of an object. Errors: ErrNotFound; ErrManifest
// when it is damaged (WriteManifest repairs it).
func (s *Store) Manifest(d content.Digest) (*content.Manifest, error) {
	f, err := os.Open(s.manifestPath(d))
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

func (s *Store) objectPath(d content.Digest) string {
	name := d.String()
	return filepath.Join(s.dir, dirObjects, name[:2], name)
}

func (s *Store) manifestPath(d content.Digest) string {
	return filepath.Join(s.dir, dirManifests, d.String())
}

func (s *Store) pendingPath(d content.Digest) string {
	return filepath.Join(s.dir, dirTmp, d.String()+suffixPending)
}
