package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"castpoint/agent/protocol"
	"castpoint/web/api"
)

// problem makes a refusal. The detail is one line with the names in it, the
// hint is the way out.
func problem(status int, code, hint, format string, args ...any) *protocol.Problem {
	p := api.Problem(status, hint, format, args...)
	p.Code = code
	return p
}

// asProblem makes any error an answer.
func asProblem(err error) *protocol.Problem { return api.AsProblem(err) }

// writeProblem answers with the error as JSON.
func writeProblem(w http.ResponseWriter, err error) { api.WriteProblem(w, err) }

// writeJSON answers with v. A peer that has gone away is its own problem.
func writeJSON(w http.ResponseWriter, status int, v any) {
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

// readJSON reads a request body of at most limit bytes into v. Fields that v
// does not have are refused: they are misspelt settings.
func readJSON(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if err == nil && d.More() {
		err = errors.New("something follows the JSON value")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "", "", "request body is larger than %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return problem(http.StatusBadRequest, "", "", "request body: %v", err)
	}
	return nil
}
