package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"castpoint/test/lab"
	"castpoint/test/point"
)

// runCastpoint measures castpoint as it is, always encrypted and verified. Its
// time begins with the start of the receivers, so their start, their join over
// TLS and the wait for the last of them are in it; the peers' receivers are
// ready before their time begins.
func runCastpoint(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	p, err := point.New(n, s.castpoint)
	if err != nil {
		return result{}, err
	}
	content, err := p.Add(ctx, "os-image", s.source, "--multicast", "--encrypt")
	if err != nil {
		return result{}, err
	}
	args := []string{"--dhcp", "off", "--log-level", "warn", "--min-members", fmt.Sprint(len(dirs)), "--max-wait", "20s"}
	if err := p.Serve(ctx, nil, args...); err != nil {
		return result{}, err
	}
	var tokens []string
	for range dirs {
		token, err := p.Token(ctx, content.ID)
		if err != nil {
			return result{}, err
		}
		tokens = append(tokens, token)
	}
	start := time.Now()
	var receivers []*lab.Process
	for i, h := range n.Clients {
		r, err := p.Receive(h, nil, content.ID, tokens[i], filepath.Join(dirs[i], filepath.Base(s.source)), "--name", h.Name)
		if err != nil {
			return result{}, err
		}
		receivers = append(receivers, r)
	}
	for _, r := range receivers {
		if code, err := r.Wait(ctx); err != nil || code != 0 {
			return result{}, errors.Join(fmt.Errorf("castpoint receive ended with code %d: %s", code, r.Output.Tail(5)), err)
		}
	}
	took := time.Since(start)
	if _, err := p.Server.Stop(); err != nil {
		return result{}, err
	}
	return result{took: took, cpu: p.Server.CPU()}, nil
}
