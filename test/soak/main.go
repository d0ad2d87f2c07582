// Command soak has a distribution point live through what networks and machines do
// to it, and says what was lost. In a closed network 30 machines boot, fetch, receive
// by multicast and run task sequences; they die in between, come back, and send
// rubbish to every port. Meanwhile the server is killed and started again, its disk
// filled and freed, its cable pulled and its address changed, and its clock set.
//
// Order of events:
//
//  1. kills: all of that for a third of the time; afterwards everything that was
//     promised is asked for (promises.go);
//  2. warming: the same without kills, in a new process of the server, until
//     everything has happened once; then the network is left alone until the server
//     is at rest, and what it holds is the baseline (usage.go);
//  3. wear: the rest of the time the same again, in the same process; then rest, and
//     it must hold what it held before; then the promises once more.
//
// A transfer must bring the right bytes, or end with an error that the server has
// stated; silence is excused only by a disturbance at that time (weather.go). That its
// clock is set is no excuse.
//
// The server and the commands on its host have a clock of their own (test/clock), which is
// right, set forward or back by seconds to years, put right again, or wrong when the server
// starts. The machine's clock is not touched, and machines in the network, and processes
// that the server starts, have that one; so have the times of files. Elsewhere than on Linux
// on amd64 the clock is never set, which the first lines say.
//
// What the machines and the disturbances do follows from -seed; when exactly it
// happens does not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// options are what the command line says.
type options struct {
	castpoint string
	length    time.Duration
	seed      uint64
	machines  int
	verbose   bool
	log       string
}

func main() {
	var o options
	var minutes float64
	flag.StringVar(&o.castpoint, "castpoint", "bin/castpoint", "the castpoint program")
	flag.Float64Var(&minutes, "minutes", 10, "how long, without the rests")
	flag.Uint64Var(&o.seed, "seed", 0, "what machines and disturbances do (default: by the clock; it is printed)")
	flag.IntVar(&o.machines, "machines", 30, "number of machines, at most 40")
	flag.BoolVar(&o.verbose, "verbose", false, "show what the server says")
	flag.StringVar(&o.log, "log", "", "file for what the server says")
	flag.Parse()
	o.length = time.Duration(minutes * float64(time.Minute))
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nsoak: seed %d: %v\n", o.seed, err)
		os.Exit(1)
	}
}

func (o *options) run(ctx context.Context) (err error) {
	if o.length < time.Minute || o.machines < 1 || o.machines > 40 {
		return errors.New("want at least a minute, and 1 to 40 machines")
	}
	if o.castpoint, err = filepath.Abs(o.castpoint); err != nil {
		return err
	}
	say("seed %d, %s, %d machines", o.seed, o.length, o.machines)
	s, err := newSoak(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if err := s.kills(ctx, o.length/3); err != nil {
		return err
	}
	if err := s.wear(ctx, o.length/5, o.length-o.length/3-o.length/5); err != nil {
		return err
	}
	return s.verdict()
}

var began = time.Now()

// say prints a line with the time since the beginning.
func say(format string, args ...any) {
	fmt.Printf("%7.1f  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}
