// Package wimfile makes small WIM files for tests: put together in memory, to be
// damaged on purpose (File, Node, Solid), or with wimlib, to be compared with what
// wimlib says of them.
package wimfile

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"unicode/utf16"

	"castpoint/content/wim/format"
)

// File is a small WIM put together in memory, to be damaged on purpose.
type File struct {
	Header format.HeaderDisk
	Data   []byte // from offset headerSize
	Blobs  []byte
	XML    []byte
	Chunk  uint32 // of the integrity table; 0 for none
	Table  []byte // replaces the integrity table when not nil
}

// New makes a WIM of one blob, which no image refers to.
func New(xmlText string, images uint32) *File {
	f := &File{Data: bytes.Repeat([]byte("data"), 4096), XML: EncodeUTF16(xmlText), Chunk: 4096}
	copy(f.Header.Magic[:], format.MagicWIM)
	f.Header.HeaderSize = format.HeaderSize
	f.Header.Version = format.VersionDefault
	f.Header.Part, f.Header.Parts, f.Header.Images = 1, 1, images
	f.Blobs = BlobEntry(format.ResourceDisk{SizeFlags: 100, Offset: format.HeaderSize, OriginalSize: 100}, 1)
	return f
}

// EncodeUTF16 makes UTF-16LE with byte order mark.
func EncodeUTF16(s string) []byte {
	b := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(s)) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// BlobEntry is an entry of the blob table.
func BlobEntry(r format.ResourceDisk, part uint16) []byte {
	b, err := binary.Append(nil, binary.LittleEndian, r)
	if err != nil {
		panic(err)
	}
	b = binary.LittleEndian.AppendUint16(b, part)
	b = binary.LittleEndian.AppendUint32(b, 1)
	return append(b, make([]byte, sha1.Size)...)
}

// Place is a resource that is not compressed.
func Place(offset, size int) format.ResourceDisk {
	return format.ResourceDisk{SizeFlags: uint64(size), Offset: uint64(offset), OriginalSize: uint64(size)}
}

// layOut fills in the positions of the tables and returns the parts behind the
// header.
func (f *File) layOut() []byte {
	body := bytes.Clone(f.Data)
	f.Header.BlobTable = Place(format.HeaderSize+len(body), len(f.Blobs))
	body = append(body, f.Blobs...)
	end := format.HeaderSize + len(body)
	f.Header.XML = Place(format.HeaderSize+len(body), len(f.XML))
	hashed := body
	body = append(bytes.Clone(body), f.XML...)
	table := f.Table
	if table == nil && f.Chunk != 0 {
		chunks := (end - format.HeaderSize + int(f.Chunk) - 1) / int(f.Chunk)
		table = binary.LittleEndian.AppendUint32(table, uint32(12+chunks*sha1.Size))
		table = binary.LittleEndian.AppendUint32(table, uint32(chunks))
		table = binary.LittleEndian.AppendUint32(table, f.Chunk)
		for i := 0; i < len(hashed); i += int(f.Chunk) {
			sum := sha1.Sum(hashed[i:min(i+int(f.Chunk), len(hashed))])
			table = append(table, sum[:]...)
		}
	}
	f.Header.Integrity = Place(format.HeaderSize+len(body), len(table))
	return append(body, table...)
}

// Bytes gives the file after change has had the header.
func (f *File) Bytes(change func(*format.HeaderDisk)) []byte {
	body := f.layOut()
	if change != nil {
		change(&f.Header)
	}
	head, err := binary.Append(nil, binary.LittleEndian, &f.Header)
	if err != nil {
		panic(err)
	}
	return append(head, body...)
}

// GoodXML describes one image.
const GoodXML = `<WIM><TOTALBYTES>1</TOTALBYTES><IMAGE INDEX="1"><NAME>one</NAME></IMAGE></WIM>`

// XMLEnd is where the XML data of a file ends.
func XMLEnd(b []byte) uint64 {
	return binary.LittleEndian.Uint64(b[0x48+8:]) + binary.LittleEndian.Uint64(b[0x48:])&(1<<56-1)
}

// NewImage makes a WIM without compression of one image.
func NewImage(meta []byte, blobs ...[]byte) *File {
	f := New(GoodXML, 1)
	f.Data, f.Blobs = nil, nil
	add := func(b []byte, flags uint8) {
		res := format.Resource{Flags: flags, Offset: format.HeaderSize + int64(len(f.Data)), Size: int64(len(b)), OriginalSize: uint64(len(b))}
		f.Blobs = append(f.Blobs, format.NewBlobEntry(flags, res.Offset, res.Size, 1, sha1.Sum(b))...)
		f.Data = append(f.Data, b...)
	}
	add(meta, format.ResourceMetadata)
	for _, b := range blobs {
		add(b, 0)
	}
	return f
}
