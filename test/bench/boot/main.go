// Command boot measures castpoint's TFTP and HTTP beside other servers: the same
// file by the same client in the same virtual network, on the same machine, in
// one run.
//
// The servers take turns, so that what else the machine does meets them all; a
// number is the median of the runs, and beside it stands how far the runs are
// apart. One machine plays server, switch and clients: compare the servers with
// each other, not with a real network.
//
// TFTP runs over links of 1 Gbit/s. The round trip is lengthened in the client,
// which holds each acknowledgement back for the given time: a TFTP server that
// has sent a window does nothing until it is acknowledged, so it cannot tell
// this from a longer cable. A transfer is ended after -seconds, because a file
// takes minutes in lock-step at 1 ms; one that comes to its end is compared with
// the source. Clients ask for blocks of 1468 bytes.
//
// HTTP runs over links without a limit and with segmentation offload, as network
// cards have it. Clients fetch the file again and again for -seconds and drop
// the bytes in the kernel (MSG_TRUNC), so that the server is what is measured.
//
// The processor time is that of the server's processes, user and system. On
// these links it contains the switch and a part of the client's kernel: what a
// packet causes on its way is done by who sent it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"castpoint/internal/lab"
)

// setup is what all runs have in common.
type setup struct {
	self    string // this program, for the clients
	paths   map[string]string
	root    string // folder with the file
	size    int64
	crc     uint32
	seconds time.Duration
	runs    int
	only    *regexp.Regexp
}

const fileName = "image.bin"

