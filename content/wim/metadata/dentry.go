package metadata

import (
	"encoding/binary"

	"castpoint/content/wim/format"
)

// The metadata resource of an image is its directory tree. It begins with the
// security descriptors:
//
//	0x00  uint32  size of all this, without padding to 8 bytes
//	0x04  uint32  number of descriptors
//	0x08  uint64  size of each, then the descriptors themselves
//
// and goes on with directory entries, each on a multiple of 8 bytes. The root
// comes first and stands alone. The entries of a folder stand one behind the
// other, the last before eight zero bytes; the folder's own entry says where
// they begin. Nothing says that they come in any order, or only once.
const (
	dentrySize = 0x66 // without names

	dentryLength     = 0x00 // uint64, with names, without padding and streams
	dentryAttributes = 0x08 // uint32
	dentrySecurity   = 0x0c // int32, -1 for none
	DentrySubdir     = 0x10 // uint64, from the start of the metadata; 0 for none
	dentryCreated    = 0x28 // uint64
	dentryAccessed   = 0x30 // uint64
	dentryModified   = 0x38 // uint64
	dentryHash       = 0x40 // 20 bytes, of the unnamed stream
	dentryReparse    = 0x58 // uint32 tag when a reparse point, else
	dentryHardLink   = 0x58 // uint64 number that links of one file share
	dentryStreams    = 0x60 // uint16 number of further streams, which follow
	dentryShortBytes = 0x62 // uint16
	dentryNameBytes  = 0x64 // uint16

	// A further stream: its length, 8 bytes of nothing, its hash, the bytes of
	// its name, its name.
	streamSize      = 0x26
	streamHash      = 0x10
	streamNameBytes = 0x24

	// EndOfFolder is what stands where an entry would have its length; any
	// length up to 8 means the same.
	EndOfFolder = 8
)

// Align8 rounds up to a multiple of 8, on which entries begin.
func Align8(n int64) int64 { return (n + 7) &^ 7 }

// Dentry is one directory entry with its streams, as it is in the metadata.
// Only parseDentry and NewDentry make one, so that the positions in it are good.
type Dentry []byte

// parseDentry takes the entry that begins b. It returns nil and no error at the
// end of a folder.
func parseDentry(b []byte) (Dentry, error) {
	if len(b) < 8 {
		return nil, format.Corrupt("the entries of a folder do not end before the metadata does")
	}
	length := binary.LittleEndian.Uint64(b)
	if length <= EndOfFolder {
		return nil, nil
	}
	if length < dentrySize || length > uint64(len(b)) {
		return nil, format.Corrupt("a directory entry of %d bytes with %d left", length, len(b))
	}
	name := int64(binary.LittleEndian.Uint16(b[dentryNameBytes:]))
	short := int64(binary.LittleEndian.Uint16(b[dentryShortBytes:]))
	need := int64(dentrySize) + name + short
	if name != 0 {
		need += 2
	}
	if short != 0 {
		need += 2
	}
	if (name|short)%2 != 0 || need > int64(length) {
		return nil, format.Corrupt("a directory entry of %d bytes has names of %d and %d bytes", length, name, short)
	}
	end := Align8(int64(length))
	for range binary.LittleEndian.Uint16(b[dentryStreams:]) {
		if end > int64(len(b)) || int64(len(b))-end < streamSize {
			return nil, format.Corrupt("the streams of a directory entry lie beyond the end of the metadata")
		}
		s := b[end:]
		length := binary.LittleEndian.Uint64(s)
		if length < streamSize || length > uint64(len(s)) {
			return nil, format.Corrupt("a stream entry of %d bytes with %d left", length, len(s))
		}
		name := uint64(binary.LittleEndian.Uint16(s[streamNameBytes:]))
		if name%2 != 0 || streamSize+name > length {
			return nil, format.Corrupt("a stream entry of %d bytes has a name of %d bytes", length, name)
		}
		end += Align8(int64(length))
	}
	// The last entry of the metadata may lack its padding.
	return Dentry(b[:min(end, int64(len(b)))]), nil
}

func (d Dentry) length() int64 { return int64(binary.LittleEndian.Uint64(d)) }

// Attributes are those of the file.
func (d Dentry) Attributes() uint32 { return binary.LittleEndian.Uint32(d[dentryAttributes:]) }

// Security is the number of the security descriptor, -1 for none.
func (d Dentry) Security() int32 { return int32(binary.LittleEndian.Uint32(d[dentrySecurity:])) }

// Subdir is where the entries of a folder begin, 0 for none.
func (d Dentry) Subdir() uint64 { return binary.LittleEndian.Uint64(d[DentrySubdir:]) }
func (d Dentry) streams() int   { return int(binary.LittleEndian.Uint16(d[dentryStreams:])) }

// Created is a file time, as Accessed and Modified are.
func (d Dentry) Created() uint64 { return binary.LittleEndian.Uint64(d[dentryCreated:]) }

// Accessed is when the file was read last.
func (d Dentry) Accessed() uint64 { return binary.LittleEndian.Uint64(d[dentryAccessed:]) }

