package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/agent/step"
	"castpoint/deploy/sequence"
)

// TestReceiveWaitsForTheServer: one that is being restarted when a step wants to join
// is asked again; what it refuses is not.
func TestReceiveWaitsForTheServer(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler)
		case 2: // half an answer
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"content": "im`))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(protocol.Problem{Detail: "the device is not approved"})
		}
	}))
	defer server.Close()
	c, err := newClient(server.URL, protocol.NewPin(server.Certificate().Raw).String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	said := 0
	s := &runServer{client: c, run: &protocol.Run{Ticket: "t"}, pause: time.Millisecond, o: RunOptions{Say: func(string) { said++ }}}
	wanted := step.Wanted{Content: protocol.RunContent{ID: "image", Method: protocol.Method{Multicast: true}}, From: sequence.FromAuto, Out: "out", Percent: func(float64) {}}
	if err := s.Receive(t.Context(), wanted); err == nil || !strings.Contains(err.Error(), "not approved") {
		t.Error(err)
	}
	if asked.Load() != 4 || said != 3 {
		t.Errorf("asked %d times, said %d", asked.Load(), said)
	}
	asked.Store(-1000)
	server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Receive(ctx, wanted); err == nil {
		t.Error("a server that is away is there")
	}
}