func main() {
	if len(os.Args) > 1 && os.Args[1] == "client" {
		if err := client(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "client:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s := setup{paths: make(map[string]string)}
	for _, p := range [][2]string{
		{"castpoint", "bin/castpoint"}, {"dnsmasq", "bin/peers/bin/dnsmasq"}, {"atftpd", "bin/peers/bin/atftpd"},
		{"tftpd-hpa", "bin/peers/bin/in.tftpd"}, {"nginx", "bin/peers/bin/nginx"},
	} {
		flag.Func(p[0], "the `PROGRAM` (default "+p[1]+")", func(v string) error { s.paths[p[0]] = v; return nil })
		s.paths[p[0]] = p[1]
	}
	mib := flag.Int64("size", 512, "size of the file, MiB")
	flag.IntVar(&s.runs, "runs", 3, "runs of each measurement")
	flag.DurationVar(&s.seconds, "seconds", 10*time.Second, "when a transfer is ended, or how long HTTP clients go on")
	only := flag.String("only", "", "measure only what this regular expression matches, as in 'tftp.*1ms'")
	dir := flag.String("dir", "/dev/shm", "where the file goes; memory, so that no disk is measured")
	flag.Parse()
	s.size = *mib << 20

	var err error
	if s.only, err = regexp.Compile(*only); err != nil {
		return err
	}
	if s.self, err = os.Executable(); err != nil {
		return err
	}
	for name, path := range s.paths {
		if s.paths[name], err = filepath.Abs(path); err != nil {
			return err
		}
	}
	if s.root, err = os.MkdirTemp(*dir, "castpoint-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(s.root)
	if err := os.Chmod(s.root, 0o755); err != nil { // nginx and tftpd-hpa read it as other users
		return err
	}
	if s.crc, err = makeFile(filepath.Join(s.root, fileName), s.size); err != nil {
		return fmt.Errorf("make the file: %w", err)
	}
	if err := s.tftp(ctx); err != nil {
		return err
	}
	return s.http(ctx)
}

// makeFile makes a file of random bytes, the same in every run.
func makeFile(path string, size int64) (crc uint32, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	var seed [32]byte
	copy(seed[:], "castpoint")
	_, err = io.CopyN(io.MultiWriter(f, sum), rand.NewChaCha8(seed), size)
	return sum.Sum32(), errors.Join(err, f.Chmod(0o644), f.Close())
}

// tftp measures the TFTP servers and prints the tables.
func (s *setup) tftp(ctx context.Context) error {
	type row struct {
		clients, window int
		delay           time.Duration
		servers         []server
	}
	all := []server{castpoint, dnsmasq, atftpd, tftpdHPA}
	var rows []row
	for _, delay := range []time.Duration{100 * time.Microsecond, time.Millisecond} {
		for _, clients := range []int{1, 16} {
			rows = append(rows, row{clients, 1, delay, all})
			for _, window := range []int{4, 16, 64} {
				rows = append(rows, row{clients, window, delay, all[:1]})
			}
		}
	}
	n, err := newLab(ctx, lab.Config{Clients: 1, Rate: "1gbit"})
	if err != nil {
		return err
	}
	defer n.Close()
	var t table
	for _, r := range rows {
		for _, srv := range r.servers {
			m := measurement{
				server: srv.name, clients: r.clients, window: r.window, delay: r.delay,
				name: fmt.Sprintf("tftp %s clients=%d window=%d rtt=%s", srv.name, r.clients, r.window, r.delay),
			}
			if s.only.MatchString(m.name) {
				t.rows = append(t.rows, &m)
				m.run = func() (result, error) {
					return s.one(ctx, n, srv, "tftp", fmt.Sprint(r.clients), fmt.Sprint(r.window), r.delay.String())
				}
			}
		}
	}
	if err := t.measure(s.runs); err != nil || len(t.rows) == 0 {
		return err
	}
	return t.printTFTP(os.Stdout, s)
}

// newLab makes a network that keeps packets in order. A virtual cable queues a
// packet on the processor that sends it, so that two of a kind overtake each other
// when the sender moves from one to another, as no cable lets them. Steering by
// flow (RPS) gives each flow one queue.
func newLab(ctx context.Context, c lab.Config) (*lab.Network, error) {
	n, err := lab.New(ctx, c)
	if err != nil {
		return nil, err
	}
	mask := fmt.Sprintf("%x", uint64(1)<<min(runtime.NumCPU(), 32)-1)
	for _, h := range []*lab.Host{n.Server, n.Switch, n.Clients[0]} {
		said, code, err := h.Run(ctx, "/bin/sh", "-c", "for f in /sys/class/net/*/queues/rx-0/rps_cpus; do echo "+mask+" >$f || exit 1; done")
		if err != nil || code != 0 {
			return nil, errors.Join(fmt.Errorf("steer packets on %s: code %d, %w: %s", h.Name, code, err, said), n.Close())
		}
	}
	return n, nil
}

// http measures castpoint beside nginx and prints the table.
func (s *setup) http(ctx context.Context) error {
	n, err := newLab(ctx, lab.Config{Clients: 1, Offload: true})
	if err != nil {
		return err
	}
	defer n.Close()
	var t table
	for _, clients := range []int{1, 64} {
		for _, srv := range []server{castpoint, nginx} {
			m := measurement{server: srv.name, clients: clients, name: fmt.Sprintf("http %s clients=%d", srv.name, clients)}
			if s.only.MatchString(m.name) {
				t.rows = append(t.rows, &m)
				m.run = func() (result, error) { return s.one(ctx, n, srv, "http", fmt.Sprint(clients), srv.port, "0s") }
			}
		}
	}
	if err := t.measure(s.runs); err != nil || len(t.rows) == 0 {
		return err
	}
	return t.printHTTP(os.Stdout, s)
}

// one is one run: a fresh server, the clients, and the server's processor time
// in between.
func (s *setup) one(ctx context.Context, n *lab.Network, srv server, kind string, args ...string) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.seconds+time.Minute)
	defer cancel()
	proc, err := srv.start(ctx, s, n)
	if err != nil {
		return result{}, err
	}
	// By a signal and not by force: nginx would leave its workers behind.
	defer func() { _, _ = proc.Stop() }()
	before, err := cpuTime(proc.Pid())
	if err != nil {
		return result{}, err
	}
	p, err := n.Clients[0].Start(lab.Command{
		Args: append([]string{s.self, "client", kind, lab.ServerAddr.String(), fileName, s.seconds.String()}, args...),
		Env:  []string{"GOGC=off"},
	})
	if err != nil {
		return result{}, err
	}
	// The clients keep their transfers for a moment after they have said how it
	// went: the time of processes that ended unwaited-for is lost (tftpd-hpa has
	// one for each transfer).
	if _, err := p.Stdout.WaitFor(ctx, `\}\n`, 2*s.seconds+30*time.Second); err != nil {
		return result{}, fmt.Errorf("client: %w: %s; server: %s", err, p.Output.Tail(5), proc.Output.Tail(5))
	}
	after, err := cpuTime(proc.Pid())
	if err != nil {
		return result{}, err
	}
	if code, err := p.Wait(ctx); err != nil || code != 0 {
		return result{}, fmt.Errorf("client ended with code %d: %w: %s", code, err, p.Output.Tail(5))
	}
	r, err := parseResult(p.Stdout.String())
	r.CPU = after - before
	if err == nil && r.Complete > 0 && r.CRC != s.crc {
		err = fmt.Errorf("the file arrived with checksum %08x, want %08x", r.CRC, s.crc)
	}
	return r, err
}
