// Command bench measures castpoint beside udpcast, uftp and unicast from nginx:
// one WIM to several receivers in the same virtual network, on the same machine,
// in one run.
//
// The programs of a cell take turns, so that what else the machine does meets
// them all. A run's time is from the start of the sending program, when all
// receivers are ready, to the moment when the last receiver has the complete
// file. Every received file is compared with the source; a run with a wrong file
// fails the benchmark. One machine plays server, switch and all receivers:
// compare the programs with each other, not with a real network.
//
// The cases behind -case have other questions than how fast: what one slow, killed
// or late receiver costs the others, whether every session starts under loss, what
// a TCP stream beside a session keeps, and what the sender alone costs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"castpoint/test/image"
)

// options are what the command line says.
type options struct {
	setup
	cells []cell
	cases []string
	only  []string
	runs  int
	dir   string
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

// parse reads the command line. Without -n, -rate and -loss all cells are run;
// with one of them, every combination of what is given; with -case alone, none.
func parse() (options, error) {
	o := options{setup: setup{limit: 3 * time.Minute}}
	n := flag.String("n", "4", "numbers of receivers, as in 4,8,16")
	rate := flag.String("rate", "1gbit", "rates of every link, as in 1gbit,200mbit; none for no limit")
	loss := flag.String("loss", "0", "packets that each receiver loses, percent, as in 0,1,5")
	names := flag.String("case", "", "other questions, as in "+strings.Join(caseNames(), ",")+"; all for all of them")
	only := flag.String("only", "", "programs to measure, as in castpoint,udpcast (default all: "+strings.Join(programNames(), ", ")+")")
	mib := flag.Int64("size", 256, "size of the file, MiB")
	flag.IntVar(&o.runs, "runs", 3, "runs of each program")
	flag.IntVar(&o.starts, "starts", 100, "sessions that the case starts begins")
	flag.StringVar(&o.castpoint, "castpoint", "bin/castpoint", "the castpoint program")
	flag.StringVar(&o.dir, "dir", "/dev/shm", "where the file and its copies go; memory, so that no disk is measured")
	flag.Parse()
	o.size = *mib << 20
	var err error
	if o.castpoint, err = filepath.Abs(o.castpoint); err != nil {
		return o, err
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(programNames(), name) {
			return o, fmt.Errorf("-only: no program %q; there are %s", name, strings.Join(programNames(), ", "))
		}
	}
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch {
	case given["n"] || given["rate"] || given["loss"]:
		for _, r := range strings.Split(*rate, ",") {
			for _, l := range strings.Split(*loss, ",") {
				for _, c := range strings.Split(*n, ",") {
					count, err1 := strconv.Atoi(c)
					share, err2 := strconv.ParseFloat(l, 64)
					if err := errors.Join(err1, err2); err != nil {
						return o, fmt.Errorf("-n %s -loss %s: %w", c, l, err)
					}
					o.cells = append(o.cells, cell{receivers: count, rate: strings.TrimPrefix(r, "none"), loss: share / 100})
				}
			}
		}
	case !given["case"]:
		o.cells = allCells
		o.cases = caseNames()
	}
	if *names == "all" {
		o.cases = caseNames()
	} else if *names != "" {
		o.cases = strings.Split(*names, ",")
	}
	return o, nil
}

func run(ctx context.Context) error {
	o, err := parse()
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(o.dir, "castpoint-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	o.source = filepath.Join(work, "source.wim")
	if err := image.Make(ctx, o.source, "bench", o.size); err != nil {
		return fmt.Errorf("make the file to send: %w", err)
	}
	info, err := os.Stat(o.source)
	if err != nil {
		return err
	}
	o.size, o.out = info.Size(), filepath.Join(work, "out")
	for _, c := range o.cells {
		if err := o.goodput(ctx, c); err != nil {
			return err
		}
	}
	for _, name := range o.cases {
		if err := o.runCase(ctx, name); err != nil {
			return fmt.Errorf("case %s: %w", name, err)
		}
	}
	return nil
}
