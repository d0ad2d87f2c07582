package windows

import (
	"fmt"
	"io"

	"castpoint/boot/source"
	"castpoint/boot/winpe"
	"castpoint/content"
	"castpoint/content/wim/overlay"
)

// Files that an admin attached to a Windows boot image are one overlay of the
// stored WIM, made when the image is opened (anew for each revision) and shared by
// all machines; what one machine gets is an overlay of that.

// withAttached is the WIM with what is attached to it. It reads all of that once,
// because WIMs name contents by SHA-1.
func withAttached(library source.Library, ct *content.Content, stored io.ReaderAt, size int64) (io.ReaderAt, int64, error) {
	attached := ct.Attached()
	if len(attached) == 0 {
		return stored, size, nil
	}
	files := make([]overlay.File, 0, len(attached))
	for _, f := range attached {
		files = append(files, overlay.File{Path: f.Name, Content: attachedObject{library, f}, Size: f.Size})
	}
	c, err := overlay.New(stored, size, overlay.Options{Image: ct.Index, Files: files})
	if err != nil {
		return nil, 0, fmt.Errorf("files attached to it: %w", err)
	}
	return c, c.Size(), nil
}

// attachedObject opens its object for each read: drivers are thousands of files,
// more than a process may keep open.
type attachedObject struct {
	library source.Library
	file    content.File
}

// ReadAt implements io.ReaderAt.
func (a attachedObject) ReadAt(b []byte, off int64) (int, error) {
	f, err := a.library.OpenObject(a.file.Digest)
	if err != nil {
		return 0, fmt.Errorf("read attached file %s: %w", a.file.Name, err)
	}
	defer f.Close()
	return f.ReadAt(b, off)
}

// startOf is how castpoint's agent is started in a boot image.
func startOf(ct *content.Content) winpe.Start {
	switch ct.WinPE.Start {
	case content.StartNet:
		return winpe.StartNet
	case content.StartNone:
		return winpe.StartNone
	}
	return winpe.StartShell
}
