package api

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"strconv"
	"strings"
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
	About   string // what the summary does not say
	// Errors are the statuses of refusals that are the operation's own, beside those
	// that follow from its request (see operation).
	Errors []int
	// Status is that of success; 0 is 200, and 204 where there is no answer.
	Status int
	// MaxBody is the longest body in bytes; 0 is 1 MiB.
	MaxBody int64
	// Reads says of one that is no GET that it changes nothing.
	Reads bool
	// Sends and Takes are media types of the bytes that a Serve operation answers
	// with and reads.
	Sends, Takes string
	// SendsJSON is what a Serve operation answers with that sends JSON of a type.
	SendsJSON reflect.Type

	stream bool
}

// bodyTime is how long a body may take to arrive; what takes long has its own.
const bodyTime = 30 * time.Second

// refusals are what statuses of refusals mean, where that is always the same.
var refusals = map[int]string{
	http.StatusBadRequest:            "The request cannot be understood, or contradicts itself",
	http.StatusUnauthorized:          "The request shows no token and no login, or one that is not good (any more)",
	http.StatusForbidden:             "Not allowed: the scope is too small, a page of another origin asks, a login shows no CSRF token, or the content's settings are against it",
	http.StatusNotFound:              "There is no such thing",
	http.StatusRequestTimeout:        "The body stood still for too long",
	http.StatusConflict:              "What is there is against it",
	http.StatusRequestEntityTooLarge: "The body is too long",
	http.StatusUnsupportedMediaType:  "The body is not of a type that the operation takes",
	http.StatusMisdirectedRequest:    "The server is not reached by the name in Host",
	http.StatusUnprocessableEntity:   "A parameter, a field, or a file that the request names is not what it has to be",
	http.StatusTooManyRequests:       "Too much of this is going on",
	http.StatusBadGateway:            "Another server did not give what was asked of it",
	http.StatusInsufficientStorage:   "There is no room for it on the disk",
}

const otherRefusal = "Another refusal: 408 a body that came too slowly, 500 a failure of the server's own, " +
	"501 and 503 what needs a running server, or one that is not just stopping"

// inputOf finds out what a request is made of.
func inputOf[I any]() (body, inPath bool) {
	t := reflect.TypeFor[I]()
	_, body = t.FieldByName("Body")
	if _, raw := t.FieldByName("RawBody"); raw {
		body = true
	}
	for _, f := range reflect.VisibleFields(t) {
		inPath = inPath || f.Tag.Get("path") != ""
	}
	return body, inPath
}

// operation describes an operation. Every operation has the refusals of the
// listener and of its parameters: 401, 403, 421 and 422. One with a name in its path
// has 404 as well, and one with a body 400 and 413, and 415 when that is JSON.
func operation[I any](a *API, op Operation) huma.Operation {
	status := op.Status
	if status == 0 {
		status = http.StatusOK
	}
	responses := map[string]*huma.Response{
		"default":            {Ref: responseRef("Problem")},
		strconv.Itoa(status): {Description: http.StatusText(status)},
	}
	errs := append([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusUnprocessableEntity}, op.Errors...)
	body, inPath := inputOf[I]()
	if inPath {
		errs = append(errs, http.StatusNotFound)
	}
	if body {
		errs = append(errs, http.StatusBadRequest, http.StatusRequestEntityTooLarge)
		if _, raw := reflect.TypeFor[I]().FieldByName("RawBody"); !raw {
			errs = append(errs, http.StatusUnsupportedMediaType)
		}
	}
	for _, e := range errs {
		if _, ok := refusals[e]; !ok {
			panic("api: " + op.ID + " refuses with " + strconv.Itoa(e) + ", which has no description")
		}
		responses[strconv.Itoa(e)] = &huma.Response{Ref: responseRef("Problem" + strconv.Itoa(e))}
	}
	return huma.Operation{
		OperationID: op.ID, Method: op.Method, Path: op.Path, Summary: op.Summary, Tags: []string{op.Tag},
		Description:   strings.TrimSpace(op.About + "\n\nNeeds the scope " + string(op.Scope) + "."),
		DefaultStatus: status, MaxBodyBytes: op.MaxBody, BodyReadTimeout: bodyTime,
		Responses:   responses,
		Security:    []map[string][]string{{"token": {}}, {"session": {}}},
		Extensions:  map[string]any{"x-castpoint-scope": string(op.Scope), "x-castpoint-audited": op.changes()},
		Middlewares: huma.Middlewares{a.guard(op)},
	}
}

func responseRef(name string) string { return "#/components/responses/" + name }

// problemResponses are the refusals, for all operations to name.
func problemResponses(registry huma.Registry) map[string]*huma.Response {
	schema := registry.Schema(reflect.TypeFor[protocol.Problem](), true, "")
	response := func(text string) *huma.Response {
		return &huma.Response{Description: text, Content: map[string]*huma.MediaType{problemType: {Schema: schema}}}
	}
	all := map[string]*huma.Response{"Problem": response(otherRefusal)}
	for status, text := range refusals {
		all["Problem"+strconv.Itoa(status)] = response(text)
	}
	return all
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

// changes says whether a call is an entry of the audit log.
func (op *Operation) changes() bool { return op.Method != http.MethodGet && !op.Reads }

// guard lets those through who may call the operation, and keeps the record of
// what they did.
func (a *API) guard(op Operation) func(huma.Context, func(huma.Context)) {
	changes := op.changes()
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
	entry.Write(zap.String("request", w.Header().Get(HeaderRequest)), zap.String("operation", operation), zap.String("path", url.Path),
		zap.String("by", id.Name), zap.String("peer", from), zap.Int("status", status), zap.Duration("took", took), zap.String("reason", rec.problem()))
}

// refuse answers in place of an operation.
func refuse(ctx huma.Context, p *protocol.Problem) {
	_, w := humago.Unwrap(ctx)
	ctx.SetHeader("Content-Type", problemType)
	ctx.SetStatus(p.Status)
	_ = huma.DefaultJSONFormat.Marshal(ctx.BodyWriter(), named(p, w)) // a peer that has gone away is its own problem
}

// Answer registers an operation that answers with JSON.
func Answer[I, O any](a *API, op Operation, f func(ctx context.Context, in *I) (O, error)) {
	type output struct{ Body O }
	checkInput[I]()
	huma.Register(a.huma, operation[I](a, op), func(ctx context.Context, in *I) (*output, error) {
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
	huma.Register(a.huma, operation[I](a, op), func(ctx context.Context, in *I) (*struct{}, error) {
		if err := f(ctx, in); err != nil {
			return nil, &failure{AsProblem(err)}
		}
		recordOf(ctx).done(op.Status)
		return nil, nil
	})
}
