package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy"
	"castpoint/deploy/sequence"
	"castpoint/multicast"
	"castpoint/multicast/probe"
	"castpoint/web/api"
)

// mustRefuse checks an answer to nonsense: it is the asker's fault, never the
// server's, and says so in the form that programs read.
func mustRefuse(t *testing.T, w *httptest.ResponseRecorder, what string) {
	t.Helper()
	if w.Code >= http.StatusInternalServerError {
		t.Fatalf("%s: status %d: %s", what, w.Code, w.Body)
	}
	var p protocol.Problem
	if w.Code >= http.StatusBadRequest && strings.Contains(w.Header().Get("Content-Type"), "json") && (json.Unmarshal(w.Body.Bytes(), &p) != nil || p.Detail == "" && p.Title == "") {
		t.Fatalf("%s: status %d, and no problem: %s", what, w.Code, w.Body)
	}
}

// joinPaths are those of the join listener, with what stands for their parameters.
var joinPaths = []struct{ method, path string }{
	{http.MethodPost, multicast.PathJoin}, {http.MethodPost, multicast.PathLeave}, {http.MethodGet, multicast.PathObject},
	{http.MethodPost, probe.Path}, {http.MethodPost, probe.PathTrain}, {http.MethodDelete, probe.Path + "/"},
	{http.MethodGet, protocol.PathPolicy}, {http.MethodPost, protocol.PathEvents}, {http.MethodPost, protocol.PathRun}, {http.MethodPost, protocol.PathStep},
	{http.MethodPost, protocol.PathEnd}, {http.MethodGet, protocol.PathOrder}, {http.MethodPost, protocol.PathQuestions}, {http.MethodDelete, protocol.PathQuestions},
	{http.MethodPost, protocol.PathAnswers}, {http.MethodPost, protocol.PathContent}, {http.MethodPut, protocol.PathLog}, {http.MethodPost, protocol.PathInventory},
}

// takesName tells paths that end with a parameter.
func takesName(path string) bool { return strings.HasSuffix(path, "/") }

// FuzzJoin: what machines may send to the join listener, by strangers, by one that
// holds a boot token, and by one in the middle of a run. In the bodies RUN stands for
// the run's id.
func FuzzJoin(f *testing.F) {
	seed := func(path string, who uint8, name string, body any) {
		b, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		at := slices.IndexFunc(joinPaths, func(p struct{ method, path string }) bool { return p.path == path })
		f.Add(uint8(at), who, name, "", b)
	}
	seed(multicast.PathJoin, 0, "", multicast.JoinRequest{Content: "image", Token: "guess", Name: "pc-1"})
	seed(multicast.PathJoin, 0, "", multicast.JoinRequest{Content: "image", Token: "a", Ticket: "b"})
	seed(multicast.PathLeave, 2, "", multicast.LeaveRequest{Complete: true, Reason: "x"})
	seed(protocol.PathEvents, 1, "", protocol.Event{Kind: "progress", Blocks: -1, Total: 5, Rate: 1e300, MAC: "52:54:00:00:00:01"})
	seed(protocol.PathRun, 1, "", protocol.RunRequest{Nonce: "n", Environment: sequence.EnvironmentLinux, Facts: sequence.Facts{Memory: -1, Disks: []sequence.DiskFacts{{Size: -5}}}})
	for _, state := range []string{protocol.StepStarted, protocol.StepProgress, protocol.StepDone, protocol.StepFailed, protocol.StepRetry, "other"} {
		code := -1
		seed(protocol.PathStep, 2, "", protocol.StepStatus{Run: "RUN", Path: "1", Number: 1, Total: 2, State: state, Percent: 1e9, ExitCode: &code, Seconds: -1,
			Variables: map[string]protocol.VariableValue{"_Server": {Value: "x"}, "A": {Value: "b", Secret: true}}})
	}
	seed(protocol.PathEnd, 2, "", protocol.RunEnd{Run: "RUN", State: protocol.RunFailed, Path: "1"})
	seed(protocol.PathEnd, 2, "", protocol.RunEnd{Run: "RUN", State: protocol.RunRestart, Path: "2", Into: "disk"})
	seed(protocol.PathQuestions, 2, "", protocol.Questions{Run: "RUN", Path: "1", Questions: []sequence.Question{{}}})
	seed(protocol.PathAnswers, 2, "", protocol.Answers{Run: "RUN", Path: "1", Answers: map[string]string{"A": "b"}})
	seed(protocol.PathContent, 2, "image", struct{}{})
	seed(protocol.PathLog, 2, "../../x.log", "text")
	seed(protocol.PathInventory, 1, "", sequence.Facts{Manufacturer: "\x1b[31m", UUID: "x", NICs: []sequence.NICFacts{{MAC: "zz"}}})
	seed(multicast.PathObject, 2, strings.Repeat("0", 64), nil)

	p, _ := deployed(f, nil)
	h := p.JoinServer().Handler
	ask := func(ctx context.Context, method, path, from, secret, ranges string, body []byte) *httptest.ResponseRecorder {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second) // an order is waited for
		defer cancel()
		r := httptest.NewRequestWithContext(ctx, method, "/", bytes.NewReader(body))
		r.URL.Path = path
		r.RemoteAddr = from
		r.Header.Set(protocol.HeaderMAC, deliveryMAC)
		r.Header.Set("Range", ranges)
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	token := p.bootToken(f, deliveryMAC)
	begin, err := json.Marshal(protocol.RunRequest{Nonce: "of this boot", Environment: sequence.EnvironmentLinux})
	if err != nil {
		f.Fatal(err)
	}
	var run protocol.Run
	if w := ask(f.Context(), http.MethodPost, protocol.PathRun, "192.0.2.1:1000", token, "", begin); w.Code != http.StatusOK || json.Unmarshal(w.Body.Bytes(), &run) != nil {
		f.Fatalf("status %d: %s", w.Code, w.Body)
	}
	secrets := []string{"", p.bootToken(f, "52:54:00:00:00:02"), run.Ticket, "guess"}
	asked := 0
	f.Fuzz(func(t *testing.T, at, who uint8, name, ranges string, body []byte) {
		// Guesses are slowed down by address: everybody here has one of his own.
		asked++
		from := fmt.Sprintf("10.%d.%d.%d:1000", byte(asked>>16), byte(asked>>8), byte(asked))
		to := joinPaths[int(at)%len(joinPaths)]
		path := to.path
		if takesName(path) {
			path += name
		}
		body = bytes.ReplaceAll(body, []byte("RUN"), []byte(run.ID))
		mustRefuse(t, ask(t.Context(), to.method, path, from, secrets[int(who)%len(secrets)], ranges, body), to.method+" "+path)
	})
}

