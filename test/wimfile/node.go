package wimfile

import (
	"crypto/sha1"
	"encoding/binary"

	"castpoint/content/wim/format"
	"castpoint/content/wim/metadata"
)

// Node is a file or folder of an image made in memory, to be damaged on
// purpose.
type Node struct {
	Name     string
	UTF16    []byte // instead of name
	Data     []byte
	Children []*Node      // not nil for a folder
	Hash     *format.Hash // instead of that of data
	Change   func(entry []byte)
	Streams  []metadata.Stream
	Subdir   func(folders map[*Node]int64) int64 // where the entry says its children are
}

// Folder makes a folder; it may be empty.
func Folder(name string, children ...*Node) *Node {
	if children == nil {
		children = []*Node{}
	}
	return &Node{Name: name, Children: children}
}

// entryBytes is the entry without its place.
func (n *Node) entryBytes() []byte {
	name := n.UTF16
	if name == nil {
		name = metadata.AppendName(nil, n.Name)
	}
	attributes := uint32(metadata.AttributeArchive)
	if n.Children != nil {
		attributes = metadata.AttributeDirectory
	}
	d := metadata.NewDentry(name, nil, attributes, -1, 1, 1)
	switch {
	case n.Hash != nil:
		copy(d[entryHash:], n.Hash[:])
	case len(n.Data) > 0:
		h := sha1.Sum(n.Data)
		copy(d[entryHash:], h[:])
	}
	if n.Streams != nil {
		binary.LittleEndian.PutUint16(d[EntryStreams:], uint16(len(n.Streams)))
		for _, s := range n.Streams {
			b := make([]byte, metadata.Align8(int64(entryStreamSize+len(s.Name)+2)))
			binary.LittleEndian.PutUint64(b, uint64(len(b)))
			copy(b[entryStreamHash:], s.Hash[:])
			binary.LittleEndian.PutUint16(b[EntryStreamNameBytes:], uint16(len(s.Name)))
			copy(b[entryStreamSize:], s.Name)
			d = append(d, b...)
		}
	}
	return d
}

// Metadata lays a tree out as an image has it.
func Metadata(root *Node, security []byte) []byte {
	out := security
	if out == nil {
		out = []byte{8, 0, 0, 0, 0, 0, 0, 0}
	}
	at := map[*Node]int64{}
	folders := map[*Node]int64{}
	write := func(n *Node) {
		at[n] = int64(len(out))
		out = append(out, n.entryBytes()...)
	}
	write(root)
	out = append(out, make([]byte, 8)...)
	for queue := []*Node{root}; len(queue) > 0; queue = queue[1:] {
		if queue[0].Children == nil {
			continue
		}
		folders[queue[0]] = int64(len(out))
		for _, c := range queue[0].Children {
			write(c)
		}
		out = append(out, make([]byte, 8)...)
		queue = append(queue, queue[0].Children...)
	}
	for n, offset := range at {
		to, ok := folders[n]
		if n.Subdir != nil {
			to, ok = n.Subdir(folders), true
		}
		if ok {
			binary.LittleEndian.PutUint64(out[offset+entrySubdir:], uint64(to))
		}
		if n.Change != nil {
			n.Change(out[offset:])
		}
	}
	return out
}

// Contents lists the contents of all files, in order.
func Contents(n *Node) [][]byte {
	list := [][]byte{}
	if len(n.Data) > 0 {
		list = append(list, n.Data)
	}
	for _, c := range n.Children {
		list = append(list, Contents(c)...)
	}
	return list
}

// SmallTree has files with and without content, and folders.
func SmallTree() *Node {
	return Folder("",
		Folder("Windows",
			Folder("System32",
				&Node{Name: "winload.efi", Data: []byte("MZ loader")},
				&Node{Name: "winpeshl.ini", Data: []byte("[LaunchApp]")})),
		&Node{Name: "empty"},
		Folder("nothing"))
}

// Places in a directory entry, and in the further streams behind it.
const (
	EntryLength     = 0x00 // uint64
	EntryAttributes = 0x08 // uint32
	entrySubdir     = 0x10 // uint64
	EntryCreated    = 0x28 // uint64
	EntryAccessed   = 0x30 // uint64
	EntryModified   = 0x38 // uint64
	entryHash       = 0x40 // 20 bytes
	EntryReparse    = 0x58 // uint32
	EntryStreams    = 0x60 // uint16
	EntryShortBytes = 0x62 // uint16
	EntryNameBytes  = 0x64 // uint16

	entryStreamSize      = 0x26 // without the name
	entryStreamHash      = 0x10 // 20 bytes
	EntryStreamNameBytes = 0x24 // uint16
)
