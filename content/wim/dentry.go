package wim

import "encoding/binary"

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
	dentrySubdir     = 0x10 // uint64, from the start of the metadata; 0 for none
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

	// endOfFolder is what stands where an entry would have its length; any
	// length up to 8 means the same.
	endOfFolder = 8
)

func align8(n int64) int64 { return (n + 7) &^ 7 }

// dentry is one directory entry with its streams, as it is in the metadata.
// Only parseDentry makes one, so that the positions in it are good.
type dentry []byte

// parseDentry takes the entry that begins b. It returns nil and no error at the
// end of a folder.
func parseDentry(b []byte) (dentry, error) {
	if len(b) < 8 {
		return nil, corrupt("the entries of a folder do not end before the metadata does")
	}
	length := binary.LittleEndian.Uint64(b)
	if length <= endOfFolder {
		return nil, nil
	}
	if length < dentrySize || length > uint64(len(b)) {
		return nil, corrupt("a directory entry of %d bytes with %d left", length, len(b))
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
		return nil, corrupt("a directory entry of %d bytes has names of %d and %d bytes", length, name, short)
	}
	end := align8(int64(length))
	for range binary.LittleEndian.Uint16(b[dentryStreams:]) {
		if end > int64(len(b)) || int64(len(b))-end < streamSize {
			return nil, corrupt("the streams of a directory entry lie beyond the end of the metadata")
		}
		s := b[end:]
		length := binary.LittleEndian.Uint64(s)
		if length < streamSize || length > uint64(len(s)) {
			return nil, corrupt("a stream entry of %d bytes with %d left", length, len(s))
		}
		name := uint64(binary.LittleEndian.Uint16(s[streamNameBytes:]))
		if name%2 != 0 || streamSize+name > length {
			return nil, corrupt("a stream entry of %d bytes has a name of %d bytes", length, name)
		}
		end += align8(int64(length))
	}
	// The last entry of the metadata may lack its padding.
	return dentry(b[:min(end, int64(len(b)))]), nil
}

func (d dentry) length() int64        { return int64(binary.LittleEndian.Uint64(d)) }
func (d dentry) attributes() uint32   { return binary.LittleEndian.Uint32(d[dentryAttributes:]) }
func (d dentry) security() int32      { return int32(binary.LittleEndian.Uint32(d[dentrySecurity:])) }
func (d dentry) subdir() uint64       { return binary.LittleEndian.Uint64(d[dentrySubdir:]) }
func (d dentry) streams() int         { return int(binary.LittleEndian.Uint16(d[dentryStreams:])) }
func (d dentry) time(at int) uint64   { return binary.LittleEndian.Uint64(d[at:]) }
func (d dentry) defaultHash() Hash    { return Hash(d[dentryHash:]) }
func (d dentry) reparseTag() uint32   { return binary.LittleEndian.Uint32(d[dentryReparse:]) }
func (d dentry) hardLinkID() uint64   { return binary.LittleEndian.Uint64(d[dentryHardLink:]) }
func (d dentry) isReparsePoint() bool { return d.attributes()&AttributeReparsePoint != 0 }

// isFolder says that the entry may have entries of its own. A reparse point has
// none in the image, even when it is a folder (a junction).
func (d dentry) isFolder() bool {
	return d.attributes()&(AttributeDirectory|AttributeReparsePoint) == AttributeDirectory
}

// link is the number that hard links share, 0 when there is none.
func (d dentry) link() uint64 {
	if d.isReparsePoint() {
		return 0
	}
	return d.hardLinkID()
}

func (d dentry) name() []byte {
	return d[dentrySize:][:binary.LittleEndian.Uint16(d[dentryNameBytes:])]
}

func (d dentry) shortName() []byte {
	n := int(binary.LittleEndian.Uint16(d[dentryShortBytes:]))
	if n == 0 {
		return nil
	}
	at := dentrySize
	if name := len(d.name()); name != 0 {
		at += name + 2
	}
	return d[at:][:n]
}

// rawStream is one stream of an entry as it is in the metadata.
type rawStream struct {
	name []byte
	hash Hash
}

// rawStreams lists the unnamed stream in the entry itself, then the further
// ones.
func (d dentry) rawStreams() []rawStream {
	list := make([]rawStream, 0, 1+d.streams())
	list = append(list, rawStream{hash: d.defaultHash()})
	for at := align8(d.length()); len(list) < cap(list); {
		s := d[at:]
		n := binary.LittleEndian.Uint16(s[streamNameBytes:])
		list = append(list, rawStream{s[streamSize:][:n], Hash(s[streamHash:])})
		at += align8(int64(binary.LittleEndian.Uint64(s)))
	}
	return list
}

// typedStreams gives each stream its kind. Unnamed streams do not say what they
// are: of a reparse point the first with a hash is its data, otherwise it is
// the content. Further unnamed ones mean nothing and are left out.
func (d dentry) typedStreams() []rawTypedStream {
	raw := d.rawStreams()
	list := make([]rawTypedStream, 0, len(raw))
	if d.attributes()&AttributeEncrypted != 0 {
		return append(list, rawTypedStream{raw[0], StreamEncrypted})
	}
	reparse, data := !d.isReparsePoint(), false
	unnamed := func(s rawStream) {
		switch {
		case !reparse:
			reparse = true
			list = append(list, rawTypedStream{s, StreamReparsePoint})
		case !data:
			data = true
			list = append(list, rawTypedStream{s, StreamData})
		}
	}
	for i, s := range raw {
		switch {
		case len(s.name) != 0:
			list = append(list, rawTypedStream{s, StreamData})
		case i != 0 || s.hash != (Hash{}):
			unnamed(s)
		}
	}
	if raw[0].hash == (Hash{}) {
		unnamed(raw[0])
	}
	return list
}

type rawTypedStream struct {
	rawStream
	kind StreamKind
}
