package call

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzAnswers: a server that commands are sent to, or something in its place, may answer
// anything: lists, steps of work, events, exports, refusals.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		"", "null", `{"items":[{"id":"1"}],"next":"1"}`, `{"items":[],"next":"x"}`, `{"status":404,"title":"Not Found","detail":"there is no pc-1","code":"not-found"}`,
		"{\"done\":1,\"total\":2}\n{\"result\":{\"id\":\"1\"}}\n", "{\"problem\":{\"status\":0}}", "data: {\"kind\":\"dhcp\"}\n\ndata: x\n", "\x00\x00\x00\x03abc\x00\x00\x00\x00{\"result\":true}",
	} {
		f.Add(200, "application/json", []byte(body))
		f.Add(404, "application/problem+json", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		if status < 200 || status > 599 {
			return // net/http gives no others
		}
		asked, size := 0, len(body)
		c := NewLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if asked++; asked > 50 {
				body = nil // a server that has a next page for ever
			}
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write(body)
		}))
		ctx := t.Context()
		var got map[string]any
		errs := map[string]error{
			"call":   c.Call(ctx, http.MethodGet, "/status", nil, &got),
			"stream": c.Stream(ctx, http.MethodPost, "/contents", nil, func(int64, int64) {}, &got),
			"follow": c.Follow(ctx, "/timeline", func(data []byte) error { return json.Unmarshal(data, &got) }),
			"send":   c.Send(ctx, "/devices/import", "text/csv", bytes.NewReader(nil), &got),
		}
		var out bytes.Buffer
		errs["export"] = c.Export(ctx, "win11", &out, nil)
		_, errs["list"] = List[map[string]any](ctx, c, "/devices")
		for what, err := range errs {
			if status >= 300 && err == nil {
				t.Errorf("%s: %d is taken as done", what, status)
			}
			if err != nil && err.Error() == "" {
				t.Errorf("%s: an error without a word", what)
			}
		}
		if out.Len() > size {
			t.Errorf("%d bytes out of %d", out.Len(), size)
		}
	})
}
