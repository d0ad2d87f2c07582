//go:build !windows

package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"castpoint/agent"
	"castpoint/agent/protocol"
)

// A server with another certificate than that of the pin is told nothing: no token, no
// request.
func TestServerHasThePin(t *testing.T) {
	asked := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusNoContent)
	}))
	defer s.Close()
	pin := protocol.NewPin(s.Certificate().Raw).String()
	for _, c := range []struct {
		pin string
		ok  bool
	}{{pin, true}, {"sha256:" + strings.Repeat("00", 32), false}} {
		one, err := New(s.URL, c.pin, nil)
		if err != nil {
			t.Fatal(err)
		}
		asked = 0
		err = one.Call(t.Context(), http.MethodGet, "/", "token", nil, nil)
		one.Close()
		_, refused := errors.AsType[*agent.PinError](err)
		if (err == nil) != c.ok || refused == c.ok || (asked > 0) != c.ok {
			t.Errorf("pin %s: %v, asked %d times", c.pin, err, asked)
		}
	}
}
