package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Serve registers an operation that reads or writes bytes of its own. f may
// return an error as long as it has written nothing; it reads the body itself,
// which has no time limit.
func Serve[I any](a *API, op Operation, f func(ctx context.Context, in *I, w http.ResponseWriter, r *http.Request) error) {
	checkInput[I]()
	o := operation[I](a, op)
	bytes := &huma.Schema{Type: huma.TypeString, Format: "binary"}
	if op.Sends != "" {
		schema := bytes
		switch {
		case op.SendsJSON != nil:
			schema = a.schema(op.SendsJSON)
		case strings.HasSuffix(op.Sends, "json"):
			schema = &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
		case strings.HasPrefix(op.Sends, "text/"):
			schema = &huma.Schema{Type: huma.TypeString}
		}
		o.Responses[strconv.Itoa(o.DefaultStatus)].Content = map[string]*huma.MediaType{op.Sends: {Schema: schema}}
	}
	if op.Takes != "" {
		o.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{op.Takes: {Schema: bytes}}}
	}
	huma.Register(a.huma, o, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			r, w := humago.Unwrap(hc)
			untimed(w)
			s := &statusWriter{ResponseWriter: w}
			if err := f(hc.Context(), in, s, r.WithContext(hc.Context())); err != nil {
				p := AsProblem(err)
				recordOf(hc.Context()).fail(p)
				if s.status == 0 {
					WriteProblem(s, p)
				}
				return
			}
			recordOf(hc.Context()).done(s.status)
		}}, nil
	})
}

// statusWriter remembers whether something was written.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	if s.status == 0 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find the connection.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
