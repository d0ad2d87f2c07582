// Package overlay adds files to an image of a stored WIM, and takes some away,
// without a copy of it: an overlay is a new header in front of the stored file and
// a tail behind it, and a Composite is the WIM that they make together, put
// together while it is read.
//
// NewBase reads a stored WIM once, for any number of overlays; Base.Overlay plans
// the changes of the directory tree and lays out the tail: blobs, metadata, blob
// table, XML data, integrity table. The stored file is never changed.
package overlay

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"castpoint/content/wim"
	"castpoint/content/wim/format"
	"castpoint/content/wim/integrity"
	"castpoint/content/wim/metadata"
	"castpoint/content/wim/resource"
)

// maxFiles is how many files an overlay may add: a large folder of
// drivers has some thousands.
const maxFiles = 1 << 16

// File is a file that an overlay adds to an image, or puts in the place
// of one that is there.
type File struct {
	// Path in the image, with / or \. Case does not matter for what exists;
	// folders that are missing are made.
	Path string
	// Data is the content, unless Content is set. It must not change as long as
	// the Composite is used.
	Data []byte
	// Content gives the content where it lies, Size bytes. It must neither
	// change nor be closed as long as the Composite is used.
	Content io.ReaderAt
	Size    int64
	// Hash is the SHA-1 of the content where it is known; the zero Hash has it
	// computed.
	Hash format.Hash
}

// Options says what an overlay changes.
type Options struct {
	// Image is the index of the image that changes; 0 for the one that the
	// file marks for booting, or the only one.
	Image int
	// Files are added. Their order does not matter.
	Files []File
	// Remove names files, and folders with all that is in them, that the image
	// shall not have. It is done before Files are added. What is not there
	// does no harm.
	Remove []string
	// BootIndex marks another image for booting; 0 leaves it as it is.
	BootIndex int
	// Time is the time of new and replaced files, and of the last change in the
	// XML data. The zero time takes the image's own last change, so that the
	// result depends on nothing else.
	Time time.Time
}

// Base is a stored WIM file, prepared for overlays of one of its images. It
// holds the image's metadata and the blob table, once for all overlays. Its
// methods may be called from several goroutines.
type Base struct {
	file      io.ReaderAt
	size      int64
	reader    *wim.Reader
	tree      *wim.Tree
	links     map[uint64]int // names of each file with a number for hard links
	raw       [format.HeaderSize]byte
	metadata  *bytes.Reader // of the tree
	table     *bytes.Reader // the blob table
	xml       string
	spans     map[string]xmlSpan
	integrity *integrity.Stored // nil when the file has no integrity table
}

