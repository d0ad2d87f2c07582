package contents

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/content"
	"castpoint/content/library"
	"castpoint/multicast"
	"castpoint/web/api"
	"castpoint/web/join"
)

// Bounds of what is read from and waited for another server.
const (
	peerAnswer  = 30 * time.Second
	peerStall   = 30 * time.Second // without a byte
	peerProblem = 64 << 10
)

// peer reads objects from the join listener of another castpoint server, with a
// token of that server for the files of a content.
type peer struct {
	base   *url.URL
	pin    protocol.Pin
	token  string
	client *http.Client
}

// newPeer checks address, pin and token; close gives up the connections.
func newPeer(address, pin, token string) (*peer, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	base, err := url.Parse(address)
	if err != nil || base.Scheme != "https" || base.Hostname() == "" {
		return nil, api.Refusal(http.StatusBadRequest, "", "", "server %q: want an https URL, as in https://192.0.2.1:8443", address)
	}
	if base.Port() == "" {
		base.Host = net.JoinHostPort(base.Hostname(), fmt.Sprint(join.DefaultPort))
	}
	p := &peer{base: &url.URL{Scheme: "https", Host: base.Host}, token: token}
	if p.pin, err = protocol.ParsePin(pin); err != nil {
		return nil, api.Refusal(http.StatusBadRequest, "", "castpoint status on that server prints it", "%v", err)
	}
	if token == "" {
		return nil, api.Refusal(http.StatusBadRequest, "", "castpoint token create --files on that server makes one", "no token for %s", p.base)
	}
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig: &tls.Config{
				MinVersion: tls.VersionTLS13,
				ServerName: "castpoint",
				// Replaced by VerifyConnection: the pin names the one certificate.
				InsecureSkipVerify: true, //nolint:gosec // see the line before
				VerifyConnection:   p.verify,
			},
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: peerAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

func (p *peer) close() { p.client.CloseIdleConnections() }

func (p *peer) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	if got := protocol.NewPin(state.PeerCertificates[0].Raw); got != p.pin {
		return api.Refusal(http.StatusForbidden, protocol.CodeRefused, "castpoint status on that server prints its pin",
			"%s is not the expected server: its certificate is %s, expected is %s", p.base, got, p.pin)
	}
	return nil
}

// Open is that of content.Originals.
func (p *peer) Open(ctx context.Context, f content.File) (library.Original, error) {
	return &peerObject{ctx: ctx, peer: p, file: f}, nil
}

// peerObject is an object of another server. One request is kept open for
// reading on from where the last read ended.
type peerObject struct {
	ctx    context.Context
	peer   *peer
	file   content.File
	body   io.ReadCloser
	at     int64
	cancel context.CancelCauseFunc
	stall  *time.Timer
}

// ReadAt is for one goroutine.
func (o *peerObject) ReadAt(b []byte, off int64) (int, error) {
	if off >= o.file.Size {
		return 0, io.EOF
	}
	if o.body == nil || o.at != off {
		if err := o.request(off); err != nil {
			return 0, err
		}
	}
	o.stall.Reset(peerStall)
	n, err := io.ReadFull(o.body, b)
	o.stall.Stop()
	o.at += int64(n)
	if err != nil {
		_ = o.Close()
		if cause := context.Cause(o.ctx); cause != nil {
			err = cause
		}
		if !errors.Is(err, io.EOF) {
			err = fmt.Errorf("read from %s: %w", o.peer.base, err)
		}
	}
	return n, err
}

// Close gives up the request.
func (o *peerObject) Close() error {
	if o.body == nil {
		return nil
	}
	o.stall.Stop()
	o.cancel(nil)
	err := o.body.Close()
	o.body = nil
	return err
}

func (o *peerObject) request(off int64) error {
	_ = o.Close() // an old answer is of no more use
	ctx, cancel := context.WithCancelCause(o.ctx)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.peer.base.String()+multicast.PathObject+o.file.Digest.String(), nil)
	if err != nil {
		cancel(nil)
		return err
	}
	req.Header.Set("Authorization", "Bearer "+o.peer.token)
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", off))
	res, err := o.peer.client.Do(req)
	if err != nil {
		cancel(nil)
		if p, ok := errors.AsType[*protocol.Problem](err); ok {
			return p
		}
		return api.Refusal(http.StatusBadGateway, "", "", "reach %s: %v", o.peer.base, err)
	}
	if res.StatusCode != http.StatusPartialContent {
		defer cancel(nil)
		defer res.Body.Close()
		return o.refused(res)
	}
	o.body, o.at, o.cancel = res.Body, off, cancel
	o.stall = time.AfterFunc(peerStall, func() { cancel(fmt.Errorf("no byte came for %s", peerStall)) })
	return nil
}

// refused says why the other server does not give the object.
func (o *peerObject) refused(res *http.Response) error {
	p := &protocol.Problem{}
	b, _ := io.ReadAll(io.LimitReader(res.Body, peerProblem)) // a short body is an empty problem
	if json.Unmarshal(b, p) != nil || p.Detail == "" {
		return api.Refusal(http.StatusBadGateway, "", "", "%s answers %d %s", o.peer.base, res.StatusCode, http.StatusText(res.StatusCode))
	}
	p.Detail, p.Status = o.peer.base.String()+": "+p.Detail, res.StatusCode
	return p
}
