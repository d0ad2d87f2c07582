package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
)

// setup is what all runs have in common.
type setup struct {
	castpoint string // the binary
	cell
	size   int64  // of the file, bytes
	source string // path of the file
	out    string // folder of all receivers' folders
	limit  time.Duration
	starts int // of the case starts
}

// cell is a network to measure in.
type cell struct {
	receivers int
	rate      string  // of every link, as tc writes it; empty for no limit
	loss      float64 // share of packets that each receiver loses
}

func (c cell) String() string {
	rate := c.rate
	if rate == "" {
		rate = "unlimited"
	}
	return fmt.Sprintf("%d receivers, links %s, loss %g %%", c.receivers, rate, c.loss*100)
}

// allCells are those of docs/benchmarks.md.
var allCells = []cell{
	{1, "1gbit", 0}, {4, "1gbit", 0}, {8, "1gbit", 0}, {16, "1gbit", 0},
	{4, "1gbit", 0.01}, {4, "1gbit", 0.05}, {8, "200mbit", 0.01},
	{4, "", 0}, {8, "", 0},
}

// result is one run of one program.
type result struct {
	took        time.Duration // until the last receiver had the file
	cpu         time.Duration // of the sender
	receiverCPU time.Duration // of one receiver; 0 when the program does not end
	wire        float64       // bytes that left the server over bytes of the file
}

// program is one of the things measured.
type program struct {
	name  string // for -only
	title string
	run   func(context.Context, setup, *lab.Network, []string) (result, error)
}

func programs() []program {
	return []program{
		{"castpoint", "castpoint (AES-256-GCM)", runCastpoint},
		{"cold", "castpoint, from the start of its receivers", runCold},
		{"udpcast", "udpcast (plain)", runUdpcast},
		{"uftp", "uftp (plain)", runUftp},
		{"uftp-gcm", "uftp (AES-256-GCM)", runUftpEncrypted},
		{"nginx", "nginx, unicast (plain)", runNginx},
	}
}

func programNames() []string {
	var names []string
	for _, p := range programs() {
		names = append(names, p.name)
	}
	return names
}

// goodput measures all programs in a cell and prints its table.
func (o *options) goodput(ctx context.Context, c cell) error {
	s := o.setup
	s.cell = c
	list := programs()
	if len(o.only) > 0 {
		list = slices.DeleteFunc(list, func(p program) bool { return !slices.Contains(o.only, p.name) })
	}
	results := make([][]result, len(list))
	failed := make([]int, len(list))
	for i := range o.runs {
		for k, p := range list {
			r, err := s.measure(ctx, p)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				// A peer that does not get through is a result; castpoint has to.
				if p.name == "castpoint" || p.name == "cold" {
					return fmt.Errorf("%s, %s, run %d: %w", p.title, c, i+1, err)
				}
				fmt.Fprintf(os.Stderr, "%s, %s, run %d: %v\n", p.title, c, i+1, err)
				failed[k]++
				continue
			}
			fmt.Fprintf(os.Stderr, "run %d  %-42s %6.2f s  %4.0f Mbit/s  wire %.3f  CPU s: sender %.2f, receiver %.2f\n",
				i+1, p.title, r.took.Seconds(), s.rateOf(r), r.wire, r.cpu.Seconds(), r.receiverCPU.Seconds())
			results[k] = append(results[k], r)
		}
	}
	s.table(list, results, failed)
	return nil
}

// measure makes a network for one run and checks every file that came out.
func (s *setup) measure(ctx context.Context, p program) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	n, dirs, err := s.network(ctx)
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(s.out)
	before, err := n.Server.SentBytes()
	if err != nil {
		return result{}, errors.Join(err, n.Close())
	}
	r, err := p.run(ctx, *s, n, dirs)
	if err == nil {
		var after int64
		after, err = n.Server.SentBytes()
		r.wire = float64(after-before) / float64(s.size)
	}
	if err := errors.Join(err, n.Close()); err != nil {
		return result{}, err
	}
	return r, s.same(dirs)
}

// network makes the lab of a run, and a folder for each of its receivers.
func (s *setup) network(ctx context.Context) (*lab.Network, []string, error) {
	n, err := lab.New(ctx, lab.Config{Clients: s.receivers, Rate: s.rate, Loss: s.loss})
	if err != nil {
		return nil, nil, err
	}
	var dirs []string
	for i := range s.receivers {
		dirs = append(dirs, filepath.Join(s.out, fmt.Sprint(i+1)))
		if err := os.MkdirAll(dirs[i], 0o755); err != nil {
			return nil, nil, errors.Join(err, n.Close())
		}
	}
	return n, dirs, nil
}

// same compares every received file with the source.
func (s *setup) same(dirs []string) error {
	for _, d := range dirs {
		if err := image.Same(s.source, filepath.Join(d, filepath.Base(s.source))); err != nil {
			return err
		}
	}
	return nil
}

func (s *setup) rateOf(r result) float64 {
	return float64(s.size) * 8 / 1e6 / r.took.Seconds()
}

// table prints the medians, and castpoint's goodput over each program's, as
// Markdown.
func (s *setup) table(list []program, results [][]result, failed []int) {
	fmt.Printf("\n%d MiB to %s, medians of %d:\n\n", s.size>>20, s.cell, len(results[0]))
	fmt.Println("| program | time s | goodput Mbit/s (min-max) | wire bytes / file | sender CPU s | receiver CPU s | castpoint is |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|")
	var own float64
	for k, rs := range results {
		if len(rs) == 0 {
			fmt.Printf("| %s | none of %d runs got through | | | | | |\n", list[k].title, failed[k])
			continue
		}
		slices.SortFunc(rs, func(a, b result) int { return int(a.took - b.took) })
		m := rs[len(rs)/2]
		if k == 0 {
			own = s.rateOf(m)
		}
		cpu := "-"
		if m.receiverCPU > 0 {
			cpu = fmt.Sprintf("%.2f", m.receiverCPU.Seconds())
		}
		note := ""
		if failed[k] > 0 {
			note = fmt.Sprintf(", %d of %d runs failed", failed[k], failed[k]+len(rs))
		}
		fmt.Printf("| %s%s | %.2f | %.0f (%.0f-%.0f) | %.3f | %.2f | %s | %.2fx |\n", list[k].title, note, m.took.Seconds(), s.rateOf(m),
			s.rateOf(rs[len(rs)-1]), s.rateOf(rs[0]), m.wire, m.cpu.Seconds(), cpu, own/s.rateOf(m))
	}
}
