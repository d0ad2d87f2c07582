package point

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"castpoint/dhcp/lease"
	"castpoint/doctor"
	"castpoint/internal/config"
	"castpoint/internal/loglevel"
	"castpoint/point/settings"
	"castpoint/test/openapi"
	"castpoint/web/access"
	"castpoint/web/api"
	"castpoint/web/call"
)

const (
	fileAnnotations = "../web/api/annotations.json"
	fileOpenAPI     = "../docs/openapi.json"
)

var update = flag.Bool("update", false, "write examples anew")

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == CommandInspect { // the program that inspects files apart is this one
		if err := Inspect(context.Background(), os.Stdin); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// apiPoint is a distribution point whose admin API is on a real listener. Nothing else
// of it listens.
type apiPoint struct {
	*point
	url    string // without a path
	data   string
	client *http.Client
}

// newAPIPoint makes one on a data folder, with more lines of settings.
func newAPIPoint(t *testing.T, data, more string) *apiPoint {
	t.Helper()
	journal, err := lease.OpenJournal(filepath.Join(data, fileLeases))
	if err == nil {
		err = errors.Join(journal.Put(lease.Lease{Address: netip.MustParseAddr("127.0.0.100"), Key: "mac:" + apiMAC, MAC: apiMAC, Hostname: "pc-1", Expires: time.Now().Add(time.Hour)}), journal.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	loaders := t.TempDir()
	for _, name := range []string{"undionly.kpxe", "snponly.efi", "wimboot"} {
		if err := os.WriteFile(filepath.Join(loaders, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "castpoint.yaml")
	if err := os.WriteFile(file, []byte("interface: lo\nloaders: "+loaders+"\ndata: "+data+"\n"+more), 0o600); err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	defaults := config.Default()
	settings.Flags(flags, &defaults)
	read := func() (*settings.Settings, error) { return settings.Read(file, flags) }
	s, err := read()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPoint(t.Context(), Options{Settings: s, Read: read, Log: zap.NewNop(), Levels: loglevel.New(zap.InfoLevel),
		Doctor: func(context.Context, *call.Client, *config.Config, string) ([]doctor.Finding, error) {
			return []doctor.Finding{{Check: "firewall", Level: doctor.Attention, Text: "nftables drops UDP port 69 (TFTP requests)", Do: "allow it: nft insert rule inet filter input udp dport 69 accept"}}, nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := p.server.AdminServer(p.adminToken)
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	transport := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		<-done
		p.close()
	})
	return &apiPoint{p, "http://" + l.Addr().String(), data, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// request is one to the API, or to any path of the listener.
type request struct {
	method, path string // path without the prefix of the API
	body         []byte
	kind         string // of the body
	header       []string
	host         string
}

// send sends a request; secret "" shows none.
func (p *apiPoint) send(ctx context.Context, t *testing.T, r request, secret string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, r.method, p.url+api.Prefix+r.path, bytes.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.body) == 0 {
		req.Body, req.ContentLength = http.NoBody, 0
	}
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	for i := 0; i+1 < len(r.header); i += 2 {
		req.Header.Set(r.header[i], r.header[i+1])
	}
	if r.host != "" {
		req.Host = r.host
	}
	res, err := p.client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", r.method, r.path, err)
	}
	return res
}

// contract calls operations and holds their answers against the OpenAPI document.
type contract struct {
	*apiPoint
	all       map[string]*openapi.Operation
	validator *openapi.Validator
	seen      map[string]map[int]bool // statuses, by operation
	good      map[string]request      // of the first call that did what it should
	examples  map[string]api.Example  // likewise
}

func newContract(t *testing.T, p *apiPoint) *contract {
	t.Helper()
	v, err := openapi.NewValidator(fileOpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{apiPoint: p, validator: v, seen: map[string]map[int]bool{}, good: map[string]request{}, examples: map[string]api.Example{}}
	_, c.all = openapi.Read(t, fileOpenAPI)
	return c
}

// valid holds a JSON value against the schema at a place of the document.
func (c *contract) valid(t *testing.T, what string, text []byte, place ...string) {
	t.Helper()
	if err := c.validator.Check(text, place...); err != nil {
		t.Errorf("%s does not fit the document: %v\n%.600s", what, err, text)
	}
}

// body makes the body of a call: bytes and texts as they are, other values JSON.
func body(t *testing.T, v any) []byte {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// call calls an operation and wants a status, be it that of a problem at the end of a
// streamed answer. It returns the answer, the result or the first event.
func (c *contract) call(t *testing.T, id, path string, v any, want int) []byte {
	t.Helper()
	return c.callBy(t, nil, id, path, v, want)
}

// callBy is call by somebody who is logged in; nil is the administrator's token.
func (c *contract) callBy(t *testing.T, by *access.Session, id, path string, v any, want int) []byte {
	t.Helper()
	o := c.all[id]
	if o == nil {
		t.Fatalf("there is no operation %s", id)
	}
	r := request{method: o.Method, path: path, body: body(t, v)}
	if v != nil {
		r.kind = o.Takes()
	}
	plain, _, _ := strings.Cut(path, "?")
	if !o.Has(plain) {
		t.Fatalf("%s is not a path of %s", path, id)
	}
	secret := c.adminToken
	if by != nil {
		r.header, secret = []string{"Cookie", "castpoint=" + by.Secret, access.HeaderCSRF, by.CSRF}, ""
	}
	status, answer := c.answerTo(t, o, r, secret)
	if status != want {
		t.Errorf("%s %s %.200s: %d, want %d: %.600s", id, path, r.body, status, want, answer)
	}
	if _, ok := c.good[id]; !ok && status < 300 {
		r.header = nil // others try it with what they have
		c.good[id] = r
		e := api.Example{Path: path, Type: r.kind, Response: exampleOf(answer)}
		switch id {
		case "get-openapi", "get-sequence-schema": // they are long, and known
			e.Response = json.RawMessage(`{}`)
		}
		if r.kind != "" && r.kind != "application/octet-stream" {
			e.Request = exampleOf(r.body)
		}
		c.examples[id] = e
	}
	return answer
}

// answerTo sends a request with a secret, checks the answer against the document, and
// notes its status.
func (c *contract) answerTo(t *testing.T, o *openapi.Operation, r request, secret string) (status int, answer []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res := c.send(ctx, t, r, secret)
	defer res.Body.Close()
	status = res.StatusCode
	what := fmt.Sprintf("%s %s: answer %d", o.ID, r.path, status)
	if len(res.Header.Get(api.HeaderRequest)) != 12 {
		t.Errorf("%s has no request id", what)
	}
	documented, ok := o.Responses[strconv.Itoa(status)]
	if !ok {
		b, _ := io.ReadAll(res.Body)
		t.Errorf("%s is not in the document: %s", what, b)
		return status, b
	}
	if c.seen[o.ID] == nil {
		c.seen[o.ID] = map[int]bool{}
	}
	c.seen[o.ID][status] = true
	place := []string{"paths", o.Path, strings.ToLower(o.Method), "responses", strconv.Itoa(status)}
	content := documented.Content
	if documented.Ref != "" {
		place = strings.Split(strings.TrimPrefix(documented.Ref, "#/"), "/")
		content = map[string]openapi.Media{"application/problem+json": {}}
	}
	if len(content) == 0 {
		b, err := io.ReadAll(res.Body)
		if err != nil || len(b) > 0 {
			t.Errorf("%s has a body that the document does not know: %.200s, %v", what, b, err)
		}
		return status, nil
	}
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if _, ok := content[kind]; !ok || err != nil {
		t.Fatalf("%s has the type %q, which the document does not know", what, res.Header.Get("Content-Type"))
	}
	at := append(place, "content", kind, "schema")
	operation := []string{"paths", o.Path, strings.ToLower(o.Method)}
	switch kind {
	case "text/event-stream":
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				c.valid(t, what, []byte(data), append(operation, "x-castpoint-event")...)
				return status, []byte(data) // the first is enough
			}
		}
		t.Errorf("%s has no event: %v", what, lines.Err())
		return status, nil
	case "application/x-ndjson":
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		var last api.Step
		for lines.Scan() {
			c.valid(t, what, lines.Bytes(), at...)
			last = api.Step{}
			if err := json.Unmarshal(lines.Bytes(), &last); err != nil {
				t.Fatal(err)
			}
		}
		if last.Problem != nil {
			if _, ok := o.Responses[strconv.Itoa(last.Problem.Status)]; !ok {
				t.Errorf("%s ends with %d, which is not in the document: %v", what, last.Problem.Status, last.Problem)
			}
			c.seen[o.ID][last.Problem.Status] = true
			if last.Problem.Request != res.Header.Get(api.HeaderRequest) {
				t.Errorf("%s ends with a problem of request %q", what, last.Problem.Request)
			}
			return last.Problem.Status, lines.Bytes()
		}
		if len(last.Result) == 0 {
			t.Errorf("%s ends without a result: %v", what, lines.Err())
			return status, nil
		}
		c.valid(t, what, last.Result, append(operation, "x-castpoint-result")...)
		return status, last.Result
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if strings.HasSuffix(kind, "json") {
		c.valid(t, what, b, at...)
	}
	if status >= 400 {
		var p struct{ Detail, Title, Request, Hint string }
		if err := json.Unmarshal(b, &p); err != nil || p.Detail == "" || p.Title == "" || p.Request != res.Header.Get(api.HeaderRequest) {
			t.Errorf("%s: %s, %v", what, b, err)
		}
	}
	return status, b
}

// field reads a field of an answer.
func field(t *testing.T, answer []byte, path ...string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatalf("%v: %.300s", err, answer)
	}
	for _, key := range path {
		if i, err := strconv.Atoi(key); err == nil {
			list, _ := v.([]any)
			if i >= len(list) {
				t.Fatalf("%.300s has no %v", answer, path)
			}
			v = list[i]
			continue
		}
		m, _ := v.(map[string]any)
		v = m[key]
	}
	if v == nil {
		t.Fatalf("%.300s has no %v", answer, path)
	}
	return fmt.Sprint(v)
}

// Examples show the paths of an installed server, and no secrets.
var examplePaths = regexp.MustCompile(`/tmp/[A-Za-z]+\d+/\d+`)

// Limits of examples.
const (
	exampleItems = 1
	exampleText  = 200 // bytes
)

// exampleOf makes an example that is short enough to be read.
func exampleOf(b []byte) json.RawMessage {
	if len(b) == 0 {
		return nil
	}
	var v any
	if json.Unmarshal(b, &v) != nil {
		if !isText(b) {
			return nil
		}
		v = string(b)
	}
	out, err := json.Marshal(shorten(v))
	if err != nil {
		return nil
	}
	return out
}

func isText(b []byte) bool { return !bytes.ContainsRune(b, 0) }

func shorten(v any) any {
	switch v := v.(type) {
	case []any:
		v = v[:min(len(v), exampleItems)]
		for i := range v {
			v[i] = shorten(v[i])
		}
		return v
	case map[string]any:
		for k := range v {
			if _, text := v[k].(string); text && (k == "secret" || k == "token") {
				v[k] = "castpoint_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
			}
			v[k] = shorten(v[k])
		}
		return v
	case string:
		if len(v) > exampleText {
			return strings.ToValidUTF8(v[:exampleText], "") + "..."
		}
		return examplePaths.ReplaceAllString(v, "/srv/castpoint")
	}
	return v
}