// fuzzedOperations are those of the admin API that take a body and act on records
// alone: what reads or writes files by name, or begins a session, is tried by hand.
var fuzzedOperations = []string{
	"add-device", "set-device", "import-devices", "approve-device", "add-collection", "set-collection", "set-collection-secret", "set-device-secret",
	"add-deployment", "set-deployment", "deploy-again", "put-sequence", "check-sequence", "set-content", "create-token",
	"answer-run", "retry-run",
}

// operation is one of the OpenAPI document; its path has "nothing" for parameters.
type operation struct{ id, method, path string }

func allOperations(t testing.TB, s *Server) (all []operation) {
	t.Helper()
	text, err := s.api.Document(api.BuiltIn())
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		}
	}
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{[^}]+\}`)
	for path, methods := range document.Paths {
		for method, o := range methods {
			all = append(all, operation{o.ID, strings.ToUpper(method), api.Prefix + parameter.ReplaceAllString(path, "nothing")})
		}
	}
	return all
}

// FuzzAPI: bodies of the admin API, by somebody who may do everything.
func FuzzAPI(f *testing.F) {
	for _, seed := range [][3]string{
		{"add-device", "", `{"name":"pc-9","macs":["52:54:00:00:00:09"],"uuid":"4c4c4544-0042-3510-8051-b4c04f4d3132","groups":["lab"],"variables":{"A":"b"}}`},
		{"set-device", "pc-1", `{"notes":"x","macs":["zz"],"boot":"chain=windows"}`}, {"import-devices", "", "name,mac\nx,52:54:00:00:00:0a\n"}, {"approve-device", "pc-1", `{"name":"x"}`},
		{"add-collection", "", `{"name":"c","rules":[{"when":["any(device.disks, true)"],"name":"pc-*"}],"variables":{"A":"b"}}`}, {"set-collection", "lab", `{"rules":[{"unknown":true}]}`},
		{"set-collection-secret", "lab", `{"value":"secret"}`}, {"set-device-secret", "pc-1", `{"value":""}`},
		{"add-deployment", "", `{"name":"d","sequence":"install","collection":"lab","purpose":"required","hours":"22:00-05:00","start":"2026-03-02T22:00:00Z"}`},
		{"set-deployment", "lab", `{"purpose":"available","password":"x"}`}, {"deploy-again", "lab", `{"devices":["pc-1"]}`},
		{"put-sequence", "", "name: x\nsteps: [{restart: {into: disk}}]"}, {"check-sequence", "", "a: &a [*a]"}, {"set-content", "image", `{"multicast":true,"priority":"high"}`},
		{"create-token", "", `{"content":"image","ttl":3600}`}, {"answer-run", "pc-1", `{"answers":{"A":"b"}}`}, {"retry-run", "pc-1", `{"step":"9/9"}`},
	} {
		f.Add(uint8(slices.Index(fuzzedOperations, seed[0])), seed[1], []byte(seed[2]))
	}
	p, _ := deployed(f, nil)
	timeline := withDevices(f, deploy.PolicyServe)
	var kept Config
	timeline(&kept)
	cfg := p.cfg
	cfg.Timeline = kept.Timeline
	s, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	h := s.SocketServer().Handler
	var list []operation
	for _, o := range allOperations(f, s) {
		if slices.Contains(fuzzedOperations, o.id) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b operation) int {
		return slices.Index(fuzzedOperations, a.id) - slices.Index(fuzzedOperations, b.id)
	})
	f.Fuzz(func(t *testing.T, at uint8, name string, body []byte) {
		o := list[int(at)%len(list)]
		if name == "" || strings.Contains(name, "/") {
			name = "lab"
		}
		r := httptest.NewRequestWithContext(t.Context(), o.method, api.Prefix, bytes.NewReader(body))
		r.URL.Path, r.Host = strings.ReplaceAll(o.path, "nothing", name), "localhost"
		switch o.id {
		case "put-sequence", "check-sequence":
			r.Header.Set("Content-Type", "application/yaml")
		case "import-devices":
			r.Header.Set("Content-Type", "text/csv")
		default:
			r.Header.Set("Content-Type", "application/json")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code == http.StatusUnauthorized || w.Code == http.StatusMisdirectedRequest {
			t.Fatalf("%s: status %d: nothing is tested", o.id, w.Code)
		}
		mustRefuse(t, w, o.id)
	})
}
