package wim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"slices"
)

// Limits of what a Reader holds in memory.
const (
	// maxBlobEntries is four million blobs, 200 MB of table; an image of Windows
	// has some 100 000.
	maxBlobEntries = 4 << 20
	// maxMetadata is the size of the directory tree of one image, decompressed:
	// a million files with long names. Windows has 40 MB.
	maxMetadata = 256 << 20
)

// Reader reads the images in a WIM file, or in the parts of a split one. Its
// methods may be called from several goroutines.
type Reader struct {
	parts  []*part
	info   *Info
	table  []byte       // the blob tables of the parts, as they are in the files
	byHash []int32      // the entries that can be read, in order of hash
	images []int32      // the entries of the images' metadata, in order of index
	solids []*packed    // the solid resources
	places []solidPlace // of each entry, where it lies in them; nil without any
	cache  chunkCache   // of solid resources
}

// part is one file of a WIM.
type part struct {
	r       io.ReaderAt
	size    int64
	header  *header
	codec   *codec
	entries int32 // in Reader.table, the number of the first behind those of this part
}

// Open reads the tables of a WIM file. r must give the file's size bytes for as
// long as the Reader is used.
//
// Errors: those of Describe; ErrUnsupported for solid resources with chunks too
// large for memory, and for one part of a split WIM, which OpenSet reads.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	info, err := Describe(r, size)
	if err != nil {
		return nil, err
	}
	if info.Split() {
		return nil, fmt.Errorf("%w: it is part %d of the %d parts of a split WIM, and all are needed", ErrUnsupported, info.Part, info.Parts)
	}
	return open(info, []Part{{R: r, Size: size}})
}

// open reads the tables of all parts, which are in order.
func open(info *Info, parts []Part) (*Reader, error) {
	wr := &Reader{info: info}
	for _, p := range parts {
		if err := wr.openPart(p); err != nil {
			return nil, p.name(err)
		}
	}
	for i, p := range wr.parts {
		from := int32(0)
		if i > 0 {
			from = wr.parts[i-1].entries
		}
		if err := wr.readSolids(p, from, p.entries); err != nil {
			return nil, parts[i].name(err)
		}
	}
	if err := wr.index(); err != nil {
		return nil, err
	}
	return wr, wr.checkOverlap()
}

// openPart reads the header and the blob table of a part.
func (r *Reader) openPart(file Part) error {
	h, err := readHeader(file.R, file.Size)
	if err != nil {
		return err
	}
	p := &part{r: file.R, size: file.Size, header: h}
	if h.blobTable.compressed() {
		return unsupported("its blob table is compressed", "")
	}
	if p.codec, err = newCodec(h.compression(), h.chunkSize); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	p.codec.pipable = h.pipable
	have := int64(len(r.table))
	if n := (have + h.blobTable.size) / blobEntrySize; n > maxBlobEntries {
		return corrupt("%s: %d entries, at most %d are sensible", tableBlobs, n, maxBlobEntries)
	}
	r.table = append(r.table, make([]byte, h.blobTable.size)...)
	if err := readFull(p.r, r.table[have:], h.blobTable.offset, tableBlobs); err != nil {
		return err
	}
	p.entries = int32(len(r.table) / blobEntrySize)
	r.parts = append(r.parts, p)
	return nil
}

// Info describes the file.
func (r *Reader) Info() *Info { return r.info }

// index makes the index of the blob table. Describe has checked the positions.
func (r *Reader) index() error {
	r.byHash = make([]int32, 0, len(r.table)/blobEntrySize)
	for i := range int32(len(r.table) / blobEntrySize) {
		if r.unusable(i) {
			continue
		}
		e := r.entry(i)
		if e.flags()&resourceMetadata == 0 {
			r.byHash = append(r.byHash, i)
			continue
		}
		// An entry that nothing refers to is an image that was deleted: it
		// occurs in Microsoft's WinPE of the WAIK 2.1.
		if e.references() != 0 {
			r.images = append(r.images, i)
		}
	}
	// Of several entries with one hash the first counts, as in wimlib.
	slices.SortStableFunc(r.byHash, func(a, b int32) int {
		return bytes.Compare(r.entry(a).hash(), r.entry(b).hash())
	})
	r.byHash = slices.CompactFunc(r.byHash, func(a, b int32) bool {
		return bytes.Equal(r.entry(a).hash(), r.entry(b).hash())
	})
	if len(r.images) != len(r.info.Images) {
		return corrupt("%s: metadata of %d images, the header says %d", tableBlobs, len(r.images), len(r.info.Images))
	}
	return nil
}

