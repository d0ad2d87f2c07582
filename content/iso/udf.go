package iso

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// UDF is a profile of ECMA-167; the numbers in brackets are its parts and
// sections. All numbers are little-endian. Windows media are UDF 1.02; later
// revisions are read as far as they do not need a metadata, virtual or sparable
// partition.

var le = binary.LittleEndian

// Tag identifiers of descriptors [3/7.2.1, 4/7.2.1].
const (
	tagAnchor           = 2
	tagPointer          = 3
	tagPartition        = 5
	tagLogicalVolume    = 6
	tagTerminating      = 8
	tagFileSet          = 256
	tagFileIdentifier   = 257
	tagAllocationExtent = 258
	tagFileEntry        = 261
	tagExtendedEntry    = 266
)

const (
	tagSize = 16
	// maxVolumeDescriptors bounds a volume descriptor sequence; real ones have 6.
	maxVolumeDescriptors = 256
	// maxRecognition bounds the volume recognition sequence, in sectors: behind
	// the ISO 9660 descriptors, of which there are rarely more than five.
	maxRecognition = 64
	// anchorBlock is where the anchor lies in any volume [3/8.4.2.1, UDF 2.2.3].
	anchorBlock = 256
)

// hasUDF looks for NSR02 or NSR03 in the volume recognition sequence [2/8.3.1].
func (t *tree) hasUDF() (bool, error) {
	for s := range int64(maxRecognition) {
		offset := (firstDescriptor + s) * sector
		if offset+sector > t.size {
			return false, nil
		}
		b, err := t.bytes("volume descriptor", offset, 7)
		if err != nil {
			return false, err
		}
		switch string(b[1:6]) {
		case "NSR02", "NSR03":
			return true, nil
		case "CD001", "BEA01", "BOOT2", "CDW02", "\x00\x00\x00\x00\x00": // zeros between them on media with sectors of 4096 bytes
		default:
			return false, nil
		}
	}
	return false, nil
}

// udf is a UDF volume.
type udf struct {
	*tree
	block      int64           // bytes of a logical block and of a sector
	partitions map[uint16]span // by partition number
	maps       []span          // by partition reference
}

// span is a part of the image, in bytes.
type span struct{ offset, length int64 }

// readUDF reads the volume: anchor, volume descriptors, file set, root folder.
func (t *tree) readUDF() (label string, err error) {
	u := &udf{tree: t, partitions: map[uint16]span{}}
	anchor, err := u.anchor()
	if err != nil {
		return "", err
	}
	// The reserve sequence is a copy of the main one, for when that is damaged.
	label, root, err := u.volume(span{int64(le.Uint32(anchor[20:])) * u.block, int64(le.Uint32(anchor[16:]))})
	if err != nil {
		var again error
		if label, root, again = u.volume(span{int64(le.Uint32(anchor[28:])) * u.block, int64(le.Uint32(anchor[24:]))}); again != nil {
			return "", err
		}
	}
	set, _, err := u.descriptor("file set descriptor", root.ref, root.block, tagFileSet)
	if err != nil {
		return "", err
	}
	return label, u.folder("", longAD(set[400:]), 0)
}

// anchor finds the anchor and by it the size of a block.
func (u *udf) anchor() ([]byte, error) {
	for _, block := range []int64{sector, 512, 4096} {
		for _, at := range []int64{anchorBlock, u.size/block - 1 - anchorBlock, u.size/block - 1} {
			if at < 0 || (at+1)*block > u.size {
				continue
			}
			b, err := u.bytes("anchor", at*block, 512)
			if err != nil {
				return nil, err
			}
			if checkTag(b, tagAnchor, uint32(at)) == nil { // what does not fit does not match
				u.block = block
				return b, nil
			}
		}
	}
	return nil, corrupt("it has a UDF file system without an anchor: it is not complete")
}

// volume reads a volume descriptor sequence: which partitions there are, and
// where the file set descriptor lies. The descriptor with the highest sequence
// number is valid [3/8.4.3].
func (u *udf) volume(sequence span) (label string, root address, err error) {
	var volume []byte
	u.maps = nil
	newest := map[uint16]uint32{}
	for n := 0; sequence.length >= 512; n++ {
		if n >= maxVolumeDescriptors {
			return "", root, corrupt("more than %d volume descriptors", maxVolumeDescriptors)
		}
		b, err := u.bytes("volume descriptor", sequence.offset, min(u.block, sequence.length))
		if err != nil {
			return "", root, err
		}
		id := le.Uint16(b)
		if err := checkTag(b, id, uint32(sequence.offset/u.block)); err != nil { // bounded by the size of the image
			if id == 0 {
				break // an unrecorded sector ends the sequence
			}
			return "", root, err
		}
		sequence.offset += u.block
		sequence.length -= u.block
		number := le.Uint32(b[16:])
		switch id {
		case tagPointer:
			sequence = span{int64(le.Uint32(b[24:])) * u.block, int64(le.Uint32(b[20:]))}
		case tagTerminating:
			sequence.length = 0
		case tagPartition:
			part := le.Uint16(b[22:])
			if old, ok := newest[part]; ok && old > number {
				break
			}
			newest[part] = number
			u.partitions[part] = span{int64(le.Uint32(b[188:])) * u.block, int64(le.Uint32(b[192:])) * u.block}
		case tagLogicalVolume:
			if volume == nil || le.Uint32(volume[16:]) <= number {
				volume = b
			}
		}
	}
	if volume == nil {
		return "", root, corrupt("it has no logical volume descriptor")
	}
	if size := int64(le.Uint32(volume[212:])); size != u.block {
		return "", root, unsupported("logical blocks of %d bytes on sectors of %d", size, u.block)
	}
	label, err = dstring(volume[84:212])
	if err != nil {
		label = "" // nothing depends on it
	}
	if err := u.readMaps(volume); err != nil {
		return "", root, err
	}
	return label, longAD(volume[248:]), nil
}

