package source

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"strconv"
	"time"

	"castpoint/boot"
)

// File is one open boot file. ReadAt is safe for concurrent use; Close once.
type File struct {
	io.ReaderAt

	Name    string    // cleaned name it was asked by
	Size    int64     // bytes
	ModTime time.Time // for objects when the content was added; for made files now
	// ETag names these bytes, in double quotes as HTTP wants it. An object's is
	// its SHA-256, so it survives a restart and is the same on every server.
	ETag string
	// Made is true for a file made for this request: it differs from one
	// request to the next and must not be kept by a cache.
	Made bool
	// Client is the asker as it was given to Open, with what the name says
	// about it added.
	Client boot.Client
	// Text is true for what people and iPXE read.
	Text bool
	// Release is called by Close; nil when the bytes take nothing.
	Release func()

	os *os.File
}

// OS is the file on disk behind f, so that the kernel can send it without
// copying (sendfile); nil when f is made in memory. Its offset belongs to
// whoever asked first; closing it is f's business.
func (f *File) OS() *os.File { return f.os }

// Close frees what Open took.
func (f *File) Close() error {
	if f.Release != nil {
		f.Release()
	}
	if f.os != nil {
		return f.os.Close()
	}
	return nil
}

// Made is a file that exists in memory only.
func Made(name string, c boot.Client, data []byte, now time.Time) *File {
	sum := sha256.Sum256(data)
	return &File{
		ReaderAt: bytes.NewReader(data),
		Name:     name,
		Size:     int64(len(data)),
		ModTime:  now,
		ETag:     `"` + hex.EncodeToString(sum[:]) + `"`,
		Made:     true,
		Client:   c,
		Text:     true,
	}
}

// diskFile is a loader file. Its bytes are not hashed; size and time of change
// to the nanosecond stand for them.
func diskFile(name string, c boot.Client, f *os.File, st os.FileInfo) *File {
	return &File{
		ReaderAt: f,
		Name:     name,
		Size:     st.Size(),
		ModTime:  st.ModTime(),
		ETag:     `"` + strconv.FormatInt(st.Size(), 16) + "-" + strconv.FormatInt(st.ModTime().UnixNano(), 16) + `"`,
		Client:   c,
		os:       f,
	}
}
