package loglevel

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A handler that panics is an error with its stack; a client that breaks off is none.
func TestHTTPErrors(t *testing.T) {
	core, seen := observer.New(zapcore.DebugLevel)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("no such address") }))
	srv.Config.ErrorLog = HTTPErrors(zap.New(core))
	srv.StartTLS()
	if res, err := srv.Client().Get(srv.URL); err == nil {
		_ = res.Body.Close()
		t.Error("answered")
	}
	if res, err := http.Get(strings.Replace(srv.URL, "https", "http", 1)); err == nil { // no TLS
		_ = res.Body.Close()
	}
	srv.Close()
	faults := 0
	for _, e := range seen.All() {
		reason, _ := e.ContextMap()["reason"].(string)
		if e.Level == zap.ErrorLevel {
			faults++
			if !strings.Contains(reason, "no such address") || !strings.Contains(reason, "http_test.go") {
				t.Errorf("reason %q", reason)
			}
		} else if e.Level != zap.DebugLevel {
			t.Errorf("%s %q", e.Level, reason)
		}
	}
	if faults != 1 {
		t.Errorf("%d faults in %v", faults, seen.All())
	}
}
