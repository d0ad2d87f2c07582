package wim

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
	"castpoint/content/wim/resource"
)

// maxBlobEntries is four million blobs, 200 MB of table; an image of Windows
// has some 100 000.
const maxBlobEntries = 4 << 20

// Reader reads the images in a WIM file, or in the parts of a split one. Its
// methods may be called from several goroutines.
type Reader struct {
	parts      []*part
	info       *Info
	table      []byte               // the blob tables of the parts, as they are in the files
	byHash     []int32              // the entries that can be read, in order of hash
	images     []int32              // the entries of the images' metadata, in order of index
	solids     []*resource.Resource // the solid resources
	solidParts []uint16             // and the parts that they lie in
	places     []solidPlace         // of each entry, where it lies in them; nil without any
	cache      resource.Cache       // of solid resources
}

// part is one file of a WIM.
type part struct {
	r       io.ReaderAt
	size    int64
	header  *format.Header
	codec   *resource.Codec
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
			return nil, p.Wrap(err)
		}
	}
	for i, p := range wr.parts {
		from := int32(0)
		if i > 0 {
			from = wr.parts[i-1].entries
		}
		if err := wr.readSolids(p, from, p.entries); err != nil {
			return nil, parts[i].Wrap(err)
		}
	}
	if err := wr.index(); err != nil {
		return nil, err
	}
	return wr, wr.checkOverlap()
}

// openPart reads the header and the blob table of a part.
func (r *Reader) openPart(file Part) error {
	h, err := format.ReadHeader(file.R, file.Size)
	if err != nil {
		return err
	}
	p := &part{r: file.R, size: file.Size, header: h}
	if h.BlobTable.Compressed() {
		return format.Unsupported("its blob table is compressed", "")
	}
	if p.codec, err = resource.NewCodec(h.Compression(), h.ChunkSize, h.Pipable); err != nil {
		return fmt.Errorf("header: %w", err)
	}
	have := int64(len(r.table))
	if n := (have + h.BlobTable.Size) / format.BlobEntrySize; n > maxBlobEntries {
		return format.Corrupt("%s: %d entries, at most %d are sensible", format.TableBlobs, n, maxBlobEntries)
	}
	r.table = append(r.table, make([]byte, h.BlobTable.Size)...)
	if err := format.ReadFull(p.r, r.table[have:], h.BlobTable.Offset, format.TableBlobs); err != nil {
		return err
	}
	p.entries = int32(len(r.table) / format.BlobEntrySize)
	r.parts = append(r.parts, p)
	return nil
}

// Info describes the file.
func (r *Reader) Info() *Info { return r.info }

// BlobTable is the blob table as it is in the file; of a split WIM those of all
// parts, one behind the other. It must not be changed.
func (r *Reader) BlobTable() []byte { return r.table }

// ImageEntry is the number of the entry of the blob table that is the metadata
// of an image, index from 1.
func (r *Reader) ImageEntry(index int) int32 { return r.images[index-1] }

