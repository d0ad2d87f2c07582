package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
	"castpoint/internal/lab"
	"castpoint/multicast"
)

// JoinPort is that of the join listener.
const JoinPort = 8443

// An Agent is a machine that runs a task sequence: it says what an agent says and
// does nothing. It is for one goroutine at a time.
type Agent struct {
	MAC string
	// Pause is between two steps.
	Pause time.Duration
	// Before is called when the step with that number was reported as started; nil for
	// nothing.
	Before func(number int)
	// Took are the times from each request to its answer.
	Took []time.Duration
	// Repeated says why requests were repeated, one error for each time.
	Repeated []error

	http *http.Client
}

// repeatAfter is how long an agent waits before it repeats a request.
const repeatAfter = 300 * time.Millisecond

var tokenWord = regexp.MustCompile(`castpoint\.token=(\S+)`)

// join is where agents talk to the server of a lab.
var join = "https://" + netip.AddrPortFrom(lab.ServerAddr, JoinPort).String()

// NewAgent returns a machine that talks from the host h and has that MAC.
func NewAgent(h *lab.Host, mac string) *Agent {
	return &Agent{MAC: mac, http: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return nil, err
			}
			return Dial(ctx, h, to)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, // the pin is the real agent's business
	}}}
}

// Close closes its connections.
func (a *Agent) Close() { a.http.CloseIdleConnections() }

// Run boots the machine and runs the sequence of its deployment to the end. It
// repeats each request until it is answered.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Close()
	run, err := a.Begin(ctx)
	if err != nil {
		return err
	}
	leaves := run.Sequence.Leaves()
	for _, l := range leaves {
		kind, _ := l.Step.Action()
		say := func(state string, percent float64) error {
			return a.Call(ctx, http.MethodPost, protocol.PathStep, run.Ticket, protocol.StepStatus{
				Run: run.ID, Path: l.Path, Number: l.Number, Total: len(leaves), Kind: kind, State: state, Percent: percent, Output: "what it printed\n",
			}, nil)
		}
		if err := say(protocol.StepStarted, 0); err != nil {
			return err
		}
		if a.Before != nil {
			a.Before(l.Number)
		}
		if err := a.work(ctx, run, kind); err != nil {
			return fmt.Errorf("step %s: %w", l.Path, err)
		}
		if err := errors.Join(say(protocol.StepProgress, 50), say(protocol.StepDone, 100)); err != nil {
			return err
		}
		select {
		case <-time.After(a.Pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return a.Call(ctx, http.MethodPost, protocol.PathEnd, run.Ticket, protocol.RunEnd{Run: run.ID, State: protocol.RunSucceeded}, nil)
}

// Begin boots the machine, takes the token out of its boot script, and begins the run
// or goes on with it.
func (a *Agent) Begin(ctx context.Context) (run protocol.Run, err error) {
	script, err := a.ask(ctx, http.MethodGet, fmt.Sprintf("http://%s/ipxe/efi-x64/%s", netip.AddrPortFrom(lab.ServerAddr, HTTPPort), strings.ReplaceAll(a.MAC, ":", "-")), "", nil)
	if err != nil {
		return run, err
	}
	token := tokenWord.FindSubmatch(script)
	if token == nil {
		return run, fmt.Errorf("no token in the script:\n%s", script)
	}
	secret := string(token[1])
	var policy protocol.Policy
	if err := a.Call(ctx, http.MethodGet, protocol.PathPolicy, secret, nil, &policy); err != nil {
		return run, err
	}
	if policy.Action != protocol.ActionRun {
		return run, fmt.Errorf("policy %+v", policy)
	}
	err = a.Call(ctx, http.MethodPost, protocol.PathRun, secret, protocol.RunRequest{Nonce: rand.Text(), Environment: sequence.EnvironmentLinux,
		Facts: sequence.Facts{Manufacturer: "castpoint", Model: "simulated", Memory: 4096, Architecture: "amd64"}}, &run)
	return run, err
}

// work does what a step has the server do.
func (a *Agent) work(ctx context.Context, run protocol.Run, kind string) error {
	switch kind {
	case "apply-image":
		f := run.Contents[0].Files[0]
		got, err := a.ask(ctx, http.MethodGet, join+multicast.PathObject+f.SHA256, run.Ticket, nil)
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(got); hex.EncodeToString(sum[:]) != f.SHA256 {
			return fmt.Errorf("another image than %s came, of %d bytes", f.SHA256, len(got))
		}
	case "copy-log":
		_, err := a.ask(ctx, http.MethodPut, join+protocol.PathLog+"sequence.log", run.Ticket, bytes.Repeat([]byte("line of a log\n"), 500))
		return err
	}
	return nil
}

// Call sends a request to the join listener until it is answered; body and answer are
// JSON, nil for none.
func (a *Agent) Call(ctx context.Context, method, path, secret string, body, answer any) error {
	var send []byte
	if body != nil {
		var err error
		if send, err = json.Marshal(body); err != nil {
			return err
		}
	}
	got, err := a.ask(ctx, method, join+path, secret, send)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(got, answer)
}

// ask sends a request until it is answered, as an agent does: one that the server
// could not carry out (5xx) is repeated, too.
func (a *Agent) ask(ctx context.Context, method, url, secret string, body []byte) ([]byte, error) {
	for {
		began := time.Now()
		got, err := a.once(ctx, method, url, secret, body)
		var answered *protocol.Problem
		if err == nil || errors.As(err, &answered) && answered.Status < 500 || ctx.Err() != nil {
			a.Took = append(a.Took, time.Since(began))
			return got, err
		}
		a.Repeated = append(a.Repeated, err)
		select {
		case <-time.After(repeatAfter):
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

func (a *Agent) once(ctx context.Context, method, url, secret string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set(protocol.HeaderMAC, a.MAC)
	res, err := a.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		p := &protocol.Problem{Detail: string(got)}
		_ = json.Unmarshal(got, p) // what is no problem is its text
		p.Status = res.StatusCode
		return nil, fmt.Errorf("%s %s: status %d: %w", method, url, res.StatusCode, p)
	}
	return got, err
}
