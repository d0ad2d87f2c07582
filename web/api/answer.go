package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"castpoint/agent/protocol"
)

// Refusal is Problem with the code by which programs know it.
func Refusal(status int, code, hint, format string, args ...any) *protocol.Problem {
	p := Problem(status, hint, format, args...)
	p.Code = code
	return p
}

// WriteJSON answers with v. A peer that has gone away is its own problem.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// ReadJSON reads a request body of at most limit bytes into v. Fields that v
// does not have are refused: they are misspelt settings.
func ReadJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("something follows the JSON value")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Refusal(http.StatusRequestEntityTooLarge, "", "", "request body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return Refusal(http.StatusBadRequest, "", "", "request body: %v", err)
	}
	return nil
}
