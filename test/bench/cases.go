package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// Cases ask castpoint what its peers have no good answer to. Each prints a line or
// more for docs/benchmarks.md.
var cases = []struct {
	name string
	run  func(context.Context, setup) error
}{
	{"slow", caseSlow},
	{"killed", caseKilled},
	{"late", caseLate},
	{"starts", caseStarts},
	{"polite", casePolite},
	{"sender", caseSender},
}

func caseNames() []string {
	var names []string
	for _, c := range cases {
		names = append(names, c.name)
	}
	return names
}

func (o *options) runCase(ctx context.Context, name string) error {
	for _, c := range cases {
		if c.name == name {
			fmt.Fprintf(os.Stderr, "case %s\n", name)
			s := o.setup
			defer os.RemoveAll(s.out)
			return c.run(ctx, s)
		}
	}
	return fmt.Errorf("no such case; there are %v", caseNames())
}

// waiting makes a network and a server whose session waits to be started by hand.
func (s *setup) waiting(ctx context.Context, receivers int, rate string, loss float64) (*lab.Network, *distribution, []string, error) {
	s.cell = cell{receivers: receivers, rate: rate, loss: loss}
	n, dirs, err := s.network(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	d, err := serve(ctx, *s, n, receivers, never...)
	if err != nil {
		return nil, nil, nil, errors.Join(err, n.Close())
	}
	return n, d, dirs, nil
}

// undisturbed is how long a session takes in which nothing happens.
func (s setup) undisturbed(ctx context.Context, receivers int, rate string) (time.Duration, error) {
	s.cell = cell{receivers: receivers, rate: rate}
	r, err := s.measure(ctx, programs()[0])
	return r.took, err
}

// wait is when the last of the folders has its file.
func (s *setup) wait(ctx context.Context, start time.Time, dirs []string) (time.Duration, error) {
	for _, dir := range dirs {
		if err := s.inPlace(ctx, dir); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}

// caseSlow gives one of four receivers a link of 100 Mbit/s.
func caseSlow(ctx context.Context, s setup) error {
	without, err := s.undisturbed(ctx, 4, "1gbit")
	if err != nil {
		return err
	}
	n, d, dirs, err := s.waiting(ctx, 4, "1gbit", 0)
	if err != nil {
		return err
	}
	defer n.Close()
	if err := n.SetRate(ctx, n.Clients[0], "100mbit"); err != nil {
		return err
	}
	receivers, err := d.ready(ctx, dirs)
	if err != nil {
		return err
	}
	before, err := n.Server.SentBytes()
	if err != nil {
		return err
	}
	start, err := d.begin()
	if err != nil {
		return err
	}
	others, err := s.wait(ctx, start, dirs[1:])
	if err != nil {
		return err
	}
	after, err := n.Server.SentBytes()
	if err != nil {
		return err
	}
	if err := ended(ctx, receivers[0]); err != nil {
		return err
	}
	slow := time.Since(start)
	fmt.Printf("\none of four receivers at 100 Mbit/s: the others %.2f s (%.2f s without it, %.2fx), wire %.3f until then; the slow one %.1f s\n",
		others.Seconds(), without.Seconds(), others.Seconds()/without.Seconds(), float64(after-before)/float64(s.size), slow.Seconds())
	return s.same(dirs)
}

// caseKilled kills one of four receivers in the middle, and takes its cable away.
func caseKilled(ctx context.Context, s setup) error {
	without, err := s.undisturbed(ctx, 4, "1gbit")
	if err != nil {
		return err
	}
	n, d, dirs, err := s.waiting(ctx, 4, "1gbit", 0)
	if err != nil {
		return err
	}
	defer n.Close()
	receivers, err := d.ready(ctx, dirs)
	if err != nil {
		return err
	}
	start, err := d.begin()
	if err != nil {
		return err
	}
	time.Sleep(without / 2)
	receivers[0].Kill()
	if err := n.Unplug(ctx, n.Clients[0]); err != nil {
		return err
	}
	others, err := s.wait(ctx, start, dirs[1:])
	if err != nil {
		return err
	}
	fmt.Printf("\none of four receivers killed after %.1f s: the others %.2f s (%.2f s without it, %+.2f s)\n",
		(without / 2).Seconds(), others.Seconds(), without.Seconds(), (others - without).Seconds())
	return s.same(dirs[1:])
}

// caseLate starts one of four receivers when the others have been receiving for
// most of their time: ten seconds, on links of 200 Mbit/s.
func caseLate(ctx context.Context, s setup) error {
	without, err := s.undisturbed(ctx, 3, "200mbit")
	if err != nil {
		return err
	}
	n, d, dirs, err := s.waiting(ctx, 4, "200mbit", 0)
	if err != nil {
		return err
	}
	defer n.Close()
	if _, err := d.ready(ctx, dirs[:3]); err != nil {
		return err
	}
	start, err := d.begin()
	if err != nil {
		return err
	}
	late := min(10*time.Second, without*8/10)
	time.Sleep(late)
	r, err := d.receive(3, dirs[3])
	if err != nil {
		return err
	}
	others, err := s.wait(ctx, start, dirs[:3])
	if err != nil {
		return err
	}
	if err := ended(ctx, r); err != nil {
		return err
	}
	fmt.Printf("\none of four receivers %.1f s late, links 200mbit: the others %.2f s (%.2f s without it, %.2fx); the late one has the file %.2f s after its start, in the same session\n",
		late.Seconds(), others.Seconds(), without.Seconds(), others.Seconds()/without.Seconds(), (time.Since(start) - late).Seconds())
	return s.same(dirs)
}

// caseStarts begins many sessions of a small file under 5 % loss. Each has a server
// that was just started: a session of the same content would take the receivers in.
func caseStarts(ctx context.Context, s setup) error {
	s.source = filepath.Join(filepath.Dir(s.source), "small.wim")
	if err := image.Make(ctx, s.source, "small", 4<<20); err != nil {
		return err
	}
	n, d, dirs, err := s.waiting(ctx, 4, "1gbit", 0.05)
	if err != nil {
		return err
	}
	defer n.Close()
	good := 0
	var worst time.Duration
	for i := range s.starts {
		took, err := d.start(ctx, dirs)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "start %d: %v\n", i+1, err)
			continue
		}
		good++
		worst = max(worst, took)
	}
	fmt.Printf("\nstarts of a session of 4 receivers at 5 %% loss, 4 MiB: %d of %d; the slowest was done in %.2f s\n", good, s.starts, worst.Seconds())
	if good < s.starts {
		return fmt.Errorf("%d of %d sessions did not start", s.starts-good, s.starts)
	}
	return nil
}

// start runs one session on a new server, from the start of its receivers on.
func (d *distribution) start(ctx context.Context, dirs []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := d.Server.Stop(); err != nil {
		return 0, err
	}
	if err := d.Serve(ctx, nil, quiet("--min-members", fmt.Sprint(len(dirs)), "--max-wait", "20s")...); err != nil {
		return 0, err
	}
	if err := d.admit(ctx, len(dirs)); err != nil {
		return 0, err
	}
	start := time.Now()
	var receivers []*lab.Process
	for i, dir := range dirs {
		r, err := d.receive(i, dir, "--force", "--no-unicast")
		if err != nil {
			return 0, err
		}
		receivers = append(receivers, r)
	}
	for _, r := range receivers {
		if err := ended(ctx, r); err != nil {
			return 0, err
		}
	}
	return time.Since(start), d.setup.same(dirs)
}
