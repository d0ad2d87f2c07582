//go:build !windows

package agent

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"castpoint/agent/protocol"
	bootpkg "castpoint/boot"
	"castpoint/web"
)

// TestProbe measures the loopback interface: everything arrives.
func TestProbe(t *testing.T) {
	s := newServer(t, blockSize, free, func(c *web.Config) { c.Sessions.Rate = 100e6 })
	secret := s.token(t)
	o := ProbeOptions{Server: s.url, Pin: s.Identity().Pin.String(), Token: secret, Interface: "lo", For: 2 * time.Second}
	res, err := Probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Reached || res.Loss > 0.01 || res.LossOf != probeLoss || res.MTU != 9216 || res.Repeated != 0 {
		t.Errorf("%+v", res)
	}
	if !res.Capped || res.RateMost != 100e6 || res.Rate < 50e6 || res.Burst < 44 || res.Watched < 1 || res.Stopped != 0 {
		t.Errorf("%+v", res)
	}
	// The token is as good as before.
	if _, err := Receive(t.Context(), Options{Server: s.url, Pin: o.Pin, Token: secret, Out: t.TempDir() + "/out", Interface: "lo"}); err != nil {
		t.Error(err)
	}
	o.Token = "none-such-token"
	if _, err := Probe(t.Context(), o); ExitCode(err) != ExitRefused {
		t.Errorf("a token that is none: %v", err)
	}
	o.Token = ""
	if _, err := Probe(t.Context(), o); ExitCode(err) != ExitUsage {
		t.Errorf("no token: %v", err)
	}
}

// TestProbeIsBounded: a machine cannot ask for more than a probe is.
func TestProbeIsBounded(t *testing.T) {
	s := newServer(t, blockSize, free, func(c *web.Config) { c.Sessions.Rate = 100e6 })
	a, b := s.token(t), s.token(t)
	c, err := newClient(s.url, s.Identity().Pin.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	p := &probing{o: ProbeOptions{Token: a}, client: c}
	ask := func(secret string, path string, body, answer any) *protocol.Problem {
		t.Helper()
		err := c.call(t.Context(), http.MethodPost, path, secret, body, answer)
		var problem *protocol.Problem
		if err != nil && !errors.As(err, &problem) {
			t.Fatal(err)
		}
		return problem
	}
	if p := ask(a, "/v1/probe", nil, &p.offer); p != nil {
		t.Fatal(p)
	}
	if p := ask(b, "/v1/probe", nil, nil); p == nil || p.Code != protocol.CodeTooMany {
		t.Errorf("a second machine at the same time: %v", p)
	}
	type train map[string]any
	for name, tr := range map[string]train{
		"too fast":       {"count": 10, "size": 1000, "rate": 1e9},
		"too long":       {"count": 1000, "size": 1000, "rate": 1000},
		"too many":       {"count": 10_000_000, "size": 100, "rate": 1e8},
		"none":           {"count": 0, "size": 100, "rate": 1e6},
		"too large":      {"count": 1, "size": 65000, "rate": 1e6},
		"too small":      {"count": 1, "size": 20, "rate": 1e6},
		"without a rate": {"count": 1, "size": 100},
	} {
		tr["id"], tr["train"] = p.offer.ID, 1
		if p := ask(a, "/v1/probe/train", tr, nil); p == nil || p.Status != http.StatusBadRequest {
			t.Errorf("%s: %v", name, p)
		}
	}
	boot, err := s.BootToken(t.Context(), bootpkg.Client{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 9}})
	if err != nil {
		t.Fatal(err)
	}
	if p := ask(boot.Token, "/v1/probe", nil, nil); p == nil || p.Code != protocol.CodeTokenOther {
		t.Errorf("a token made for a boot: %v", p)
	}
	if p := ask(b, "/v1/probe/train", train{"id": p.offer.ID, "train": 1, "count": 1, "size": 100, "rate": 1e6}, nil); p == nil || p.Status != http.StatusNotFound {
		t.Errorf("a train of another machine's probe: %v", p)
	}
}
