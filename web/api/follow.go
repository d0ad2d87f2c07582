package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"golang.org/x/time/rate"
)

const (
	eventsType = "text/event-stream"
	// eventsPerSecond bounds a stream: a browser that draws each of them has no
	// time for more, and a person none to read them.
	eventsPerSecond = 100
	eventsBurst     = 500 // what was there before comes at once
	// aliveTime is how often a stream on which nothing happens shows that it lives.
	aliveTime = 15 * time.Second
	// sendTime is how long a client may take for one event.
	sendTime = 30 * time.Second
)

// Stream sends server-sent events.
type Stream[E any] struct {
	w       http.ResponseWriter
	flush   *http.ResponseController
	limiter *rate.Limiter

	mu    sync.Mutex
	begun bool
}

// Follow registers an operation that streams server-sent events with JSON of E as
// their data. f may return an error as long as it has sent nothing; the stream
// goes on until f returns, which it does when the context ends.
func Follow[I, E any](a *API, op Operation, f func(ctx context.Context, in *I, s *Stream[E]) error) {
	checkInput[I]()
	op.stream = true
	o := operation[I](a, op)
	o.Responses[strconv.Itoa(o.DefaultStatus)].Content = map[string]*huma.MediaType{eventsType: {
		Schema: &huma.Schema{Type: huma.TypeString, Description: "server-sent events; the data of each is x-castpoint-event"},
	}}
	o.Extensions["x-castpoint-event"] = a.schema(reflect.TypeFor[E]())
	huma.Register(a.huma, o, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			untimed(w)
			s := &Stream[E]{w: w, flush: http.NewResponseController(w), limiter: rate.NewLimiter(eventsPerSecond, eventsBurst)}
			ctx, cancel := context.WithCancel(hc.Context())
			var alive sync.WaitGroup
			alive.Go(func() { s.routineAlive(ctx, cancel) })
			err := f(ctx, in, s)
			cancel()
			alive.Wait()
			if err != nil && !s.begun {
				recordOf(ctx).fail(AsProblem(err))
				WriteProblem(w, err)
				return
			}
			recordOf(ctx).done(http.StatusOK)
		}}, nil
	})
}

// Begin sends the headers, so that the client knows that it listens. Send does it
// too.
func (s *Stream[E]) Begin() error { return s.write("") }

// Send sends an event; id, when it is not 0, is what a client that comes back shows
// as Last-Event-ID, and name, when it is not "", is the event's type. It waits
// while the stream is above its rate.
func (s *Stream[E]) Send(ctx context.Context, id int64, name string, e E) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	if err := s.limiter.Wait(ctx); err != nil {
		return err
	}
	text := "data: " + string(data) + "\n\n"
	if name != "" {
		text = "event: " + name + "\n" + text
	}
	if id != 0 {
		text = "id: " + strconv.FormatInt(id, 10) + "\n" + text
	}
	return s.write(text)
}

func (s *Stream[E]) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", eventsType)
		s.w.WriteHeader(http.StatusOK)
	}
	_ = s.flush.SetWriteDeadline(time.Now().Add(sendTime)) // a client in this process has none
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.flush.Flush()
}

// routineAlive sends comments, and ends the stream of a client that has gone.
func (s *Stream[E]) routineAlive(ctx context.Context, gone context.CancelFunc) {
	ticks := time.NewTicker(aliveTime)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if s.write(":\n\n") != nil {
				gone()
				return
			}
		}
	}
}
