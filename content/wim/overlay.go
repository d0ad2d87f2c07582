package wim

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // the format prescribes it; it finds damage, not forgery
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxOverlayFiles is how many files an overlay may add: a large folder of
// drivers has some thousands.
const maxOverlayFiles = 1 << 16

// OverlayFile is a file that an overlay adds to an image, or puts in the place
// of one that is there.
type OverlayFile struct {
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
	Hash Hash
}

// OverlayOptions says what an overlay changes.
type OverlayOptions struct {
	// Image is the index of the image that changes; 0 for the one that the
	// file marks for booting, or the only one.
	Image int
	// Files are added. Their order does not matter.
	Files []OverlayFile
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
	reader    *Reader
	tree      *Tree
	links     map[uint64]int // names of each file with a number for hard links
	raw       [headerSize]byte
	metadata  *bytes.Reader // of the tree
	table     *bytes.Reader // the blob table
	xml       string
	spans     map[string]xmlSpan
	integrity *baseIntegrity // nil when the file has no integrity table
}

// baseIntegrity is what of the integrity table can be known beforehand.
type baseIntegrity struct {
	keep  int64 // entries of the stored table that stay true
	table int64 // where they lie in the file
	sums  chunkSums
}

// NewBase prepares an image of a stored WIM for overlays: index from 1, or 0
// for the one that the file marks for booting, or the only one. r must give the
// file's size bytes for as long as the Base or a Composite of it is used. It
// reads all metadata, and of files with an integrity table up to 10 MiB of data.
//
// Errors: those of Open and Reader.Image; ErrUnsupported for pipable
// files, LZMS and solid resources.
func NewBase(r io.ReaderAt, size int64, index int) (*Base, error) {
	wr, err := Open(r, size)
	if err != nil {
		return nil, err
	}
	switch {
	case wr.info.Pipable:
		return nil, unsupported("it is pipable, which boot managers and overlays cannot use", "--not-pipable")
	case wr.info.Solid:
		return nil, unsupported("its files are packed into solid resources, which boot managers cannot read", "")
	case wr.info.Compression == CompressionLZMS:
		return nil, unsupported("its files are compressed by LZMS, which boot managers cannot read", "")
	case wr.info.Unfinished:
		return nil, corrupt("a program is writing the file, or did not end writing it")
	}
	if index == 0 {
		if index = wr.info.BootIndex; index == 0 && len(wr.info.Images) == 1 {
			index = 1
		}
		if index == 0 {
			return nil, fmt.Errorf("%w: none of the %d images is marked for booting: name one", ErrUnsupported, len(wr.info.Images))
		}
	}
	b := &Base{reader: wr, table: bytes.NewReader(wr.table)}
	if err := readFull(r, b.raw[:], 0, "header"); err != nil {
		return nil, err
	}
	if b.tree, err = wr.Image(index); err != nil {
		return nil, err
	}
	b.metadata = bytes.NewReader(b.tree.metadata)
	b.links = b.tree.linkCounts()
	text, err := readXMLText(r, wr.parts[0].header)
	if err != nil {
		return nil, err
	}
	b.xml = text
	if b.spans, err = xmlSpans(text, index); err != nil {
		return nil, err
	}
	if wr.info.Integrity {
		if b.integrity, err = newBaseIntegrity(r, size, wr.parts[0].header); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// Tree is the image as it is stored.
func (b *Base) Tree() *Tree { return b.tree }

// Info describes the stored file.
func (b *Base) Info() *Info { return b.reader.info }

// linkCounts counts the names that share a number for hard links.
func (t *Tree) linkCounts() map[uint64]int {
	counts := map[uint64]int{}
	var walk func(d dentry)
	walk = func(d dentry) {
		if id := d.link(); id != 0 {
			counts[id]++
		}
		for _, child := range t.children(d) {
			walk(child)
		}
	}
	walk(t.at(t.root))
	return counts
}

// newBaseIntegrity hashes the part of the stored file whose entries in the
// integrity table change: from the chunk that is cut by the end of the blob
// table.
func newBaseIntegrity(r io.ReaderAt, size int64, h *header) (*baseIntegrity, error) {
	t, err := openIntegrity(r, h)
	if err != nil {
		return nil, err
	}
	i := &baseIntegrity{
		keep:  (t.end - headerSize) / t.chunkSize,
		table: h.integrity.offset + integrityHeaderSize,
		sums:  newChunkSums(t.chunkSize),
	}
	from := headerSize + i.keep*t.chunkSize
	if err := i.sums.read(r, from, size-from); err != nil {
		return nil, fmt.Errorf("read the end of the WIM: %w", err)
	}
	return i, nil
}

// Overlay makes a WIM of a stored one, without copying it: NewBase and
// Base.Overlay in one, for a single use.
func Overlay(base io.ReaderAt, size int64, o OverlayOptions) (*Composite, error) {
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
func (b *Base) Overlay(o OverlayOptions) (*Composite, error) {
	info := b.reader.info
	switch {
	case o.Image != 0 && o.Image != b.tree.index:
		return nil, fmt.Errorf("overlay of image %d on a base of image %d", o.Image, b.tree.index)
	case o.BootIndex < 0 || o.BootIndex > len(info.Images):
		return nil, fmt.Errorf("overlay with boot index %d: the file has %d images", o.BootIndex, len(info.Images))
	case len(o.Files) > maxOverlayFiles:
		return nil, fmt.Errorf("%w: an overlay of %d files, at most %d are possible", ErrUnsupported, len(o.Files), maxOverlayFiles)
	}
	if o.Time.IsZero() {
		o.Time = info.Images[b.tree.index-1].Modified
	}
	if o.BootIndex == 0 {
		o.BootIndex = info.BootIndex
	}

	c := &Composite{}
	c.pieces.size = headerSize // the header is known last
	c.pieces.add(b.reader.parts[0].r, headerSize, b.reader.parts[0].size-headerSize)
	build := &overlayBuild{base: b, options: o, out: &c.pieces, header: bytes.Clone(b.raw[:])}
	if err := build.run(); err != nil {
		return nil, err
	}
	c.tail = c.pieces.size - b.reader.parts[0].size
	c.pieces.list = slices.Insert(c.pieces.list, 0, piece{0, headerSize, bytes.NewReader(build.header), 0})
	id := sha256.New()
	id.Write(build.header)
	id.Write(build.id)
	id.Sum(c.id[:0])
	return c, nil
}

// overlayBuild is one overlay in the making. Its steps are in the order of the
// tail: blobs, metadata, blob table, XML data, integrity table.
type overlayBuild struct {
	base    *Base
	options OverlayOptions
	out     *pieces // the file from offset 0; the header's piece is missing
	header  []byte
	id      []byte // hashes and tables that say what the tail is

	edit    *treeEdit
	blobs   []byte         // new entries of the blob table
	newBlob map[Hash]int64 // offsets in blobs
	patches []patch        // of the stored blob table
}

func (o *overlayBuild) run() error {
	o.edit = newTreeEdit(o.base, toFileTime(o.options.Time))
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
		if err := o.addIntegrity(table.end()); err != nil {
			return fmt.Errorf("overlay: integrity table: %w", err)
		}
	}
	return nil
}

// addFiles puts the files into the tree, in order of path, and their contents
// into the tail where the WIM does not have them.
func (o *overlayBuild) addFiles() error {
	files := slices.Clone(o.options.Files)
	slices.SortFunc(files, func(a, b OverlayFile) int { return strings.Compare(a.Path, b.Path) })
	o.newBlob = map[Hash]int64{}
	for i := range files {
		f := &files[i]
		if f.Content == nil {
			f.Content, f.Size = bytes.NewReader(f.Data), int64(len(f.Data))
		}
		if f.Size < 0 || f.Size > maxResource {
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
func (f *OverlayFile) hash() (Hash, error) {
	if f.Size == 0 {
		return Hash{}, nil
	}
	if f.Hash != (Hash{}) {
		return f.Hash, nil
	}
	sum := sha1.New() //nolint:gosec // see the import
	n, err := io.Copy(sum, io.NewSectionReader(f.Content, 0, f.Size))
	if err != nil {
		return Hash{}, fmt.Errorf("read file %q: %w", f.Path, err)
	}
	if n != f.Size {
		return Hash{}, fmt.Errorf("read file %q: it has %d bytes, not %d", f.Path, n, f.Size)
	}
	return Hash(sum.Sum(nil)), nil
}

func (o *overlayBuild) addBlob(f *OverlayFile, h Hash) error {
	if h == (Hash{}) {
		return nil
	}
	if _, ok := o.newBlob[h]; ok {
		return nil
	}
	if i, ok := o.base.reader.find(h); ok {
		res, err := o.base.reader.entry(i).resource()
		if err != nil || res.originalSize != uint64(f.Size) {
			return corrupt("blob %v has not the size of the file %q, which has the same SHA-1", h, f.Path)
		}
		return nil
	}
	o.newBlob[h] = int64(len(o.blobs))
	o.blobs = append(o.blobs, newTableEntry(0, o.out.size, f.Size, 0, h)...)
	o.out.add(f.Content, 0, f.Size)
	return nil
}

// newTableEntry makes an entry of the blob table for an uncompressed resource.
func newTableEntry(flags uint8, offset, size int64, references uint32, h Hash) []byte {
	b := make([]byte, 0, blobEntrySize)
	b = appendResource(b, resource{flags: flags, offset: offset, size: size, originalSize: uint64(size)})
	b = binary.LittleEndian.AppendUint16(b, 1) // part
	b = binary.LittleEndian.AppendUint32(b, references)
	return append(b, h[:]...)
}

// appendResource appends the 24 bytes of a resourceDisk.
func appendResource(b []byte, r resource) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(r.flags)<<56|uint64(r.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.offset))
	return binary.LittleEndian.AppendUint64(b, r.originalSize)
}

// addMetadata adds the new directory tree and points the image's entry of the
// blob table to it. The place of that entry in the table is what makes it this
// image's, so it stays.
func (o *overlayBuild) addMetadata() (resource, error) {
	m, err := o.edit.write()
	if err != nil {
		return resource{}, err
	}
	sum := sha1.New() //nolint:gosec // see the import
	if _, err := io.Copy(sum, io.NewSectionReader(m, 0, m.size)); err != nil {
		return resource{}, err
	}
	h := Hash(sum.Sum(nil))
	res := resource{flags: resourceMetadata, offset: o.out.size, size: m.size, originalSize: uint64(m.size)}
	o.out.addPieces(m)
	entry := o.base.reader.images[o.base.tree.index-1]
	o.patches = append(o.patches, patch{int64(entry) * blobEntrySize, newTableEntry(res.flags, res.offset, res.size, 1, h)})
	o.id = append(o.id, h[:]...)
	return res, nil
}

// countReferences writes how often blobs are used. A blob that nothing uses any
// more keeps one reference: the stored numbers may be wrong, and a blob too
// many does no harm.
func (o *overlayBuild) countReferences() {
	for h, delta := range o.edit.delta.references {
		if at, ok := o.newBlob[h]; ok {
			binary.LittleEndian.PutUint32(o.blobs[at+blobEntryReferences:], uint32(delta))
			continue
		}
		i, ok := o.base.reader.find(h)
		if !ok || delta == 0 {
			continue
		}
		n := max(int64(o.base.reader.entry(i).references())+delta, 1)
		o.patches = append(o.patches, patch{int64(i)*blobEntrySize + blobEntryReferences, binary.LittleEndian.AppendUint32(nil, uint32(min(n, 1<<32-1)))})
	}
}

func (o *overlayBuild) addBlobTable() resource {
	at := o.out.size
	// A piece of its own, so that its patches count from its start.
	var table pieces
	table.addPatched(o.base.table, int64(len(o.base.reader.table)), o.patches)
	table.addBytes(o.blobs)
	o.out.addPieces(&table)
	for _, p := range o.patches { // addPatched has put them in order
		o.id = append(o.id, p.data...)
	}
	o.id = append(o.id, o.blobs...)
	return resource{flags: resourceMetadata, offset: at, size: table.size, originalSize: uint64(table.size)}
}

// addXML adds the XML data with new numbers.
func (o *overlayBuild) addXML() resource {
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
	now := toFileTime(o.options.Time)
	values["IMAGE/LASTMODIFICATIONTIME/HIGHPART"] = fmt.Sprintf("0x%08X", uint32(now>>32))
	values["IMAGE/LASTMODIFICATIONTIME/LOWPART"] = fmt.Sprintf("0x%08X", uint32(now))
	text := encodeXML(replaceSpans(o.base.xml, o.base.spans, values))
	o.out.addBytes(text)
	o.id = append(o.id, text...)
	return resource{flags: resourceMetadata, offset: at, size: int64(len(text)), originalSize: uint64(len(text))}
}

// setHeader points the header to the new tables.
func (o *overlayBuild) setHeader(metadata, table, xml resource) {
	put := func(at int, r resource) { copy(o.header[at:], appendResource(nil, r)) }
	put(headerBlobTable, table)
	put(headerXML, xml)
	switch i := o.options.BootIndex; i {
	case 0:
	case o.base.tree.index:
		put(headerBootMetadata, metadata)
	default:
		e := o.base.reader.entry(o.base.reader.images[i-1])
		copy(o.header[headerBootMetadata:], e[:24])
	}
	binary.LittleEndian.PutUint32(o.header[headerBootIndex:], uint32(o.options.BootIndex))
}

// addIntegrity adds the integrity table for the bytes up to end. The sums of
// whole chunks of the stored file are taken from its table as they are: when
// they do not match, the receiver learns what the stored file has suffered.
func (o *overlayBuild) addIntegrity(end int64) error {
	i := o.base.integrity
	sums := i.sums.clone()
	if err := sums.read(o.out, o.base.reader.parts[0].size, end-o.base.reader.parts[0].size); err != nil {
		return err
	}
	own := sums.finish()
	chunks := i.keep + int64(len(own)/sha1.Size)
	size := integrityHeaderSize + chunks*sha1.Size
	if size >= 1<<32 {
		return fmt.Errorf("%w: %d chunks are more than it can have", ErrUnsupported, chunks)
	}
	at := o.out.size
	var head []byte
	head = binary.LittleEndian.AppendUint32(head, uint32(size))
	head = binary.LittleEndian.AppendUint32(head, uint32(chunks))
	head = binary.LittleEndian.AppendUint32(head, uint32(sums.chunkSize))
	o.out.addBytes(head)
	o.out.add(o.base.reader.parts[0].r, i.table, i.keep*sha1.Size)
	o.out.addBytes(own)
	copy(o.header[headerIntegrity:], appendResource(nil, resource{flags: resourceMetadata, offset: at, size: size, originalSize: uint64(size)}))
	return nil
}

// chunkSums makes the entries of an integrity table of bytes that pass by.
type chunkSums struct {
	chunkSize int64
	done      []byte // entries of whole chunks
	open      hash.Hash
	filled    int64 // bytes of the open chunk
}

func newChunkSums(chunkSize int64) chunkSums {
	return chunkSums{chunkSize: chunkSize, open: sha1.New()} //nolint:gosec // see the import
}

// clone copies the state; the original can go on being cloned.
func (s *chunkSums) clone() chunkSums {
	c := *s
	c.done = slices.Clone(s.done)
	open, err := s.open.(hash.Cloner).Clone()
	if err != nil {
		panic("wim: SHA-1 cannot be cloned: " + err.Error()) // it can, since Go 1.25
	}
	c.open = open
	return c
}

// Write takes the next bytes and never fails.
func (s *chunkSums) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		part := b[:min(int64(len(b)), s.chunkSize-s.filled)]
		s.open.Write(part)
		s.filled += int64(len(part))
		b = b[len(part):]
		if s.filled == s.chunkSize {
			s.done = s.open.Sum(s.done)
			s.open.Reset()
			s.filled = 0
		}
	}
	return n, nil
}

// read takes size bytes of r from off.
func (s *chunkSums) read(r io.ReaderAt, off, size int64) error {
	buf := make([]byte, min(size, verifyBuffer))
	for size > 0 {
		b := buf[:min(size, int64(len(buf)))]
		if n, err := r.ReadAt(b, off); n < len(b) {
			if errors.Is(err, io.EOF) || err == nil {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		_, _ = s.Write(b)
		off += int64(len(b))
		size -= int64(len(b))
	}
	return nil
}

// finish returns all entries.
func (s *chunkSums) finish() []byte {
	if s.filled == 0 {
		return s.done
	}
	return s.open.Sum(s.done)
}
