package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// distribution is castpoint serving the file, with tokens for all receivers.
type distribution struct {
	*point.Point
	setup   setup
	content string // id
	tokens  []string
}

// serve adds the file to a library and starts castpoint serve, always encrypted.
func serve(ctx context.Context, s setup, n *lab.Network, receivers int, args ...string) (*distribution, error) {
	p, err := point.New(n, s.castpoint)
	if err != nil {
		return nil, err
	}
	content, err := p.Add(ctx, "os-image", s.source, "--multicast", "--encrypt")
	if err != nil {
		return nil, err
	}
	if err := p.Serve(ctx, nil, quiet(args...)...); err != nil {
		return nil, err
	}
	d := &distribution{Point: p, setup: s, content: content.ID}
	return d, d.admit(ctx, receivers)
}

// quiet are the settings of a server that does nothing but sessions.
func quiet(args ...string) []string {
	return append([]string{"--dhcp", "off", "--log-level", "warn"}, args...)
}

// admit makes new tokens for so many receivers.
func (d *distribution) admit(ctx context.Context, receivers int) error {
	d.tokens = nil
	for range receivers {
		token, err := d.Token(ctx, d.content)
		if err != nil {
			return err
		}
		d.tokens = append(d.tokens, token)
	}
	return nil
}

// receive starts receiver i into its folder.
func (d *distribution) receive(i int, dir string, args ...string) (*lab.Process, error) {
	h := d.Network.Clients[i]
	return d.Receive(h, nil, d.content, d.tokens[i], filepath.Join(dir, filepath.Base(d.setup.source)), append([]string{"--name", h.Name}, args...)...)
}

// joined waits until a receiver has been admitted and has made room for the file.
func joined(ctx context.Context, p *lab.Process) error {
	_, err := p.Output.WaitFor(ctx, `"event":"joined"`, time.Minute)
	return err
}

// ready starts a receiver in each folder and waits until the session has them all.
func (d *distribution) ready(ctx context.Context, dirs []string, args ...string) ([]*lab.Process, error) {
	var receivers []*lab.Process
	for i := range dirs {
		r, err := d.receive(i, dirs[i], args...)
		if err != nil {
			return nil, err
		}
		receivers = append(receivers, r)
	}
	for _, r := range receivers {
		if err := joined(ctx, r); err != nil {
			return nil, err
		}
	}
	return receivers, nil
}

// begin starts the waiting session, as an operator does, and returns when that
// program was started.
func (d *distribution) begin() (time.Time, error) {
	start := time.Now()
	_, err := d.Network.Server.Start(lab.Command{Args: []string{d.Binary, "session", "start", d.content, "--now", "--data", d.Data}})
	return start, err
}

// ended waits until a receiver has ended well.
func ended(ctx context.Context, r *lab.Process) error {
	if code, err := r.Wait(ctx); err != nil || code != 0 {
		return errors.Join(fmt.Errorf("castpoint receive ended with code %d: %s", code, r.Output.Tail(5)), err)
	}
	return nil
}

// inPlace waits until the file is there under its final name.
func (s *setup) inPlace(ctx context.Context, dir string) error {
	return waitFor(ctx, func() (bool, error) {
		_, err := os.Stat(filepath.Join(dir, filepath.Base(s.source)))
		return err == nil, nil
	})
}

// never is a start rule that no run fulfils: the session is started by hand.
var never = []string{"--min-members", "1000", "--max-wait", "1h"}

// runCastpoint measures castpoint as the peers are measured: the receivers are
// ready, and the time begins with the start of the program that starts the
// session. It is always encrypted, and every block verified.
func runCastpoint(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	d, err := serve(ctx, s, n, len(dirs), never...)
	if err != nil {
		return result{}, err
	}
	receivers, err := d.ready(ctx, dirs)
	if err != nil {
		return result{}, err
	}
	start, err := d.begin()
	if err != nil {
		return result{}, err
	}
	return d.finish(ctx, start, receivers, dirs)
}

// runCold measures castpoint with everything that comes before: the time begins
// with the start of the receivers' processes, so their start, their join over
// TLS and the wait for the last of them are in it.
func runCold(ctx context.Context, s setup, n *lab.Network, dirs []string) (result, error) {
	d, err := serve(ctx, s, n, len(dirs), "--min-members", fmt.Sprint(len(dirs)), "--max-wait", "20s")
	if err != nil {
		return result{}, err
	}
	start := time.Now()
	var receivers []*lab.Process
	for i := range dirs {
		r, err := d.receive(i, dirs[i])
		if err != nil {
			return result{}, err
		}
		receivers = append(receivers, r)
	}
	return d.finish(ctx, start, receivers, dirs)
}

// finish waits for all files, and for the programs' good end.
func (d *distribution) finish(ctx context.Context, start time.Time, receivers []*lab.Process, dirs []string) (result, error) {
	for i, dir := range dirs {
		if err := d.setup.inPlace(ctx, dir); err != nil {
			return result{}, fmt.Errorf("%w: %s", err, receivers[i].Output.Tail(5))
		}
	}
	r := result{took: time.Since(start)}
	for _, p := range receivers {
		if err := ended(ctx, p); err != nil {
			return result{}, err
		}
		r.receiverCPU += p.CPU() / time.Duration(len(receivers))
	}
	if _, err := d.Server.Stop(); err != nil {
		return result{}, err
	}
	r.cpu = d.Server.CPU()
	return r, nil
}
