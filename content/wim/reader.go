package wim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
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

// Reader reads the images in a WIM file. Its methods may be called from several
// goroutines.
type Reader struct {
	r      io.ReaderAt
	size   int64
	info   *Info
	header *header
	codec  *codec
	table  []byte  // the blob table as it is in the file
	byHash []int32 // the entries that can be read, in order of hash
	images []int32 // the entries of the images' metadata, in order of index
}

// Open reads the tables of a WIM file. r must give the file's size bytes for as
// long as the Reader is used.
//
// Errors: those of Describe; ErrUnsupported for LZMS compression, solid
// resources and parts of split WIMs.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	info, err := Describe(r, size)
	if err != nil {
		return nil, err
	}
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	switch {
	case info.Split():
		return nil, fmt.Errorf("%w: it is part %d of the %d parts of a split WIM; join them first: wimlib-imagex join NEW.wim FIRST.swm SECOND.swm",
			ErrUnsupported, info.Part, info.Parts)
	case info.Solid:
		return nil, unsupported("its files are packed into solid resources", "")
	case h.blobTable.compressed():
		return nil, unsupported("its blob table is compressed", "")
	}
	wr := &Reader{r: r, size: size, info: info, header: h}
	if wr.codec, err = newCodec(h); err != nil {
		return nil, err
	}
	if err := wr.readBlobTable(); err != nil {
		return nil, err
	}
	return wr, nil
}

// Info describes the file.
func (r *Reader) Info() *Info { return r.info }

// readBlobTable makes the index. Describe has checked the positions.
func (r *Reader) readBlobTable() error {
	n := r.header.blobTable.size / blobEntrySize
	if n > maxBlobEntries {
		return corrupt("%s: %d entries, at most %d are sensible", tableBlobs, n, maxBlobEntries)
	}
	r.table = make([]byte, n*blobEntrySize)
	if err := readFull(r.r, r.table, r.header.blobTable.offset, tableBlobs); err != nil {
		return err
	}
	r.byHash = make([]int32, 0, n)
	for i := range int32(n) {
		e := r.entry(i)
		if e.unusable(r.header.part) {
			continue
		}
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

// unusable says that the entry names no blob of this file.
func (e tableEntry) unusable(part uint16) bool {
	return e.flags()&resourceFree != 0 || e.part() != part || bytes.Equal(e.hash(), make([]byte, len(Hash{})))
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
		return &Blob{r: r.r, what: "empty file"}, nil
	}
	i, ok := r.find(h)
	if !ok {
		return nil, fmt.Errorf("blob %v: %w", h, fs.ErrNotExist)
	}
	return r.blobAt(i)
}

func (r *Reader) blobAt(i int32) (*Blob, error) {
	e := r.entry(i)
	h := Hash(e.hash())
	what := "blob " + h.String()
	res, err := e.resource()
	if err != nil {
		return nil, corrupt("%s: %v", what, err)
	}
	return newBlob(r.r, r.size, r.codec, res, h, what)
}

// blobSize is the size of a blob, 0 when it is not in the file.
func (r *Reader) blobSize(h Hash) int64 {
	if i, ok := r.find(h); ok {
		if res, err := r.entry(i).resource(); err == nil {
			return int64(min(res.originalSize, maxResource))
		}
	}
	return 0
}

// readMetadata reads and checks the metadata resource of an image.
func (r *Reader) readMetadata(index int) ([]byte, error) {
	if index < 1 || index > len(r.images) {
		return nil, fmt.Errorf("image %d: the file has %d: %w", index, len(r.images), fs.ErrNotExist)
	}
	e := r.entry(r.images[index-1])
	what := fmt.Sprintf("metadata of image %d", index)
	res, err := e.resource()
	if err != nil {
		return nil, corrupt("%s: %v", what, err)
	}
	b, err := newBlob(r.r, r.size, r.codec, res, Hash(e.hash()), what)
	if err != nil {
		return nil, err
	}
	return b.readAll(maxMetadata)
}

// VerifyBlobs decompresses every blob and the metadata of every image, each
// once, and compares the SHA-1. It works in the order of the file with the
// given number of workers, at least one. progress, which may be nil, is called
// with decompressed bytes done and in total, by one goroutine at a time.
//
// It finds damage in files without an integrity table, and says which blob is
// damaged; Verify is faster. Errors: ErrCorrupt, ErrTruncated, the context's,
// or the reader's own: the first that was met, after all workers have ended.
func (r *Reader) VerifyBlobs(ctx context.Context, workers int, progress func(done, total int64)) error {
	type job struct {
		entry  int32
		offset int64
	}
	jobs := make([]job, 0, len(r.byHash)+len(r.images))
	total := int64(0)
	for _, list := range [][]int32{r.byHash, r.images} {
		for _, i := range list {
			res, err := r.entry(i).resource()
			if err != nil {
				return corrupt("%s: entry %d: %v", tableBlobs, i, err)
			}
			if res.originalSize > maxResource || total > maxResource {
				return corrupt("%s: entry %d: size %d is beyond any file", tableBlobs, i, res.originalSize)
			}
			total += int64(res.originalSize)
			jobs = append(jobs, job{i, res.offset})
		}
	}
	slices.SortFunc(jobs, func(a, b job) int { return cmp.Compare(a.offset, b.offset) })

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		next atomic.Int64
		mu   sync.Mutex
		done int64
		wg   sync.WaitGroup
	)
	report := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		done += int64(n)
		if progress != nil {
			progress(done, total)
		}
	}
	for range max(workers, 1) {
		wg.Go(func() {
			buf := make([]byte, verifyBuffer)
			for ctx.Err() == nil {
				i := next.Add(1) - 1
				if i >= int64(len(jobs)) {
					return
				}
				if err := r.verifyBlob(ctx, jobs[i].entry, buf, report); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// verifyBlob reads one blob to its end.
func (r *Reader) verifyBlob(ctx context.Context, entry int32, buf []byte, report func(int)) error {
	b, err := r.blobAt(entry)
	if err != nil {
		return err
	}
	for in := b.Reader(); ; {
		n, err := in.Read(buf)
		report(n)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}
