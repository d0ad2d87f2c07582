//go:build !windows

package probe

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"castpoint/agent"
	"castpoint/agent/client"
	"castpoint/agent/protocol"
	"castpoint/agent/receive"
	bootpkg "castpoint/boot"
	"castpoint/test/joinserver"
	"castpoint/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestProbe measures the loopback interface: everything arrives.
func TestProbe(t *testing.T) {
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, func(c *web.Config) { c.Sessions.Rate = 100e6 })
	secret := s.Token(t)
	o := Options{Server: s.URL, Pin: s.Identity().Pin.String(), Token: secret, Interface: "lo", For: 2 * time.Second}
	res, err := Measure(t.Context(), o)
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
	if _, err := receive.Receive(t.Context(), receive.Options{Server: s.URL, Pin: o.Pin, Token: secret, Out: t.TempDir() + "/out", Interface: "lo"}); err != nil {
		t.Error(err)
	}
	o.Token = "none-such-token"
	if _, err := Measure(t.Context(), o); agent.ExitCode(err) != agent.ExitRefused {
		t.Errorf("a token that is none: %v", err)
	}
	o.Token = ""
	if _, err := Measure(t.Context(), o); agent.ExitCode(err) != agent.ExitUsage {
		t.Errorf("no token: %v", err)
	}
}

// TestProbeIsBounded: a machine cannot ask for more than a probe is.
func TestProbeIsBounded(t *testing.T) {
	s := joinserver.New(t, joinserver.BlockSize, joinserver.Multicast, func(c *web.Config) { c.Sessions.Rate = 100e6 })
	a, b := s.Token(t), s.Token(t)
	c, err := client.New(s.URL, s.Identity().Pin.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &probing{o: Options{Token: a}, client: c}
	ask := func(secret string, path string, body, answer any) *protocol.Problem {
		t.Helper()
		err := c.Call(t.Context(), http.MethodPost, path, secret, body, answer)
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
