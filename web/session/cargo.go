package session

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/multicast"
	"castpoint/multicast/block"
	"castpoint/web/api"
)

// Parcel is what machines receive of one content.
type Parcel struct {
	Content *content.Content // as it was then
	files   []content.File
	Folder  bool // the files belong into a folder
	// Digest names the files: of a single one it is the object's, of a folder the
	// SHA-256 of what is in it.
	Digest content.Digest
}

// NewParcel chooses the files of a content that machines receive.
func NewParcel(ct *content.Content) (Parcel, error) {
	p := Parcel{Content: ct}
	for _, f := range ct.Files {
		switch {
		case f.Role == content.RoleAttached:
		case ct.Kind == content.KindBootImage && f.Role == content.RoleFile:
			// Loaders beside a WIM: they are for firmware.
		default:
			p.files = append(p.files, f)
		}
	}
	if len(p.files) == 0 {
		return p, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "", "content %s has no files that could be received", ct.ID)
	}
	if p.Folder = len(p.files) > 1; !p.Folder {
		p.Digest = p.files[0].Digest
		return p, nil
	}
	sum := sha256.New()
	for _, f := range p.files {
		fmt.Fprintf(sum, "%s %q\n", f.Digest, f.Name)
	}
	sum.Sum(p.Digest[:0])
	return p, nil
}

// Receivable is what machines may receive of a content by multicast.
func Receivable(library *library.Library, idOrName string) (Parcel, error) {
	ct, err := library.Get(idOrName)
	if err != nil {
		return Parcel{}, api.ContentProblem(err)
	}
	if !ct.Distribution.Multicast {
		return Parcel{}, api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint content set "+ct.ID+" --multicast allows it",
			"content %s may not be sent by multicast", ct.ID)
	}
	return NewParcel(ct)
}

// Size is the room that the files take, in bytes.
func (p *Parcel) Size() (n int64) {
	for _, f := range p.files {
		n += f.Size
	}
	return n
}

// Has reports whether one of the files is the object.
func (p *Parcel) Has(object content.Digest) bool {
	return slices.ContainsFunc(p.files, func(f content.File) bool { return f.Digest == object })
}

// cargo is what a session carries: parcels in the order in which they are sent, and
// the objects that their files are. An object that is several files travels once.
type cargo struct {
	parcels []Parcel
	objects []block.Object
	index   map[content.Digest]int // of objects
}

// load reads the manifests of the parcels' objects.
func load(library *library.Library, parcels []Parcel) (*cargo, error) {
	c := &cargo{parcels: parcels, index: make(map[content.Digest]int)}
	for _, p := range parcels {
		for _, f := range p.files {
			if _, ok := c.index[f.Digest]; ok {
				continue
			}
			m, err := library.Manifest(f.Digest)
			if err != nil {
				return nil, fmt.Errorf("%s of content %s: %w", f.Name, p.Content.ID, err)
			}
			c.index[f.Digest] = len(c.objects)
			c.objects = append(c.objects, block.Object{
				Digest: m.Digest, SHA256: m.Digest.String(), Size: m.Size, BlockSize: m.BlockSize, Hashes: m.Hashes,
			})
		}
	}
	return c, nil
}

// carries finds the parcel of that digest.
func (c *cargo) carries(digest content.Digest) bool {
	return slices.ContainsFunc(c.parcels, func(p Parcel) bool { return p.Digest == digest })
}

// describe fills in what a member that wants p has to know. All objects of the
// session are named, because blocks are numbered through them; those of others come
// without hashes.
func (c *cargo) describe(adm *multicast.Admission, p *Parcel) {
	adm.Folder = p.Folder
	adm.Objects = slices.Clone(c.objects)
	wanted := make([]bool, len(c.objects))
	for _, f := range p.files {
		i := c.index[f.Digest]
		wanted[i] = true
		adm.Files = append(adm.Files, multicast.File{Name: f.Name, Object: i})
	}
	for i := range adm.Objects {
		if !wanted[i] {
			adm.Objects[i].Hashes = nil
		}
	}
}

// maxOpen is how many objects of a session are open at the same time: a content may
// have more files than a process.
const maxOpen = 64

// shelf reads the objects of a session.
type shelf struct {
	library *library.Library

	mu   sync.Mutex
	open []*shelved // the one that was read last comes last
}

// shelved is an object's place on the shelf, and its bytes as an [io.ReaderAt].
type shelved struct {
	shelf  *shelf
	digest content.Digest
	file   *os.File // nil while it is not open
}

// sources are the bytes of the objects. Few objects are opened at once and stay so
// whatever becomes of their content.
func (s *shelf) sources(objects []block.Object) (list []io.ReaderAt, err error) {
	for i := range objects {
		v := &shelved{shelf: s, digest: objects[i].Digest}
		list = append(list, v)
		if len(objects) <= maxOpen {
			if err := s.reach(v); err != nil {
				return nil, errors.Join(err, s.Close())
			}
		}
	}
	return list, nil
}

// ReadAt opens the object if it is not open.
func (v *shelved) ReadAt(p []byte, off int64) (int, error) {
	v.shelf.mu.Lock()
	defer v.shelf.mu.Unlock()
	if err := v.shelf.reach(v); err != nil {
		return 0, err
	}
	return v.file.ReadAt(p, off)
}

// reach makes v the last one that was read. The lock is held, or nobody else knows
// the shelf yet.
func (s *shelf) reach(v *shelved) (err error) {
	if n := len(s.open); n > 0 && s.open[n-1] == v {
		return nil
	}
	if v.file == nil {
		v.file, err = s.library.OpenObject(v.digest)
		if errors.Is(err, content.ErrNotFound) {
			err = s.library.NoteDamage(v.digest, "it is missing")
		}
		if err != nil {
			return err
		}
	} else {
		s.open = slices.DeleteFunc(s.open, func(o *shelved) bool { return o == v })
	}
	s.open = append(s.open, v)
	if len(s.open) <= maxOpen {
		return nil
	}
	old := s.open[0]
	s.open = slices.Delete(s.open, 0, 1)
	err = old.file.Close()
	old.file = nil
	return err
}

// Close closes what is open. Nothing may be read any more.
func (s *shelf) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, v := range s.open {
		errs = append(errs, v.file.Close())
		v.file = nil
	}
	s.open = nil
	return errors.Join(errs...)
}
