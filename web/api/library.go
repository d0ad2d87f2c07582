package api

import (
	"errors"
	"io/fs"
	"net/http"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
)

// ErrClosing is what is answered while the server stops.
var ErrClosing = Refusal(http.StatusServiceUnavailable, "", "try again in a moment", "the server is stopping")

// Content finds a content for a machine or a person, by id or name.
func Content(library *library.Library, idOrName string) (*content.Content, error) {
	ct, err := library.Get(idOrName)
	return ct, ContentProblem(err)
}

// ContentProblem says which status an error of the library is.
func ContentProblem(err error) error {
	const list = "castpoint content list shows what there is"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, content.ErrNotFound):
		return Refusal(http.StatusNotFound, protocol.CodeNotFound, list, "%v", err)
	case errors.Is(err, content.ErrDamaged):
		return Refusal(http.StatusConflict, protocol.CodeDamaged, "", "%v", err)
	case errors.Is(err, content.ErrFile):
		return FileProblem(err)
	case errors.Is(err, content.ErrAmbiguous), errors.Is(err, content.ErrInvalid):
		return Refusal(http.StatusBadRequest, "", "", "%v", err)
	case errors.Is(err, content.ErrExists):
		return Refusal(http.StatusConflict, protocol.CodeRefused, "", "%v", err)
	case errors.Is(err, content.ErrNoSpace):
		return Refusal(http.StatusInsufficientStorage, "", "", "%v", err)
	case errors.Is(err, content.ErrClosed):
		return ErrClosing
	}
	return err
}

// FileProblem is what is wrong with a file on this host that a request names:
// the request itself is right.
func FileProblem(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return Refusal(http.StatusNotFound, protocol.CodeNotFound, "", "%v", err)
	}
	if errors.Is(err, fs.ErrPermission) {
		return Refusal(http.StatusUnprocessableEntity, protocol.CodeUnreadable, "let the server's user read it, or send it with castpoint content add --upload", "%v", err)
	}
	return Refusal(http.StatusUnprocessableEntity, "", "", "%v", err)
}
