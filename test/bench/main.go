// Command bench measures castpoint beside udpcast and uftp: one WIM to several
// receivers in the same virtual network, on the same machine, in one run.
//
// The programs take turns, so that what else the machine does meets them all.
// A run's time is from the start of the sender (castpoint: of the receivers,
// which the server waits for) to the moment when the last receiver has the
// complete file. Every received file is compared with the source; a run with a
// wrong file fails the benchmark. One machine plays server, switch and all
// receivers: compare the programs with each other, not with a real network.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"castpoint/test/image"
	"castpoint/test/lab"
)

// setup is what all runs have in common.
type setup struct {
	castpoint string // the binary
	receivers int
	rate      string  // of every link, as tc writes it
	loss      float64 // share of packets that each receiver loses
	size      int64   // of the file, bytes
	source    string  // path of the file
	limit     time.Duration
}

// result is one run of one program.
type result struct {
	took   time.Duration // until the last receiver had the file
	cpu    time.Duration // of the sender
	wire   float64       // bytes that left the server over bytes of the file
	detail string
}

// program is one of the things measured.
type program struct {
	name string
	run  func(context.Context, setup, *lab.Network, []string) (result, error)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s := setup{limit: 2 * time.Minute}
	flag.StringVar(&s.castpoint, "castpoint", "bin/castpoint", "the castpoint program")
	flag.IntVar(&s.receivers, "receivers", 4, "number of receivers")
	flag.StringVar(&s.rate, "rate", "1gbit", "rate of every link; empty for no limit")
	loss := flag.Float64("loss", 0, "packets that each receiver loses, percent")
	mib := flag.Int64("size", 256, "size of the file, MiB")
	runs := flag.Int("runs", 3, "runs of each program")
	only := flag.String("only", "", "measure only this program")
	dir := flag.String("dir", "/dev/shm", "where the file and its copies go; memory, so that no disk is measured")
	flag.Parse()
	s.loss, s.size = *loss/100, *mib<<20

	var err error
	if s.castpoint, err = filepath.Abs(s.castpoint); err != nil {
		return err
	}
	work, err := os.MkdirTemp(*dir, "castpoint-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s.source = filepath.Join(work, "source.wim")
	if err := image.Make(ctx, s.source, "bench", s.size); err != nil {
		return fmt.Errorf("make the file to send: %w", err)
	}
	info, err := os.Stat(s.source)
	if err != nil {
		return err
	}
	s.size = info.Size()

	programs := []program{
		{"castpoint (AES-256-GCM)", runCastpoint},
		{"udpcast", runUdpcast},
		{"uftp", runUftp},
		{"uftp (AES-256-GCM)", runUftpEncrypted},
	}
	if *only != "" {
		programs = slices.DeleteFunc(programs, func(p program) bool { return p.name != *only })
	}
	results := make([][]result, len(programs))
	for i := range *runs {
		for k, p := range programs {
			r, err := measure(ctx, s, p, filepath.Join(work, "out"))
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", p.name, i+1, err)
			}
			fmt.Printf("run %d  %-24s %6.2f s  %4.0f Mbit/s  wire %.3f  sender CPU %.2f s  %s\n",
				i+1, p.name, r.took.Seconds(), s.goodput(r), r.wire, r.cpu.Seconds(), r.detail)
			results[k] = append(results[k], r)
		}
	}
	return s.table(os.Stdout, programs, results)
}

// measure makes a network for one run and checks every file that came out.
func measure(ctx context.Context, s setup, p program, out string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	n, err := lab.New(ctx, lab.Config{Clients: s.receivers, Rate: s.rate, Loss: s.loss})
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(out)
	var dirs []string
	for i := range s.receivers {
		dirs = append(dirs, filepath.Join(out, fmt.Sprint(i+1)))
		if err := os.MkdirAll(dirs[i], 0o755); err != nil {
			return result{}, errors.Join(err, n.Close())
		}
	}
	before, err := n.Server.SentBytes()
	if err != nil {
		return result{}, errors.Join(err, n.Close())
	}
	r, err := p.run(ctx, s, n, dirs)
	if err == nil {
		var after int64
		after, err = n.Server.SentBytes()
		r.wire = float64(after-before) / float64(s.size)
	}
	if err := errors.Join(err, n.Close()); err != nil {
		return result{}, err
	}
	for _, d := range dirs {
		if err := image.Same(s.source, filepath.Join(d, filepath.Base(s.source))); err != nil {
			return result{}, err
		}
	}
	return r, nil
}

func (s setup) goodput(r result) float64 {
	return float64(s.size) * 8 / 1e6 / r.took.Seconds()
}

// table prints the medians, and castpoint's goodput over each program's.
func (s setup) table(w io.Writer, programs []program, results [][]result) error {
	fmt.Fprintf(w, "\n%d MiB to %d receivers, links %s, loss %g %%, medians of %d runs\n\n",
		s.size>>20, s.receivers, s.rate, s.loss*100, len(results[0]))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "program\ttime s\tgoodput Mbit/s\t(min-max)\twire bytes / file\tsender CPU s\tcastpoint is\t")
	var own float64
	for k, rs := range results {
		slices.SortFunc(rs, func(a, b result) int { return int(a.took - b.took) })
		m := rs[len(rs)/2]
		if k == 0 {
			own = s.goodput(m)
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.0f\t%.0f-%.0f\t%.3f\t%.2f\t%.2fx\t\n", programs[k].name, m.took.Seconds(), s.goodput(m),
			s.goodput(rs[len(rs)-1]), s.goodput(rs[0]), m.wire, m.cpu.Seconds(), own/s.goodput(m))
	}
	return t.Flush()
}
