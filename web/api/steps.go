package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"castpoint/agent/protocol"
)

// stepsType is the media type of JSON lines.
const stepsType = "application/x-ndjson"

// Step is one line of a streamed answer: progress, and at last either a result or
// a problem.
type Step struct {
	Done    int64             `json:"done,omitempty" doc:"bytes"`
	Total   int64             `json:"total,omitempty"`
	Result  json.RawMessage   `json:"result,omitempty"`
	Problem *protocol.Problem `json:"problem,omitempty"`
}

// stepInterval is how often progress becomes a line.
const stepInterval = 200 * time.Millisecond

// Progress takes how far work is, in bytes.
type Progress func(done, total int64)

// Steps registers an operation that takes long, and answers with its steps. f
// checks the request, and gives the work, whose progress function may be called
// from any goroutine, but only until the work returns. The work ends with the
// request's context.
func Steps[I, O any](a *API, op Operation, f func(ctx context.Context, in *I) (work func(ctx context.Context, progress Progress) (O, error), err error)) {
	checkInput[I]()
	o := operation[I](a, op)
	step := a.schema(reflect.TypeFor[Step]())
	o.Responses[strconv.Itoa(o.DefaultStatus)].Content = map[string]*huma.MediaType{stepsType: {Schema: step}}
	// The result's own schema, for those who read the document.
	o.Extensions["x-castpoint-result"] = a.schema(reflect.TypeFor[O]())
	huma.Register(a.huma, o, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		work, err := f(ctx, in)
		if err != nil {
			return nil, &failure{AsProblem(err)}
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", stepsType)
			stream(hc.Context(), w, func(ctx context.Context, progress Progress) (any, error) { return work(ctx, progress) })
		}}, nil
	})
}

func stream(ctx context.Context, w http.ResponseWriter, work func(ctx context.Context, progress Progress) (any, error)) {
	untimed(w)
	enc := json.NewEncoder(w)
	flush := http.NewResponseController(w)
	var mu sync.Mutex
	var last time.Time
	send := func(s Step) {
		_ = enc.Encode(s) // a client that has gone ends the request's context
		_ = flush.Flush()
	}
	result, err := work(ctx, func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= stepInterval || done == total {
			last = now
			send(Step{Done: done, Total: total})
		}
	})
	var final Step
	if err == nil {
		final.Result, err = json.Marshal(result)
	}
	if err != nil {
		final = Step{Problem: named(AsProblem(err), w)}
		recordOf(ctx).fail(final.Problem)
	} else {
		recordOf(ctx).done(http.StatusOK)
	}
	mu.Lock()
	defer mu.Unlock()
	send(final)
}

// untimed takes away the time limit of reading the request, which would end a long
// answer: the connection is read while it is written, to see the client go. A
// request that comes without a network has none.
func untimed(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
}
