package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"castpoint/agent/protocol"
	"castpoint/web/access"
)

// Prefix is the path of the API.
const Prefix = "/api/v1"

// Config is what an API needs.
type Config struct {
	Version string
	// Audit takes the record of what was changed; nil keeps none.
	Audit func(ctx context.Context, e access.Entry)
	// Observe is told of each call when it has ended; stream says that it was one
	// of server-sent events. nil when nobody cares.
	Observe func(operation string, status int, took time.Duration, stream bool)
	Log     *zap.Logger // nil logs nothing
}

// API is a set of operations. It is an http.Handler for the paths below Prefix;
// requests have their identity in the context already (package access).
type API struct {
	cfg  Config
	mux  *http.ServeMux
	huma huma.API
	// types are those of the schemas, by name.
	types map[string]reflect.Type
	// document is made when somebody asks for it, once all operations are there.
	document func() ([]byte, error)
}

// New makes an API without operations but the one that gives its document.
func New(cfg Config) *API {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	a := &API{cfg: cfg, mux: http.NewServeMux()}
	names := make(map[string]reflect.Type)
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:   "castpoint",
				Version: "1",
				Description: "The admin API of a castpoint distribution point. Requests show a token (castpoint access token create), " +
					"a session's cookie with its CSRF token, or come by the unix socket in the data folder. " +
					"x-castpoint-scope is the scope that an operation needs: admin includes operate, operate includes read. " +
					"x-castpoint-audited says that a call is an entry of the audit log.",
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", func(t reflect.Type, hint string) string { return schemaName(names, t, hint) }),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"token":   {Type: "http", Scheme: "bearer"},
					"session": {Type: "apiKey", In: "cookie", Name: "castpoint"},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{transform},
	}
	config.Components.Responses = problemResponses(config.Components.Schemas)
	a.types = names
	a.document = sync.OnceValues(func() ([]byte, error) { return a.Document(BuiltIn()) })
	a.huma = humago.NewWithPrefix(a.mux, Prefix, config)
	a.mux.HandleFunc(Prefix+"/", a.serveUnknown)
	Serve(a, Operation{
		ID: "get-openapi", Method: http.MethodGet, Path: "/openapi.json", Scope: access.Read, Tag: "server",
		Summary: "This document", Sends: "application/openapi+json",
		About: "The OpenAPI document of this server: all operations that it has, with the fields of requests and answers.",
	}, func(_ context.Context, _ *struct{}, w http.ResponseWriter, _ *http.Request) error {
		document, err := a.document()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document) // the client may have gone
		return nil
	})
	return a
}

// schemaName is the type's name, with the package's in front when another package
// has a type of that name.
func schemaName(names map[string]reflect.Type, t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := huma.DefaultSchemaNamer(t, hint)
	if t.Kind() != reflect.Struct || t.Name() == "" {
		return name
	}
	if items, ok := t.FieldByName("Items"); ok && strings.HasPrefix(t.Name(), "Page[") {
		name = "Page" + schemaName(names, items.Type.Elem(), "")
	}
	if first, ok := names[name]; ok && first != t {
		pkg := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	names[name] = t
	return name
}

// HeaderRequest names a request in the answer and in the log.
const HeaderRequest = "X-Request-Id"

// NameRequests gives every answer the id of its request.
func NameRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		nameRequest(w)
		next.ServeHTTP(w, r)
	})
}

func nameRequest(w http.ResponseWriter) {
	var id [6]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	w.Header().Set(HeaderRequest, hex.EncodeToString(id[:]))
}

// ServeHTTP answers a request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if w.Header().Get(HeaderRequest) == "" { // the console calls without a listener
		nameRequest(w)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	a.mux.ServeHTTP(w, r)
}

// serveUnknown answers what no operation takes.
func (a *API) serveUnknown(w http.ResponseWriter, r *http.Request) {
	if _, ok := access.From(r.Context()); !ok {
		WriteProblem(w, errStranger())
		return
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != Prefix+"/" {
			allowed = append(allowed, method)
		}
	}
	const hint = "GET " + Prefix + "/openapi.json lists the operations"
	if len(allowed) == 0 {
		WriteProblem(w, Problem(http.StatusNotFound, hint, "there is nothing at %s", r.URL.Path))
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	WriteProblem(w, Problem(http.StatusMethodNotAllowed, hint, "%s takes %s, not %s", r.URL.Path, strings.Join(allowed, " and "), r.Method))
}

func errStranger() *protocol.Problem {
	return Problem(http.StatusUnauthorized, "log in, or show a token of castpoint access token create", "this server does not know who asks")
}