// index makes the index of the blob table. Describe has checked the positions.
func (r *Reader) index() error {
	r.byHash = make([]int32, 0, len(r.table)/format.BlobEntrySize)
	for i := range int32(len(r.table) / format.BlobEntrySize) {
		if r.unusable(i) {
			continue
		}
		e := r.Entry(i)
		if e.Flags()&format.ResourceMetadata == 0 {
			r.byHash = append(r.byHash, i)
			continue
		}
		// An entry that nothing refers to is an image that was deleted: it
		// occurs in Microsoft's WinPE of the WAIK 2.1.
		if e.References() != 0 {
			r.images = append(r.images, i)
		}
	}
	// Of several entries with one hash the first counts, as in wimlib.
	slices.SortStableFunc(r.byHash, func(a, b int32) int {
		return bytes.Compare(r.Entry(a).Hash(), r.Entry(b).Hash())
	})
	r.byHash = slices.CompactFunc(r.byHash, func(a, b int32) bool {
		return bytes.Equal(r.Entry(a).Hash(), r.Entry(b).Hash())
	})
	if len(r.images) != len(r.info.Images) {
		return format.Corrupt("%s: metadata of %d images, the header says %d", format.TableBlobs, len(r.images), len(r.info.Images))
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
			res, err := r.Entry(i).Resource()
			if err != nil {
				return format.Corrupt("%s: entry %d: %v", format.TableBlobs, i, err)
			}
			s := span{part: r.partOf(i).header.Part, solid: -1, start: res.Offset, end: res.End()}
			if in, ok := r.solidPlace(i); ok {
				s.solid, s.start, s.end = in.resource, in.offset, in.offset+res.Size
			}
			if s.start < s.end {
				spans = append(spans, s)
			}
		}
	}
	// The solid resources themselves must not share bytes either.
	for i, s := range r.solids {
		res := s.Position()
		spans = append(spans, span{part: r.solidParts[i], solid: -1, start: res.Offset, end: res.End()})
	}
	slices.SortFunc(spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.part, b.part), cmp.Compare(a.solid, b.solid), cmp.Compare(a.start, b.start))
	})
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.part == b.part && a.solid == b.solid && b.start < a.end {
			return format.Corrupt("%s: two resources overlap: one is at %d to %d, another begins at %d", format.TableBlobs, a.start, a.end-1, b.start)
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

// Entry is an entry of the blob table by its number.
func (r *Reader) Entry(i int32) format.BlobEntry {
	return format.BlobEntry(r.table[int64(i)*format.BlobEntrySize:][:format.BlobEntrySize])
}

// unusable says that an entry names no blob of its file.
func (r *Reader) unusable(i int32) bool {
	e := r.Entry(i)
	if e.Flags()&format.ResourceFree != 0 || e.Part() != r.partOf(i).header.Part || Hash(e.Hash()) == (Hash{}) {
		return true
	}
	_, packed := r.solidPlace(i)
	return e.Flags()&format.ResourceSolid != 0 && !packed // a solid resource itself
}

// Find returns the number of the entry with the given hash.
func (r *Reader) Find(h Hash) (int32, bool) {
	i, ok := slices.BinarySearchFunc(r.byHash, h, func(i int32, h Hash) int {
		return bytes.Compare(r.Entry(i).Hash(), h[:])
	})
	if !ok {
		return 0, false
	}
	return r.byHash[i], true
}

// Blob returns the content with the given hash; for the zero Hash, an empty
// one. Errors: fs.ErrNotExist when the file has no such blob, ErrCorrupt when
// its position or size is impossible.
func (r *Reader) Blob(h Hash) (*resource.Blob, error) {
	if h == (Hash{}) {
		return &resource.Blob{}, nil
	}
	i, ok := r.Find(h)
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", h, fs.ErrNotExist)
	}
	return r.blobAt(i, "blob "+h.String())
}

// blobAt opens the blob of an entry.
func (r *Reader) blobAt(i int32, what string) (*resource.Blob, error) {
	e := r.Entry(i)
	res, err := e.Resource()
	if err != nil {
		return nil, format.Corrupt("%s: %v", what, err)
	}
	if in, ok := r.solidPlace(i); ok {
		return r.solids[in.resource].Blob(in.offset, res.Size, Hash(e.Hash()), &r.cache), nil
	}
	p := r.partOf(i)
	return resource.NewBlob(p.r, p.size, p.codec, res, Hash(e.Hash()), what)
}

// BlobSize is the size of a blob, 0 when it is not in the file.
func (r *Reader) BlobSize(h Hash) int64 {
	i, ok := r.Find(h)
	if !ok {
		return 0
	}
	return r.entrySize(i)
}

// entrySize is the size of an entry's blob.
func (r *Reader) entrySize(i int32) int64 {
	res, err := r.Entry(i).Resource()
	if err != nil {
		return 0
	}
	if _, ok := r.solidPlace(i); ok {
		return res.Size
	}
	return int64(min(res.OriginalSize, resource.MaxSize))
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
	return b.ReadAll(metadata.MaxSize)
}
