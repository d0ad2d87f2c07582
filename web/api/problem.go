package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"castpoint/agent/protocol"
)

// problemType is the media type of RFC 9457.
const problemType = "application/problem+json"

// Problem makes a refusal. The detail is one line with the names in it, the hint
// is the way out.
func Problem(status int, hint, format string, args ...any) *protocol.Problem {
	return &protocol.Problem{Status: status, Title: http.StatusText(status), Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// AsProblem makes any error an answer. What is not a Problem yet is a failure of
// the server's own.
func AsProblem(err error) *protocol.Problem {
	if p, ok := errors.AsType[*protocol.Problem](err); ok {
		return p
	}
	return Problem(http.StatusInternalServerError, "the log of the server may say more", "%v", err)
}

// WriteProblem answers with an error.
func WriteProblem(w http.ResponseWriter, err error) {
	p := named(AsProblem(err), w)
	body, err := json.Marshal(p)
	if err != nil { // it has only text and a number
		http.Error(w, p.Detail, p.Status)
		return
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // a peer that has gone away is its own problem
}

// named gives a problem the id of the request that it answers.
func named(p *protocol.Problem, w http.ResponseWriter) *protocol.Problem {
	answer := *p // some are shared
	answer.Request = w.Header().Get(HeaderRequest)
	return &answer
}

// failure is a Problem as huma wants its errors.
type failure struct{ *protocol.Problem }

func (f *failure) GetStatus() int            { return f.Status }
func (f *failure) ContentType(string) string { return problemType }

// transform writes what huma itself refuses as a Problem, and notes every refusal
// for the audit log.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *huma.ErrorModel:
		p := Problem(e.Status, "", "%s", refused(e))
		switch e.Status {
		case http.StatusUnprocessableEntity:
			p.Hint = "GET " + Prefix + "/openapi.json says what the request may have"
			p.Code = protocol.CodeInvalid
		case http.StatusUnsupportedMediaType:
			p.Hint = "send Content-Type: application/json"
		}
		recordOf(ctx.Context()).fail(p)
		_, w := humago.Unwrap(ctx)
		return named(p, w), nil
	case *failure:
		recordOf(ctx.Context()).fail(e.Problem)
		_, w := humago.Unwrap(ctx)
		return named(e.Problem, w), nil
	}
	return v, nil
}

// refused is one line out of huma's list of what is wrong with a request.
func refused(e *huma.ErrorModel) string {
	var lines []string
	for _, d := range e.Errors {
		switch {
		case d == nil:
		case d.Location == "":
			lines = append(lines, d.Message)
		default:
			lines = append(lines, d.Location+": "+d.Message)
		}
	}
	if len(lines) == 0 {
		return e.Detail
	}
	return strings.Join(lines, "; ")
}