// NewBase prepares an image of a stored WIM for overlays: index from 1, or 0
// for the one that the file marks for booting, or the only one. r must give the
// file's size bytes for as long as the Base or a Composite of it is used. It
// reads all metadata, and of files with an integrity table up to 10 MiB of data.
//
// Errors: those of Open and Reader.Image; ErrUnsupported for pipable
// files, LZMS and solid resources.
func NewBase(r io.ReaderAt, size int64, index int) (*Base, error) {
	wr, err := wim.Open(r, size)
	if err != nil {
		return nil, err
	}
	info := wr.Info()
	switch {
	case info.Pipable:
		return nil, format.Unsupported("it is pipable, which boot managers and overlays cannot use", "--not-pipable")
	case info.Solid:
		return nil, format.Unsupported("its files are packed into solid resources, which boot managers cannot read", "")
	case info.Compression == format.CompressionLZMS:
		return nil, format.Unsupported("its files are compressed by LZMS, which boot managers cannot read", "")
	case info.Unfinished:
		return nil, format.Corrupt("a program is writing the file, or did not end writing it")
	}
	if index == 0 {
		if index = info.BootIndex; index == 0 && len(info.Images) == 1 {
			index = 1
		}
		if index == 0 {
			return nil, fmt.Errorf("%w: none of the %d images is marked for booting: name one", format.ErrUnsupported, len(info.Images))
		}
	}
	b := &Base{file: r, size: size, reader: wr, table: bytes.NewReader(wr.BlobTable())}
	if err := format.ReadFull(r, b.raw[:], 0, "header"); err != nil {
		return nil, err
	}
	if b.tree, err = wr.Image(index); err != nil {
		return nil, err
	}
	b.metadata = bytes.NewReader(b.tree.Metadata().Bytes())
	b.links = linkCounts(b.tree.Metadata())
	h, err := format.ReadHeader(r, size)
	if err != nil {
		return nil, err
	}
	text, err := format.ReadXML(r, h)
	if err != nil {
		return nil, err
	}
	b.xml = text
	if b.spans, err = xmlSpans(text, index); err != nil {
		return nil, err
	}
	if info.Integrity {
		if b.integrity, err = integrity.NewStored(r, size, h); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Tree is the image as it is stored.
func (b *Base) Tree() *wim.Tree { return b.tree }

// Info describes the stored file.
func (b *Base) Info() *wim.Info { return b.reader.Info() }

// linkCounts counts the names that share a number for hard links.
func linkCounts(t *metadata.Tree) map[uint64]int {
	counts := map[uint64]int{}
	var walk func(d metadata.Dentry)
	walk = func(d metadata.Dentry) {
		if id := d.Link(); id != 0 {
			counts[id]++
		}
		for _, child := range t.Children(d) {
			walk(child)
		}
	}
	_, root := t.RootEntry()
	walk(root)
	return counts
}

// New makes a WIM of a stored one, without copying it: NewBase and
// Base.Overlay in one, for a single use.
func New(base io.ReaderAt, size int64, o Options) (*Composite, error) {
	b, err := NewBase(base, size, o.Image)
	if err != nil {
		return nil, err
	}
	return b.Overlay(o)
}

// Overlay makes a WIM that has the stored file's images, with one of them
// changed. The same options give the same bytes, always.
//
// Errors: fs.ErrInvalid for paths that cannot be, or contradict each other or
// the image; ErrUnsupported for more files than an overlay can have; those of
// reading contents.
func (b *Base) Overlay(o Options) (*Composite, error) {
	info := b.reader.Info()
	switch {
	case o.Image != 0 && o.Image != b.tree.Index():
		return nil, fmt.Errorf("overlay of image %d on a base of image %d", o.Image, b.tree.Index())
	case o.BootIndex < 0 || o.BootIndex > len(info.Images):
		return nil, fmt.Errorf("overlay with boot index %d: the file has %d images", o.BootIndex, len(info.Images))
	case len(o.Files) > maxFiles:
		return nil, fmt.Errorf("%w: an overlay of %d files, at most %d are possible", format.ErrUnsupported, len(o.Files), maxFiles)
	}
	if o.Time.IsZero() {
		o.Time = info.Images[b.tree.Index()-1].Modified
	}
	if o.BootIndex == 0 {
		o.BootIndex = info.BootIndex
	}

	c := &Composite{}
	c.pieces.size = format.HeaderSize // the header is known last
	c.pieces.add(b.file, format.HeaderSize, b.size-format.HeaderSize)
	build := &build{base: b, options: o, out: &c.pieces, header: bytes.Clone(b.raw[:])}
	if err := build.run(); err != nil {
		return nil, err
	}
	c.tail = c.pieces.size - b.size
	c.pieces.list = slices.Insert(c.pieces.list, 0, piece{0, format.HeaderSize, bytes.NewReader(build.header), 0})
	id := sha256.New()
	id.Write(build.header)
	id.Write(build.id)
	id.Sum(c.id[:0])
	return c, nil
}

// build is one overlay in the making. Its steps are in the order of the
// tail: blobs, metadata, blob table, XML data, integrity table.
type build struct {
	base    *Base
	options Options
	out     *pieces // the file from offset 0; the header's piece is missing
	header  []byte
	id      []byte // hashes and tables that say what the tail is

	edit    *treeEdit
	blobs   []byte                // new entries of the blob table
	newBlob map[format.Hash]int64 // offsets in blobs
	patches []patch               // of the stored blob table
}

func (o *build) run() error {
	o.edit = newTreeEdit(o.base, format.FileTime(o.options.Time))
	for _, path := range o.options.Remove {
		if err := o.edit.remove(path); err != nil {
			return fmt.Errorf("overlay: remove: %w", err)
		}
	}
	if err := o.addFiles(); err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	metadata, err := o.addMetadata()
	if err != nil {
		return fmt.Errorf("overlay: %w", err)
	}
	o.countReferences()
	table := o.addBlobTable()
	xmlAt := o.addXML()
	o.setHeader(metadata, table, xmlAt)
	if o.base.integrity != nil {
		if err := o.addIntegrity(table.End()); err != nil {
			return fmt.Errorf("overlay: integrity table: %w", err)
		}
	}
	return nil
}

// addFiles puts the files into the tree, in order of path, and their contents
// into the tail where the WIM does not have them.
func (o *build) addFiles() error {
	files := slices.Clone(o.options.Files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	o.newBlob = map[format.Hash]int64{}
	for i := range files {
		f := &files[i]
		if f.Content == nil {
			f.Content, f.Size = bytes.NewReader(f.Data), int64(len(f.Data))
		}
		if f.Size < 0 || f.Size > resource.MaxSize {
			return fmt.Errorf("file %q: size %d is impossible", f.Path, f.Size)
		}
		h, err := f.hash()
		if err != nil {
			return err
		}
		if err := o.edit.put(&fileEdit{path: f.Path, hash: h, size: f.Size}); err != nil {
			return err
		}
		if err := o.addBlob(f, h); err != nil {
			return err
		}
	}
	return nil
}

// hash is the SHA-1 of the content, zero when there is none.
func (f *File) hash() (format.Hash, error) {
	if f.Size == 0 {
		return format.Hash{}, nil
	}
	if f.Hash != (format.Hash{}) {
		return f.Hash, nil
	}
	sum := sha1.New() //nolint:gosec // see the import
	n, err := io.Copy(sum, io.NewSectionReader(f.Content, 0, f.Size))
	if err != nil {
		return format.Hash{}, fmt.Errorf("read file %q: %w", f.Path, err)
	}
	if n != f.Size {
		return format.Hash{}, fmt.Errorf("read file %q: it has %d bytes, not %d", f.Path, n, f.Size)
	}
	return format.Hash(sum.Sum(nil)), nil
}

func (o *build) addBlob(f *File, h format.Hash) error {
	if h == (format.Hash{}) {
		return nil
	}
	if _, ok := o.newBlob[h]; ok {
		return nil
	}
	if i, ok := o.base.reader.Find(h); ok {
		res, err := o.base.reader.Entry(i).Resource()
		if err != nil || res.OriginalSize != uint64(f.Size) {
			return format.Corrupt("blob %v has not the size of the file %q, which has the same SHA-1", h, f.Path)
		}
		return nil
	}
	o.newBlob[h] = int64(len(o.blobs))
	o.blobs = append(o.blobs, format.NewBlobEntry(0, o.out.size, f.Size, 0, h)...)
	o.out.add(f.Content, 0, f.Size)
	return nil
}

// addMetadata adds the new directory tree and points the image's entry of the
// blob table to it. The place of that entry in the table is what makes it this
// image's, so it stays.
func (o *build) addMetadata() (format.Resource, error) {
	m, err := o.edit.write()
	if err != nil {
		return format.Resource{}, err
	}
	sum := sha1.New() //nolint:gosec // see the import
	if _, err := io.Copy(sum, io.NewSectionReader(m, 0, m.size)); err != nil {
		return format.Resource{}, err
	}
	h := format.Hash(sum.Sum(nil))
	res := format.Resource{Flags: format.ResourceMetadata, Offset: o.out.size, Size: m.size, OriginalSize: uint64(m.size)}
	o.out.addPieces(m)
	entry := o.base.reader.ImageEntry(o.base.tree.Index())
	o.patches = append(o.patches, patch{int64(entry) * format.BlobEntrySize, format.NewBlobEntry(res.Flags, res.Offset, res.Size, 1, h)})
	o.id = append(o.id, h[:]...)
	return res, nil
}

// countReferences writes how often blobs are used. A blob that nothing uses any
// more keeps one reference: the stored numbers may be wrong, and a blob too
// many does no harm.
func (o *build) countReferences() {
	for h, delta := range o.edit.delta.references {
		if at, ok := o.newBlob[h]; ok {
			binary.LittleEndian.PutUint32(o.blobs[at+format.BlobEntryReferences:], uint32(delta))
			continue
		}
		i, ok := o.base.reader.Find(h)
		if !ok || delta == 0 {
			continue
		}
		n := max(int64(o.base.reader.Entry(i).References())+delta, 1)
		o.patches = append(o.patches, patch{int64(i)*format.BlobEntrySize + format.BlobEntryReferences, binary.LittleEndian.AppendUint32(nil, uint32(min(n, 1<<32-1)))})
	}
}

func (o *build) addBlobTable() format.Resource {
	at := o.out.size
	// A piece of its own, so that its patches count from its start.
	var table pieces
	table.addPatched(o.base.table, o.base.table.Size(), o.patches)
	table.addBytes(o.blobs)
	o.out.addPieces(&table)
	for _, p := range o.patches { // addPatched has put them in order
		o.id = append(o.id, p.data...)
	}
	o.id = append(o.id, o.blobs...)
	return format.Resource{Flags: format.ResourceMetadata, Offset: at, Size: table.size, OriginalSize: uint64(table.size)}
}

// addXML adds the XML data with new numbers.
func (o *build) addXML() format.Resource {
	at := o.out.size
	// What wimlib puts here too: the file without XML data and what follows.
	values := map[string]string{"TOTALBYTES": strconv.FormatInt(at, 10)}
	delta := &o.edit.delta
	for name, d := range map[string]int64{
		"IMAGE/DIRCOUNT":      delta.folders,
		"IMAGE/FILECOUNT":     delta.files,
		"IMAGE/TOTALBYTES":    delta.bytes,
		"IMAGE/HARDLINKBYTES": delta.linkBytes,
	} {
		if n, ok := xmlNumber(o.base.xml, o.base.spans, name); ok {
			values[name] = strconv.FormatInt(max(n+d, 0), 10)
		}
	}
	now := format.FileTime(o.options.Time)
	values["IMAGE/LASTMODIFICATIONTIME/HIGHPART"] = fmt.Sprintf("0x%08X", uint32(now>>32))
	values["IMAGE/LASTMODIFICATIONTIME/LOWPART"] = fmt.Sprintf("0x%08X", uint32(now))
	text := encodeXML(replaceSpans(o.base.xml, o.base.spans, values))
	o.out.addBytes(text)
	o.id = append(o.id, text...)
	return format.Resource{Flags: format.ResourceMetadata, Offset: at, Size: int64(len(text)), OriginalSize: uint64(len(text))}
}

// setHeader points the header to the new tables.
func (o *build) setHeader(metadata, table, xml format.Resource) {
	put := func(at int, r format.Resource) { copy(o.header[at:], format.AppendResource(nil, r)) }
	put(format.HeaderBlobTable, table)
	put(format.HeaderXML, xml)
	switch i := o.options.BootIndex; i {
	case 0:
	case o.base.tree.Index():
		put(format.HeaderBootMetadata, metadata)
	default:
		e := o.base.reader.Entry(o.base.reader.ImageEntry(i))
		copy(o.header[format.HeaderBootMetadata:], e[:24])
	}
	binary.LittleEndian.PutUint32(o.header[format.HeaderBootIndex:], uint32(o.options.BootIndex))
}

// addIntegrity adds the integrity table for the bytes up to end.
func (o *build) addIntegrity(end int64) error {
	table, err := o.base.integrity.Extend(o.out, o.base.size, end)
	if err != nil {
		return err
	}
	at := o.out.size
	o.out.addBytes(table.Head)
	o.out.add(o.base.file, table.Kept, table.KeptSize)
	o.out.addBytes(table.Own)
	size := o.out.size - at
	copy(o.header[format.HeaderIntegrity:], format.AppendResource(nil, format.Resource{Flags: format.ResourceMetadata, Offset: at, Size: size, OriginalSize: uint64(size)}))
	return nil
}
