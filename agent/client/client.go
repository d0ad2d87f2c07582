// Package client talks to a server's join listener, which it knows by its pin: joins,
// events, runs, ranges of objects. It says what a failed connection means, and asks
// again where a server may be back soon.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"castpoint/agent"
	"castpoint/agent/protocol"
	"castpoint/multicast"
)

// Limits of what is read from and waited for the server.
const (
	requestTime = 30 * time.Second
	// maxAnswer holds the block hashes of the largest object there can be.
	maxAnswer  = 1 << 30
	maxProblem = 64 << 10
)

// Client talks to one join listener.
type Client struct {
	base *url.URL
	pin  protocol.Pin
	macs []string
	http *http.Client
	skew atomic.Int64 // nanoseconds by which the server's clock is ahead
}

// New checks server and pin. server is a URL; the scheme may be missing.
func New(server, pin string, macs []string) (*Client, error) {
	if server == "" {
		return nil, agent.Errorf(agent.ErrUsage, "no server given: castpoint serve prints its join address, as in https://192.0.2.1:8443")
	}
	if !strings.Contains(server, "://") {
		server = "https://" + server
	}
	base, err := url.Parse(server)
	if err != nil || base.Scheme != "https" || base.Hostname() == "" {
		return nil, agent.Errorf(agent.ErrUsage, "server %q: want an https URL, as in https://192.0.2.1:8443", server)
	}
	if base.Port() == "" {
		base.Host = net.JoinHostPort(base.Hostname(), "8443")
	}
	base.Path, base.RawQuery, base.Fragment = "", "", ""
	if pin == "" {
		return nil, agent.Errorf(agent.ErrUsage, "no pin given: the server would not be known from an impostor; castpoint serve and castpoint token create print it")
	}
	c := &Client{base: base, macs: macs}
	if c.pin, err = protocol.ParsePin(pin); err != nil {
		return nil, agent.Errorf(agent.ErrUsage, "%w", err)
	}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSClientConfig:       c.tls(),
			TLSHandshakeTimeout:   10 * time.Second,
			ResponseHeaderTimeout: requestTime,
			IdleConnTimeout:       time.Minute,
			MaxIdleConnsPerHost:   4,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// tls trusts the one certificate that has the pin, whatever its names and dates:
// machines without a clock battery are in 1970.
func (c *Client) tls() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: "castpoint",
		// Replaced by VerifyConnection, which also runs when a TLS session is
		// resumed.
		InsecureSkipVerify: true, //nolint:gosec // see the line before
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errors.New("the server shows no certificate")
			}
			if got := protocol.NewPin(state.PeerCertificates[0].Raw); got != c.pin {
				return &agent.PinError{Server: c.base.String(), Want: c.pin, Got: got}
			}
			return nil
		},
	}
}

// Address is the join address of the server.
func (c *Client) Address() string { return c.base.String() }

// Pin is the pin of the server.
func (c *Client) Pin() string { return c.pin.String() }

// Close gives up the connections that are kept.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request sends one request; the caller closes the body of an answer.
func (c *Client) Request(ctx context.Context, method, path, secret string, body any, header http.Header) (*http.Response, error) {
	var send io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		send = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, send)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.send(req, secret)
}

// send adds who asks. Answers that are no success come back as *protocol.Problem.
func (c *Client) send(req *http.Request, secret string) (*http.Response, error) {
	if secret != "" {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	if len(c.macs) > 0 {
		req.Header.Set(protocol.HeaderMAC, strings.Join(c.macs, ","))
	}
	sent := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.explain(err)
	}
	c.noteTime(sent, res.Header.Get("Date"))
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	p := &protocol.Problem{}
	b, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem)) // a short body is an empty problem
	if json.Unmarshal(b, p) != nil || p.Detail == "" {
		p = &protocol.Problem{Title: res.Status, Detail: fmt.Sprintf("%s answers %s to %s", c.base, res.Status, req.URL.Path)}
	}
	p.Status = res.StatusCode
	return nil, p
}

// noteTime compares the server's clock with this machine's. The answer was made
// about half way between request and answer, and its time is cut to seconds.
func (c *Client) noteTime(sent time.Time, date string) {
	at, err := http.ParseTime(date)
	if err != nil {
		return
	}
	here := sent.Add(time.Since(sent) / 2)
	c.skew.Store(int64(at.Add(time.Second / 2).Sub(here.Round(0))))
}

// Ahead is by how much the server's clock is ahead, as of its last answer.
func (c *Client) Ahead() time.Duration { return time.Duration(c.skew.Load()) }

// explain says what a failed connection means.
func (c *Client) explain(err error) error {
	if pin, ok := errors.AsType[*agent.PinError](err); ok {
		return pin
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return &reachError{fmt.Errorf("reach %s: nothing listens there (connection refused); check the address, and that castpoint serve runs", c.base)}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return &reachError{fmt.Errorf("reach %s: no answer; check the address, and that no firewall drops TCP port %s: %w", c.base, c.base.Port(), err)}
	}
	return &reachError{fmt.Errorf("reach %s: %w", c.base, err)}
}

