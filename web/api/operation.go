package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"castpoint/agent/protocol"
	"castpoint/web/access"
)

// Operation says what an operation is.
type Operation struct {
	ID      string // a verb and a noun, as in approve-device: its name in the audit log
	Method  string
	Path    string // behind Prefix
	Scope   access.Scope
	Tag     string // what it is about, in the plural
	Summary string // one line
	// Status is that of success; 0 is 200, and 204 where there is no answer.
	Status int
	// MaxBody is the longest body in bytes; 0 is 1 MiB.
	MaxBody int64
	// Reads says of one that is no GET that it changes nothing.
	Reads bool
	// Sends and Takes are media types of the bytes that a Serve operation answers
	// with and reads.
	Sends, Takes string

	stream bool
}

// bodyTime is how long a body may take to arrive; what takes long has its own.
const bodyTime = 30 * time.Second

func (a *API) operation(op Operation) huma.Operation {
	problem := &huma.Response{
		Description: "A problem: what is wrong (detail) and the way out (hint)",
		Content:     map[string]*huma.MediaType{problemType: {Schema: a.schema(reflect.TypeFor[protocol.Problem]())}},
	}
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	return huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Tags: []string{op.Tag},
		DefaultStatus: status, MaxBodyBytes: op.MaxBody, BodyReadTimeout: bodyTime,
		Responses: map[string]*huma.Response{
			"default":            problem,
			strconv.Itoa(status): {Description: http.StatusText(status)},
		},
		Security:    []map[string][]string{{"token": {}}, {"session": {}}},
		Extensions:  map[string]any{"x-castpoint-scope": string(op.Scope)},
		Middlewares: huma.Middlewares{a.guard(op)},
	}
}

func (a *API) schema(t reflect.Type) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(t, true, "")
}

// checkInput finds what would silently stay empty: fields of a structure that is
// embedded by a name that is not exported.
func checkInput[I any]() {
	t := reflect.TypeFor[I]()
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && !f.IsExported() {
			panic("api: " + t.String() + " embeds " + f.Name + ", which must be exported to be filled in")
		}
	}
}

// guard lets those through who may call the operation, and keeps the record of
// what they did.
func (a *API) guard(op Operation) func(huma.Context, func(huma.Context)) {
	changes := op.Method != http.MethodGet && !op.Reads
	return func(ctx huma.Context, next func(huma.Context)) {
		began := time.Now()
		id, ok := access.From(ctx.Context())
		if !ok {
			refuse(ctx, errStranger())
			return
		}
		rec := &record{}
		if id.Scope.Allows(op.Scope) {
			next(huma.WithValue(ctx, recordKey{}, rec))
		} else {
			p := Problem(http.StatusForbidden, "ask for a token or an account with that scope", "%s needs the scope %s, and %s has %s", op.ID, op.Scope, id.Name, id.Scope)
			p.Code = protocol.CodeRefused
			rec.fail(p)
			refuse(ctx, p)
		}
		status := cmp.Or(rec.ended(), ctx.Status())
		if a.cfg.Observe != nil {
			a.cfg.Observe(op.ID, status, time.Since(began), op.stream)
		}
		a.log(ctx, op.ID, id, status, rec, time.Since(began))
		if !changes || a.cfg.Audit == nil {
			return
		}
		url := ctx.URL()
		e := access.Entry{
			Who: id.Name, How: id.How, Action: op.ID, Target: url.Path[len(Prefix):],
			Status: status, Detail: rec.text(), Error: rec.problem(),
		}
		if id.Remote.IsValid() {
			e.Remote = id.Remote.String()
		}
		a.cfg.Audit(ctx.Context(), e)
	}
}

// log writes a line about a call: one that failed by the server's own fault as an
// error, the others for those who look for something.
func (a *API) log(ctx huma.Context, operation string, id access.Identity, status int, rec *record, took time.Duration) {
	level := zapcore.DebugLevel
	if status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	entry := a.cfg.Log.Check(level, "call of the admin API")
	if entry == nil {
		return
	}
	from := id.How
	if id.Remote.IsValid() {
		from = id.Remote.String()
	}
	_, w := humago.Unwrap(ctx)
	url := ctx.URL()
	entry.Write(zap.String("request", w.Header().Get(headerRequest)), zap.String("operation", operation), zap.String("path", url.Path),
		zap.String("who", id.Name), zap.String("from", from), zap.Int("status", status), zap.Duration("took", took), zap.String("problem", rec.problem()))
}

// refuse answers in place of an operation.
func refuse(ctx huma.Context, p *protocol.Problem) {
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetStatus(p.Status)
	_ = huma.DefaultJSONFormat.Marshal(ctx.BodyWriter(), p) // a peer that has gone away is its own problem
}

// Answer registers an operation that answers with JSON.
func Answer[I, O any](a *API, op Operation, f func(ctx context.Context, in *I) (O, error)) {
	type output struct{ Body O }
	checkInput[I]()
	huma.Register(a.huma, a.operation(op), func(ctx context.Context, in *I) (*output, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, &failure{AsProblem(err)}
		}
		recordOf(ctx).done(op.Status)
		return &output{out}, nil
	})
}

// Act registers an operation that answers with nothing but success.
func Act[I any](a *API, op Operation, f func(ctx context.Context, in *I) error) {
	if op.Status == 0 {
		op.Status = http.StatusNoContent
	}
	checkInput[I]()
	huma.Register(a.huma, a.operation(op), func(ctx context.Context, in *I) (*struct{}, error) {
		if err := f(ctx, in); err != nil {
			return nil, &failure{AsProblem(err)}
		}
		recordOf(ctx).done(op.Status)
		return nil, nil
	})
}
