package content

import (
	"errors"
	"fmt"
)

// Errors that callers branch on with errors.Is.
var (
	ErrNotFound  = errors.New("not found")
	ErrExists    = errors.New("already exists")
	ErrAmbiguous = errors.New("name is not unique")
	ErrNoSpace   = errors.New("not enough disk space")
	ErrLocked    = errors.New("library is in use")
	ErrClosed    = errors.New("library is closed")
	ErrInvalid   = errors.New("invalid") // the request or the files it names cannot be used
	ErrDamaged   = errors.New("content is damaged")

	// ErrFile is the ErrInvalid of files: the request is right, what it names is
	// not. It comes with fs.ErrNotExist when there is no such file.
	ErrFile = fmt.Errorf("%w", ErrInvalid)
)