// Modified is when the content was changed last.
func (d Dentry) Modified() uint64         { return binary.LittleEndian.Uint64(d[dentryModified:]) }
func (d Dentry) defaultHash() format.Hash { return format.Hash(d[dentryHash:]) }

// ReparseTag is the kind of a reparse point; of other files it means nothing.
func (d Dentry) ReparseTag() uint32 { return binary.LittleEndian.Uint32(d[dentryReparse:]) }
func (d Dentry) hardLinkID() uint64 { return binary.LittleEndian.Uint64(d[dentryHardLink:]) }

// IsReparsePoint says that the entry is a link, a junction or the like.
func (d Dentry) IsReparsePoint() bool { return d.Attributes()&AttributeReparsePoint != 0 }

// IsFolder says that the entry may have entries of its own. A reparse point has
// none in the image, even when it is a folder (a junction).
func (d Dentry) IsFolder() bool {
	return d.Attributes()&(AttributeDirectory|AttributeReparsePoint) == AttributeDirectory
}

// Link is the number that hard links share, 0 when there is none.
func (d Dentry) Link() uint64 {
	if d.IsReparsePoint() {
		return 0
	}
	return d.hardLinkID()
}

// Name is the name in UTF-16LE.
func (d Dentry) Name() []byte {
	return d[dentrySize:][:binary.LittleEndian.Uint16(d[dentryNameBytes:])]
}

// ShortName is the 8.3 name in UTF-16LE, nil for none.
func (d Dentry) ShortName() []byte {
	n := int(binary.LittleEndian.Uint16(d[dentryShortBytes:]))
	if n == 0 {
		return nil
	}
	at := dentrySize
	if name := len(d.Name()); name != 0 {
		at += name + 2
	}
	return d[at:][:n]
}

// Stream is one stream of an entry as it is in the metadata.
type Stream struct {
	Name []byte
	Hash format.Hash
}

// RawStreams lists the unnamed stream in the entry itself, then the further
// ones.
func (d Dentry) RawStreams() []Stream {
	list := make([]Stream, 0, 1+d.streams())
	list = append(list, Stream{Hash: d.defaultHash()})
	for at := Align8(d.length()); len(list) < cap(list); {
		s := d[at:]
		n := binary.LittleEndian.Uint16(s[streamNameBytes:])
		list = append(list, Stream{s[streamSize:][:n], format.Hash(s[streamHash:])})
		at += Align8(int64(binary.LittleEndian.Uint64(s)))
	}
	return list
}

// TypedStreams gives each stream its kind. Unnamed streams do not say what they
// are: of a reparse point the first with a hash is its data, otherwise it is
// the content. Further unnamed ones mean nothing and are left out.
func (d Dentry) TypedStreams() []TypedStream {
	raw := d.RawStreams()
	list := make([]TypedStream, 0, len(raw))
	if d.Attributes()&AttributeEncrypted != 0 {
		return append(list, TypedStream{raw[0], StreamEncrypted})
	}
	reparse, data := !d.IsReparsePoint(), false
	unnamed := func(s Stream) {
		switch {
		case !reparse:
			reparse = true
			list = append(list, TypedStream{s, StreamReparsePoint})
		case !data:
			data = true
			list = append(list, TypedStream{s, StreamData})
		}
	}
	for i, s := range raw {
		switch {
		case len(s.Name) != 0:
			list = append(list, TypedStream{s, StreamData})
		case i != 0 || s.Hash != (format.Hash{}):
			unnamed(s)
		}
	}
	if raw[0].Hash == (format.Hash{}) {
		unnamed(raw[0])
	}
	return list
}

// TypedStream is a stream and what its bytes are.
type TypedStream struct {
	Stream
	Kind StreamKind
}

// NewDentry makes an entry without streams, with its padding. Names are UTF-16LE,
// times are file times.
func NewDentry(name, short []byte, attributes uint32, security int32, created, modified uint64) Dentry {
	length := dentrySize + len(name) + 2
	if len(short) != 0 {
		length += len(short) + 2
	}
	d := make([]byte, Align8(int64(length)))
	// The padding counts, as in Microsoft's files.
	binary.LittleEndian.PutUint64(d[dentryLength:], uint64(len(d)))
	binary.LittleEndian.PutUint32(d[dentryAttributes:], attributes)
	binary.LittleEndian.PutUint32(d[dentrySecurity:], uint32(security))
	binary.LittleEndian.PutUint64(d[dentryCreated:], created)
	binary.LittleEndian.PutUint64(d[dentryAccessed:], modified)
	binary.LittleEndian.PutUint64(d[dentryModified:], modified)
	binary.LittleEndian.PutUint16(d[dentryShortBytes:], uint16(len(short)))
	binary.LittleEndian.PutUint16(d[dentryNameBytes:], uint16(len(name)))
	copy(d[dentrySize:], name)
	copy(d[dentrySize+len(name)+2:], short)
	return d
}

// SetHash names the content of an entry that NewDentry made.
func (d Dentry) SetHash(h format.Hash) { copy(d[dentryHash:], h[:]) }

// SetSubdir says where the entries of a folder that NewDentry made begin.
func (d Dentry) SetSubdir(at int64) { binary.LittleEndian.PutUint64(d[DentrySubdir:], uint64(at)) }
