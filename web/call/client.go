package call

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"castpoint/agent/protocol"
	"castpoint/web/api"
)

// maxProblem is the longest refusal that is read, in bytes.
const maxProblem = 1 << 20

// expectTime is how long a client that has something long to send waits for a refusal
// before it begins.
const expectTime = 2 * time.Second

// Client speaks the admin API.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New makes a client of the running server that wrote f.
func New(f File) *Client {
	if f.Pin == "" {
		return &Client{base: "http://" + f.Address, token: f.Token, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: expectTime}}}
	}
	return NewRemote("https://"+f.Address, f.Token, &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Replaced by VerifyConnection: the file names the one certificate.
		InsecureSkipVerify: true, //nolint:gosec // see the line before
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || protocol.NewPin(state.PeerCertificates[0].Raw).String() != f.Pin {
				return errors.New("the server at " + f.Address + " is not the one of the data folder: its certificate is another")
			}
			return nil
		},
	})
}

// NewRemote makes a client of the server at a URL without a path.
func NewRemote(base, token string, t *tls.Config) *Client {
	return &Client{base: base, token: token, http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // a command ends, and its connection with it
		TLSClientConfig:   t, Proxy: http.ProxyFromEnvironment,
		ExpectContinueTimeout: expectTime,
	}}}
}

// NewLocal makes a client of a handler in this process: commands that work
// without a running server take the same way as those that talk to one.
func NewLocal(h http.Handler) *Client {
	return &Client{base: "http://localhost", http: &http.Client{Transport: handlerTransport{h}}}
}

// Local says that the handler is in this process, and so reads files as this process
// does.
func (c *Client) Local() bool {
	_, local := c.http.Transport.(handlerTransport)
	return local
}

// request sends one request and returns the answer of a success. Others come
// back as *protocol.Problem.
func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+api.Prefix+path, send)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req, path)
}

// send sends a request and returns the answer of a success.
func (c *Client) send(req *http.Request, path string) (*http.Response, error) {
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, unreached(req, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	p := &protocol.Problem{}
	text, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))          // what is there says enough
	if bytes.Contains(text, []byte("HTTP request to an HTTPS server")) { // net/http's answer
		return nil, fmt.Errorf("the server at %s speaks TLS: use https://%s", req.URL.Host, req.URL.Host)
	}
	if err := json.Unmarshal(text, p); err != nil || p.Detail == "" {
		p = &protocol.Problem{Title: res.Status, Detail: fmt.Sprintf("the server answers %s to %s %s", res.Status, req.Method, path)}
	}
	p.Status = res.StatusCode
	return nil, p
}

// unreached says why a server was not reached, and what to do about it.
func unreached(req *http.Request, err error) error {
	if of, ok := errors.AsType[*url.Error](err); ok {
		err = of.Err // without the address, which is said already
	}
	hint := ""
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		hint = "; --ca names its CA, which for castpoint's own is boot-ca.crt in the data folder of the server, --pin its certificate"
	} else if errors.Is(err, http.ErrSchemeMismatch) {
		hint = "; it speaks no TLS: use http://" + req.URL.Host
	}
	return fmt.Errorf("reach the running server at %s: %w%s", req.URL.Host, err, hint)
}

// Call sends body as JSON and reads the answer into answer; either may be nil.
func (c *Client) Call(ctx context.Context, method, path string, body, answer any) error {
	res, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

// Fetch copies an answer that is no JSON.
func (c *Client) Fetch(ctx context.Context, path string, w io.Writer) error {
	res, err := c.request(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("answer of the server: %w", err)
	}
	return nil
}

// List reads all pages of a list.
func List[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	all := []T{}
	for after := ""; ; {
		var p api.Page[T]
		query := url.Values{"limit": {strconv.Itoa(api.MaxLimit)}}
		if after != "" {
			query.Set("after", after)
		}
		if err := c.Call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &p); err != nil {
			return nil, err
		}
		if all, after = append(all, p.Items...), p.Next; after == "" {
			return all, nil
		}
	}
}

// Stream is Call for an answer of steps; progress may be nil.
func (c *Client) Stream(ctx context.Context, method, path string, body any, progress func(done, total int64), answer any) error {
	res, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(res.Body)
	for {
		var s api.Step
		switch err := d.Decode(&s); {
		case errors.Is(err, io.EOF):
			return errors.New("the server ended its answer before the work was done: look at its log")
		case err != nil:
			return fmt.Errorf("answer of the server: %w", err)
		case s.Problem != nil:
			return s.Problem
		case s.Result != nil:
			return json.Unmarshal(s.Result, answer)
		case progress != nil:
			progress(s.Done, s.Total)
		}
	}
}

// handlerTransport answers requests by a handler in this process. The body is a
// pipe, so that streamed answers arrive while they are made.
type handlerTransport struct{ handler http.Handler }

// RoundTrip runs the handler until it has written its status. It goes on by
// itself; it ends when the body is closed or the request's context ends.
func (t handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	reader, writer := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: writer, ready: make(chan int, 1)}
	served := r.Clone(ctx)
	served.RequestURI, served.Host, served.RemoteAddr = r.URL.RequestURI(), r.URL.Host, ""
	if served.Body == nil {
		served.Body = http.NoBody
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.handler.ServeHTTP(w, served)
		w.WriteHeader(http.StatusOK)
		_ = writer.Close()
	}()
	status := <-w.ready
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header.Clone(), Body: &pipeBody{reader, cancel, done}, ContentLength: -1, Request: r,
	}, nil
}

type pipeWriter struct {
	header http.Header
	body   *io.PipeWriter
	ready  chan int
	wrote  bool
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) {
	if !w.wrote {
		w.wrote = true
		w.ready <- status
	}
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Flush does nothing: a pipe holds nothing back.
func (w *pipeWriter) Flush() {}

// pipeBody ends the handler when it is closed, and waits for its end.
type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
	done   chan struct{}
}

func (b *pipeBody) Close() error {
	b.cancel()
	err := b.PipeReader.Close()
	<-b.done
	return err
}