// reachError says that the server gave no answer: it may be there again soon.
type reachError struct{ error }

func (r *reachError) Unwrap() error { return r.error }

// Silent says whether an error is that of a server that gave no answer.
func Silent(err error) bool {
	_, ok := errors.AsType[*reachError](err)
	return ok
}

// Away says whether an error is that of a server that is not there, or just going.
func Away(err error) bool {
	if _, ok := errors.AsType[*reachError](err); ok {
		return true
	}
	p, ok := errors.AsType[*protocol.Problem](err)
	return ok && (p.Status >= http.StatusInternalServerError || p.Status == http.StatusTooManyRequests)
}

// Pauses before a server that has given no answer is asked again; they double.
const (
	askPause     = 500 * time.Millisecond
	askPauseMost = 5 * time.Second
)

// Patience is how long a server that gives no answer is asked for a command that
// somebody waits for: the link of a switch port comes up to 30 s late where spanning
// tree is on, and a question for the server's hardware address (ARP) that is lost in a
// full queue costs 3 s (Linux' "no route to host").
const Patience = 40 * time.Second

// Reached asks until there is an answer, whichever, for the last time when patience is
// over; a negative patience asks once. again is told why it asks again, and when.
func Reached(ctx context.Context, patience time.Duration, again func(err error, pause time.Duration), ask func() error) error {
	pause := askPause
	for began := time.Now(); ; pause = min(2*pause, askPauseMost) {
		err := ask()
		if _, silent := errors.AsType[*reachError](err); !silent || ctx.Err() != nil {
			return err
		}
		if _, other := errors.AsType[tls.RecordHeaderError](err); other {
			return err // something else listens there, and will go on doing so
		}
		if since := time.Since(began); since+pause > patience {
			if since > askPause {
				err = &reachError{fmt.Errorf("%w (asked for %s)", err, since.Round(time.Second))}
			}
			return err
		}
		again(err, pause)
		if !Sleep(ctx, pause) {
			return context.Cause(ctx)
		}
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}

// Call is request with a JSON answer, within requestTime.
func (c *Client) Call(ctx context.Context, method, path, secret string, body, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	res, err := c.Request(ctx, method, path, secret, body, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(answer); err != nil {
		_, broken := errors.AsType[net.Error](err)
		err = fmt.Errorf("answer of %s to %s: %w", c.base, path, err)
		if broken || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			err = &reachError{err}
		}
		return err
	}
	return nil
}

// Join asks to be admitted.
func (c *Client) Join(ctx context.Context, req multicast.JoinRequest) (*multicast.Admission, error) {
	adm := &multicast.Admission{}
	if err := c.Call(ctx, http.MethodPost, multicast.PathJoin, "", req, adm); err != nil {
		return nil, err
	}
	if err := adm.Complete(); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base, err)
	}
	if f := adm.Session.Feedback; !f.IsValid() || f.Addr().IsUnspecified() {
		return nil, fmt.Errorf("answer of %s: it names no address for reports", c.base)
	}
	return adm, nil
}

// Leave tells the server how it ended. It works after ctx has ended, for a
// moment.
func (c *Client) Leave(ctx context.Context, ticket string, req multicast.LeaveRequest) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return c.Call(ctx, http.MethodPost, multicast.PathLeave, ticket, req, nil)
}

// Policy asks what the machine, or who has the token, is to do.
func (c *Client) Policy(ctx context.Context, secret string) (*protocol.Policy, error) {
	p := &protocol.Policy{}
	return p, c.Call(ctx, http.MethodGet, protocol.PathPolicy, secret, nil, p)
}

// Event tells what has happened. It works after ctx has ended, for a moment.
func (c *Client) Event(ctx context.Context, secret string, e protocol.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return c.Call(ctx, http.MethodPost, protocol.PathEvents, secret, e, nil)
}

// Put sends a file.
func (c *Client) Put(ctx context.Context, path, secret string, file io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base.String()+path, file)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := c.send(req, secret)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Doubt tells the server that a block of an object has another hash than it should.
// An error of kind *protocol.Problem says that it is damaged there.
func (c *Client) Doubt(ctx context.Context, ticket, object string, d multicast.Doubt) error {
	return c.Call(ctx, http.MethodPost, multicast.PathObject+object+multicast.PathDoubt, ticket, d, nil)
}

// HardwareAddresses are those of this machine's network cards, the one it booted
// from first.
func HardwareAddresses(booted string) (macs []string) {
	if booted != "" {
		macs = append(macs, strings.ToLower(booted))
	}
	all, err := net.Interfaces()
	if err != nil {
		return macs
	}
	for _, i := range all {
		if mac := i.HardwareAddr.String(); len(i.HardwareAddr) == 6 && i.Flags&net.FlagLoopback == 0 && !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs
}

// Sleep waits; it is false when ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
