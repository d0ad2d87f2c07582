package metadata

// File attributes (FILE_ATTRIBUTE_* of the Windows SDK) that matter here.
const (
	AttributeReadOnly     = 0x00000001
	AttributeHidden       = 0x00000002
	AttributeSystem       = 0x00000004
	AttributeDirectory    = 0x00000010
	AttributeArchive      = 0x00000020
	AttributeNormal       = 0x00000080
	AttributeReparsePoint = 0x00000400
	AttributeCompressed   = 0x00000800
	AttributeEncrypted    = 0x00004000
)

// Tags of common reparse points.
const (
	ReparseMountPoint = 0xa0000003 // junction
	ReparseSymlink    = 0xa000000c
)

// StreamKind says what the bytes of a stream are.
type StreamKind string

// The kinds of streams.
const (
	StreamData         StreamKind = "data"
	StreamReparsePoint StreamKind = "reparse-point" // where a link leads, as NTFS stores it
	StreamEncrypted    StreamKind = "encrypted"     // a file under EFS, as only Windows can restore it
)
