// Package backup carries a distribution point to another machine, or back to
// life: its settings, database, keys and imported boot programs, and of the
// library the contents and manifests. Objects, the images themselves, are named
// and not carried: they are large, never change, and have copies where they came
// from.
//
// A backup is a tar archive under zstd, of mode 0600 for it holds the keys:
//
//	castpoint-backup.json   Description: format, version, time, objects
//	castpoint.yaml          the settings file, if there was one
//	data/...                files of the data folder
//
// The order of a restore is: everything beside the data folder, each file synced,
// then the folder in place by one rename. It is there whole or not at all.
package backup

import "time"

// Format is what this package writes, and the only one it reads.
const Format = 1

// Names in the archive.
const (
	nameDescription = "castpoint-backup.json"
	nameSettings    = "castpoint.yaml"
	nameData        = "data"
)

// Description is what a backup says of itself.
type Description struct {
	Format  int       `json:"format"`
	Version string    `json:"version"` // of castpoint
	Host    string    `json:"host"`
	Time    time.Time `json:"time"`
	Objects []Object  `json:"objects"` // of the library, not in the backup
}

// Object is a file of the library that contents refer to.
type Object struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Result says what a backup or a restore did.
type Result struct {
	Description
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"` // of the files, before compression

	Settings string   `json:"settings,omitempty"` // where a restore has put the settings file
	Missing  []Object `json:"missing,omitempty"`  // objects that a restore did not find
}
