package wim

import (
	"time"

	"castpoint/content/wim/metadata"
)

// Stream is a stream of a file; most files have one, of no name.
type Stream struct {
	Name string              `json:"name,omitempty"`
	Kind metadata.StreamKind `json:"kind"`
	Hash Hash                `json:"hash"` // zero when empty
	Size int64               `json:"size"` // bytes; 0 when the blob is not in the file
}

// Entry is a file or folder in an image.
type Entry struct {
	Name       string    `json:"name"` // "" for the root
	ShortName  string    `json:"short_name,omitempty"`
	Attributes uint32    `json:"attributes"`
	SecurityID int32     `json:"security_id"` // for Tree.Security; -1 for none
	Created    time.Time `json:"created"`     // UTC
	Accessed   time.Time `json:"accessed"`
	Modified   time.Time `json:"modified"`
	HardLink   uint64    `json:"hard_link,omitempty"`   // the same in all names of a file with several
	ReparseTag uint32    `json:"reparse_tag,omitempty"` // of reparse points
	Streams    []Stream  `json:"streams,omitempty"`

	offset int64 // in the metadata
}

// IsDir says that the entry is a folder that can have entries: not a junction.
func (e *Entry) IsDir() bool {
	return e.Attributes&(metadata.AttributeDirectory|metadata.AttributeReparsePoint) == metadata.AttributeDirectory
}

// Data returns the stream with the content of the file. It reports false for
// what has none: folders, links, encrypted files.
func (e *Entry) Data() (Stream, bool) {
	for _, s := range e.Streams {
		if s.Name == "" && s.Kind == metadata.StreamData {
			// A link has no content; a file kept elsewhere (deduplicated,
			// compressed by the file system) may have its own beside the tag.
			return s, !e.IsDir() && (e.ReparseTag == 0 || s.Hash != (Hash{}))
		}
	}
	return Stream{}, false
}
