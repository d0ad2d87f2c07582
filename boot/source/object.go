package source

import (
	"errors"
	"fmt"
	"os"

	"castpoint/boot"
	"castpoint/content"
)

// Library is what the boot files need of the content library.
type Library interface {
	List() ([]*content.Content, error)
	OpenObject(content.Digest) (*os.File, error)
}

// IsWIM tells boot images of Windows PE from those of Linux.
func IsWIM(ct *content.Content) bool {
	_, ok := ct.File(content.RoleImage)
	return ok
}

// OpenObject opens a file of a boot image; name is what the client asked for.
func OpenObject(library Library, name string, ct *content.Content, obj content.File, c boot.Client) (*File, error) {
	file, err := library.OpenObject(obj.Digest)
	if err != nil {
		return nil, fmt.Errorf("open %s of boot image %s: %w", obj.Name, ct.ID, err)
	}
	st, err := file.Stat()
	if err == nil && st.Size() != obj.Size {
		err = fmt.Errorf("open %s of boot image %s: object %s has %d bytes, want %d: run castpoint content validate %s",
			obj.Name, ct.ID, obj.Digest, st.Size(), obj.Size, ct.ID)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &File{
		ReaderAt: file,
		Name:     name,
		Size:     obj.Size,
		ModTime:  ct.Created,
		ETag:     `"` + obj.Digest.String() + `"`,
		Client:   c,
		os:       file,
	}, nil
}