// readMaps reads the partition maps [3/10.7].
func (u *udf) readMaps(volume []byte) error {
	length, count := int64(le.Uint32(volume[264:])), int64(le.Uint32(volume[268:]))
	if length > int64(len(volume))-440 || count > length/6 {
		return corrupt("its partition maps do not fit their descriptor")
	}
	b := volume[440 : 440+length]
	for range count {
		if len(b) < 6 || b[1] < 6 || int(b[1]) > len(b) {
			return corrupt("its partition maps do not fit their descriptor")
		}
		if b[0] != 1 {
			kind := "of an unknown type"
			if b[1] >= 28 {
				kind = strings.TrimRight(strings.Map(printable, string(b[5:28])), " ")
			}
			return unsupported("its files lie in a partition %s: mount it and add the folder", kind)
		}
		part, ok := u.partitions[le.Uint16(b[4:])]
		if !ok {
			return corrupt("partition %d is not described", le.Uint16(b[4:]))
		}
		u.maps = append(u.maps, part)
		b = b[b[1]:]
	}
	return nil
}

func printable(r rune) rune {
	if r < ' ' || r > '~' {
		return ' '
	}
	return r
}

// address is a long allocation descriptor [4/14.14.2]: a piece of a partition.
type address struct {
	kind   byte // of the piece, see pieceRecorded
	length int64
	block  uint32
	ref    uint16 // partition reference
}

// Kinds of pieces [4/14.14.1.1].
const (
	pieceRecorded = iota
	pieceAllocated
	pieceHole
	pieceNext // the piece holds more allocation descriptors
)

func longAD(b []byte) address {
	n := le.Uint32(b)
	return address{byte(n >> 30), int64(n & (1<<30 - 1)), le.Uint32(b[4:]), le.Uint16(b[8:])}
}

// at is the place of a block of a partition in the image.
func (u *udf) at(ref uint16, block uint32, length int64) (int64, error) {
	if int(ref) >= len(u.maps) {
		return 0, corrupt("partition reference %d, of %d", ref, len(u.maps))
	}
	part := u.maps[ref]
	offset := int64(block) * u.block
	if offset > part.length || length > part.length-offset {
		return 0, corrupt("block %d with %d bytes lies beyond its partition of %d bytes", block, length, part.length)
	}
	return part.offset + offset, nil
}

// descriptor reads the block of a descriptor that is one of those wanted.
func (u *udf) descriptor(what string, ref uint16, block uint32, want ...uint16) (b []byte, offset int64, err error) {
	if offset, err = u.at(ref, block, u.block); err != nil {
		return nil, 0, fmt.Errorf("%s: %w", what, err)
	}
	if b, err = u.bytes(what, offset, u.block); err != nil {
		return nil, 0, err
	}
	id := le.Uint16(b)
	for _, w := range want {
		if w == id {
			return b, offset, checkTag(b, id, block)
		}
	}
	return nil, 0, corrupt("%s: block %d holds a descriptor of type %d", what, block, id)
}

// checkTag checks identifier, checksum, CRC and place of a descriptor [3/7.2].
func checkTag(b []byte, id uint16, block uint32) error {
	if len(b) < tagSize || le.Uint16(b) != id {
		return corrupt("no descriptor of type %d in block %d", id, block)
	}
	var sum byte
	for i, c := range b[:tagSize] {
		if i != 4 {
			sum += c
		}
	}
	length := int(le.Uint16(b[10:]))
	if sum != b[4] || tagSize+length > len(b) || crc16(b[tagSize:tagSize+length]) != le.Uint16(b[8:]) {
		return corrupt("the descriptor in block %d has a wrong checksum", block)
	}
	if at := le.Uint32(b[12:]); at != block {
		return corrupt("the descriptor in block %d says it is in block %d", block, at)
	}
	return nil
}

// crc16 is the CRC of ITU-T V.41 [3/7.2.6].
func crc16(b []byte) (c uint16) {
	for _, x := range b {
		c ^= uint16(x) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x1021
			} else {
				c <<= 1
			}
		}
	}
	return c
}

// dstring is a string whose last byte is its length [1/7.2.12].
func dstring(b []byte) (string, error) {
	n := int(b[len(b)-1])
	if n >= len(b) {
		return "", corrupt("a string of %d bytes in a field of %d", n, len(b))
	}
	return cs0(b[:n])
}

// cs0 is a name in OSTA compressed Unicode (UDF 2.1.1): 8 or 16 bits each.
func cs0(b []byte) (string, error) {
	if len(b) == 0 {
		return "", nil
	}
	units := make([]uint16, 0, len(b))
	switch kind := b[0]; {
	case kind == 8 || kind == 254:
		for _, c := range b[1:] {
			units = append(units, uint16(c))
		}
	case (kind == 16 || kind == 255) && len(b)%2 == 1:
		for i := 1; i < len(b); i += 2 {
			units = append(units, uint16(b[i])<<8|uint16(b[i+1]))
		}
	default:
		return "", corrupt("a name with compression %d and %d bytes", kind, len(b))
	}
	return string(utf16.Decode(units)), nil
}