// checkOverlap refuses blobs that share bytes. A small file could else stand
// for contents without end.
func (r *Reader) checkOverlap() error {
	type span struct {
		part       uint16
		solid      int32
		start, end int64
	}
	spans := make([]span, 0, len(r.byHash)+len(r.images)+len(r.solids))
	for _, list := range [][]int32{r.byHash, r.images} {
		for _, i := range list {
			res, err := r.entry(i).resource()
			if err != nil {
				return corrupt("%s: entry %d: %v", tableBlobs, i, err)
			}
			s := span{part: r.partOf(i).header.part, solid: -1, start: res.offset, end: res.end()}
			if in, ok := r.solidPlace(i); ok {
				s.solid, s.start, s.end = in.resource, in.offset, in.offset+res.size
			}
			if s.start < s.end {
				spans = append(spans, s)
			}
		}
	}
	// The solid resources themselves must not share bytes either.
	for _, s := range r.solids {
		spans = append(spans, span{part: s.part, solid: -1, start: s.res.offset, end: s.res.end()})
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.solid, b.solid), cmp.Compare(a.start, b.start))
	})
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.part == b.part && a.solid == b.solid && b.start < a.end {
			return corrupt("%s: two resources overlap: one is at %d to %d, another begins at %d", tableBlobs, a.start, a.end-1, b.start)
		}
	}
	return nil
}

// partOf is the part that holds an entry.
func (r *Reader) partOf(i int32) *part {
	k, _ := slices.BinarySearchFunc(r.parts, i+1, func(p *part, i int32) int { return cmp.Compare(p.entries, i) })
	return r.parts[k]
}

// solidPlace says where an entry's blob lies in a solid resource.
func (r *Reader) solidPlace(i int32) (solidPlace, bool) {
	if r.places == nil || r.places[i].resource < 0 {
		return solidPlace{}, false
	}
	return r.places[i], true
}

// tableEntry is one entry of the blob table as it is in the file.
type tableEntry []byte

const (
	blobEntryPart       = 24
	blobEntryReferences = 26
	blobEntryHash       = 30
)

func (r *Reader) entry(i int32) tableEntry {
	return tableEntry(r.table[int64(i)*blobEntrySize:][:blobEntrySize])
}

func (e tableEntry) flags() uint8       { return e[7] }
func (e tableEntry) part() uint16       { return binary.LittleEndian.Uint16(e[blobEntryPart:]) }
func (e tableEntry) references() uint32 { return binary.LittleEndian.Uint32(e[blobEntryReferences:]) }
func (e tableEntry) hash() []byte       { return e[blobEntryHash:blobEntrySize] }

func (e tableEntry) resource() (resource, error) {
	return resourceDisk{
		SizeFlags:    binary.LittleEndian.Uint64(e),
		Offset:       binary.LittleEndian.Uint64(e[8:]),
		OriginalSize: binary.LittleEndian.Uint64(e[16:]),
	}.decode()
}

// unusable says that an entry names no blob of its file.
func (r *Reader) unusable(i int32) bool {
	e := r.entry(i)
	if e.flags()&resourceFree != 0 || e.part() != r.partOf(i).header.part || Hash(e.hash()) == (Hash{}) {
		return true
	}
	_, packed := r.solidPlace(i)
	return e.flags()&resourceSolid != 0 && !packed // a solid resource itself
}

// find returns the number of the entry with the given hash.
func (r *Reader) find(h Hash) (int32, bool) {
	i, ok := slices.BinarySearchFunc(r.byHash, h, func(i int32, h Hash) int {
		return bytes.Compare(r.entry(i).hash(), h[:])
	})
	if !ok {
		return 0, false
	}
	return r.byHash[i], true
}

// Blob returns the content with the given hash; for the zero Hash, an empty
// one. Errors: fs.ErrNotExist when the file has no such blob, ErrCorrupt when
// its position or size is impossible.
func (r *Reader) Blob(h Hash) (*Blob, error) {
	if h == (Hash{}) {
		return &Blob{}, nil
	}
	i, ok := r.find(h)
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", h, fs.ErrNotExist)
	}
	return r.blobAt(i, "blob "+h.String())
}

// blobAt opens the blob of an entry.
func (r *Reader) blobAt(i int32, what string) (*Blob, error) {
	e := r.entry(i)
	res, err := e.resource()
	if err != nil {
		return nil, corrupt("%s: %v", what, err)
	}
	if in, ok := r.solidPlace(i); ok {
		return &Blob{hash: Hash(e.hash()), size: res.size, packed: r.solids[in.resource], start: in.offset, cache: &r.cache}, nil
	}
	p := r.partOf(i)
	return newBlob(p.r, p.size, p.codec, res, Hash(e.hash()), what)
}

// blobSize is the size of a blob, 0 when it is not in the file.
func (r *Reader) blobSize(h Hash) int64 {
	i, ok := r.find(h)
	if !ok {
		return 0
	}
	return r.entrySize(i)
}

// entrySize is the size of an entry's blob.
func (r *Reader) entrySize(i int32) int64 {
	res, err := r.entry(i).resource()
	if err != nil {
		return 0
	}
	if _, ok := r.solidPlace(i); ok {
		return res.size
	}
	return int64(min(res.originalSize, maxResource))
}

// readMetadata reads and checks the metadata resource of an image.
func (r *Reader) readMetadata(index int) ([]byte, error) {
	if index < 1 || index > len(r.images) {
		return nil, fmt.Errorf("image %d: the file has %d: %w", index, len(r.images), fs.ErrNotExist)
	}
	b, err := r.blobAt(r.images[index-1], fmt.Sprintf("metadata of image %d", index))
	if err != nil {
		return nil, err
	}
	return b.readAll(maxMetadata)
}
