// Package format reads and writes what lies in a WIM file, each thing by itself:
// the header, the positions of resources, the entries of the blob table, the text
// of the XML data, file times. It keeps nothing; what it returns was compared with
// the size of the file and with the limits here. What all of it together means is
// said in package wim.
package format

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Errors that callers branch on with errors.Is. The message of the returned
// error says what is wrong in detail.
var (
	// ErrNotWIM says that the file is something else; the message says what it
	// looks like where that is known.
	ErrNotWIM = errors.New("not a WIM file")
	// ErrTruncated says that the end of the file is missing. The error is a
	// *TruncatedError where it is known how much.
	ErrTruncated = errors.New("WIM file is incomplete")
	// ErrCorrupt says that the bytes contradict the format or a checksum.
	ErrCorrupt = errors.New("WIM file is damaged")
	// ErrUnsupported says that the file is a good WIM of a kind that this
	// package does not read or change; the message says what converts it.
	ErrUnsupported = errors.New("this kind of WIM file is not supported here")
)

// TruncatedError says which tables lie beyond the end of the file.
type TruncatedError struct {
	Tables []string // names of the tables, in file order of the header
	Size   int64    // bytes the file has
	Want   int64    // bytes it must have at least
}

// Missing is the number of bytes that are missing at least.
func (e *TruncatedError) Missing() int64 { return e.Want - e.Size }

func (e *TruncatedError) Error() string {
	verb := "lies"
	if len(e.Tables) > 1 {
		verb = "lie"
	}
	return fmt.Sprintf("%v: %s %s beyond the end: the file has %d bytes and needs at least %d, so %d are missing; copy it again",
		ErrTruncated, strings.Join(e.Tables, " and "), verb, e.Size, e.Want, e.Missing())
}

// Unwrap makes errors.Is(err, ErrTruncated) true.
func (e *TruncatedError) Unwrap() error { return ErrTruncated }

// Corrupt makes an error for bytes that contradict the format.
func Corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// Unsupported makes an error for a kind of WIM, with the way out. options are
// those of wimlib-imagex export.
func Unsupported(what, options string) error {
	if options != "" {
		options = " " + options
	}
	return fmt.Errorf("%w: %s; convert it first: wimlib-imagex export FILE.wim all NEW.wim --compress=lzx%s", ErrUnsupported, what, options)
}

// ReadFull reads all of b at off. An early end is ErrTruncated: the position
// was checked against the size before, so the file became shorter since.
func ReadFull(r io.ReaderAt, b []byte, off int64, what string) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: the file became shorter while its %s was read", ErrTruncated, what)
	}
	return fmt.Errorf("read %s of WIM at offset %d: %w", what, off, err)
}
