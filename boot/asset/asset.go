// Package asset keeps the boot programs that an administrator has imported: iPXE,
// wimboot, shim and GRUB. castpoint contains none of them, and changes none: a
// signed file would lose its signature.
//
// Terms:
//
//   - an asset is what was imported at once, with its version where its hash is
//     known;
//   - a loader file is one file of it, under the name that machines ask for.
//
// Order of events: [Import] reads everything it is given, compares hashes with
// those that are known, and refuses what it does not know unless the caller trusts
// it; then the asset appears whole, in a folder of its own, which source.Loaders
// searches like other loader folders. [List] reads the records back.
package asset

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"castpoint/boot/winpe"
	"castpoint/internal/atomicfile"
)

// Asset is what was imported at once.
type Asset struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Version  string    `json:"version,omitempty"` // "" when the hash is not known
	Source   string    `json:"source"`            // base name of what was imported
	Imported time.Time `json:"imported"`
	Files    []File    `json:"files"`
}

// File is a loader file.
type File struct {
	Name    string         `json:"name"` // with slashes, as machines ask for it
	Size    int64          `json:"size"` // bytes
	SHA256  string         `json:"sha256"`
	Known   bool           `json:"known"` // by hash, by itself or with its archive; else the administrator trusts it
	Signers []winpe.Signer `json:"signers,omitempty"`
}

// Known tells whether all files are known by hash.
func (a *Asset) Known() bool {
	return !slices.ContainsFunc(a.Files, func(f File) bool { return !f.Known })
}

// ErrNotFound says that there is no asset of that id.
var ErrNotFound = errors.New("no such asset")

const (
	recordName = "asset.json"
	filesName  = "files"
	tempPrefix = ".new-"
)

// List is what is in a folder of assets, the newest first. A folder that does not
// exist has none.
func List(dir string) ([]Asset, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list assets: %w", err)
	}
	var list []Asset
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name(), recordName))
		if err != nil {
			return nil, fmt.Errorf("asset %s: %w", e.Name(), err)
		}
		var a Asset
		if err := json.Unmarshal(data, &a); err != nil {
			return nil, fmt.Errorf("asset %s: %s: %w", e.Name(), recordName, err)
		}
		a.ID = e.Name()
		list = append(list, a)
	}
	slices.SortStableFunc(list, func(a, b Asset) int { return b.Imported.Compare(a.Imported) })
	return list, nil
}

// Folders are the loader folders of a folder of assets, the newest first. What
// cannot be read has none.
func Folders(dir string) (folders []string) {
	list, err := List(dir)
	if err != nil {
		return nil
	}
	for _, a := range list {
		folders = append(folders, filepath.Join(dir, a.ID, filesName))
	}
	return folders
}

var idText = regexp.MustCompile(`^[a-z0-9][a-z0-9.+~_-]*$`)

// Remove takes an asset away. Errors: ErrNotFound.
func Remove(dir, id string) error {
	if !idText.MatchString(id) {
		return fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	path := filepath.Join(dir, id)
	if _, err := os.Stat(filepath.Join(path, recordName)); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %q", ErrNotFound, id)
	}
	// Renamed first: it is there whole or not at all.
	gone, err := os.MkdirTemp(dir, tempPrefix)
	if err == nil {
		err = os.Rename(path, filepath.Join(gone, id))
	}
	if err == nil {
		err = atomicfile.SyncDir(dir)
	}
	if err := errors.Join(err, os.RemoveAll(gone)); err != nil {
		return fmt.Errorf("remove asset %s: %w", id, err)
	}
	return nil
}
