// Command load puts everything on one castpoint at once, hundreds of machines that
// fetch by HTTP and by TFTP, a storm of DHCP, and a multicast session, and looks
// whether each keeps the share that docs/operations.md states:
//
//   - DHCP: a machine that asks is answered within dhcpLimit, 99 of 100 times, and
//     none goes without;
//   - TFTP: every transfer ends well, and no client waits longer than tftpLimit for
//     its next window: firmware repeats itself after a second and gives up after a
//     few of them;
//   - HTTP: every download ends well, and none stands still longer than httpLimit;
//   - TFTP and HTTP: the slowest client takes at most slowLimit times as long as the
//     median one;
//   - the session sends at its min-rate at least, of which members get bytesOfFile, and
//     every member has the file.
//
// The server's link is the bottleneck, as it is in a room; its rate is -rate. One
// machine plays server, switch and all clients. Every file that arrives is compared
// by its hash.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"golang.org/x/sync/errgroup"

	"castpoint/internal/lab"
	"castpoint/test/client"
	"castpoint/test/image"
	"castpoint/test/point"
)

// What castpoint promises.
const (
	dhcpLimit = 500 * time.Millisecond
	tftpLimit = 4 * time.Second
	httpLimit = 10 * time.Second
	slowLimit = 4.0
	// bytesOfFile is how much of a session's least rate members get at least: the rate is
	// that of packets, of which 6 % are headers, and of the rest some repairs what was
	// lost.
	bytesOfFile = 0.85
)

// Hosts of the network. The limits of castpoint are by address, 32 transfers and 128
// connections; so many hosts have a share of the clients each.
const (
	fetchers = 20
	members  = 4
)

// options are what the command line says.
type options struct {
	castpoint  string
	http, tftp int
	storm      int   // DISCOVER per second
	size       int64 // of what is fetched, bytes
	session    int64 // of what is sent, bytes
	rate       string
	queue      string
	minRate    string
	limit      time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.castpoint, "castpoint", "bin/castpoint", "the castpoint program")
	flag.IntVar(&o.http, "http", 500, "clients by HTTP")
	flag.IntVar(&o.tftp, "tftp", 500, "clients by TFTP")
	flag.IntVar(&o.storm, "storm", 500, "DISCOVER per second, of as many machines")
	kib := flag.Int64("size", 1024, "size of what each of them fetches, KiB")
	mib := flag.Int64("session", 64, "size of what the session sends, MiB")
	flag.StringVar(&o.rate, "rate", "1gbit", "rate of the server's link; none for no limit")
	flag.StringVar(&o.queue, "queue", "pfifo_fast", "queue of the server's link below that rate: pfifo_fast, fq_codel, pfifo")
	flag.StringVar(&o.minRate, "min-rate", "50mbit", "what the session does not go below")
	flag.DurationVar(&o.limit, "limit", 5*time.Minute, "give up after this time")
	flag.Parse()
	o.size, o.session = *kib<<10, *mib<<20
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := o.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// load is one run.
type load struct {
	*options
	network *lab.Network
	point   *point.Point
	name    string // of the file that is fetched
	sha256  string
	image   string // path of what the session sends
	id      string // its content

	mu   sync.Mutex
	rows []row
}

// row is what one kind of clients saw.
type row struct {
	what    string
	clients int
	took    []time.Duration // of those that have ended well
	longest time.Duration   // in which nothing came
	errors  map[string]int
	other   string // what else is to be told
	promise string
	broken  []string // of the promise
}

func (o *options) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	n, err := lab.New(ctx, lab.Config{Clients: fetchers + members + 2, Offload: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	l := &load{options: o, network: n}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	asker, flooder := n.Clients[fetchers+members], n.Clients[fetchers+members+1]
	alone, err := l.dhcp(ctx, asker, "DHCP, alone", 3*time.Second)
	if err != nil {
		return err
	}
	l.add(alone)

	byTFTP, err := l.open(ctx, o.tftp, l.tftp1)
	if err != nil {
		return err
	}
	byHTTP, err := l.open(ctx, o.http, l.http1)
	if err != nil {
		return err
	}
	before, err := readMachine()
	if err != nil {
		return err
	}
	// Everything at once, until what is fetched has been fetched.
	busy, done := context.WithCancel(ctx)
	defer done()
	var around, fetching sync.WaitGroup
	var failed [3]error
	around.Go(func() { failed[0] = l.flood(busy, flooder) })
	around.Go(func() {
		var r row
		if r, failed[1] = l.dhcp(busy, asker, "DHCP", o.limit); failed[1] == nil {
			l.add(r)
		}
	})
	fetching.Go(func() { failed[2] = l.cast(ctx) })
	fetching.Go(func() { l.add(l.fetch(ctx, "TFTP", byTFTP, tftpLimit)) })
	fetching.Go(func() { l.add(l.fetch(ctx, "HTTP", byHTTP, httpLimit)) })
	fetching.Wait()
	done()
	around.Wait()
	if err := errors.Join(failed[:]...); err != nil {
		return err
	}
	after, err := readMachine()
	if err != nil {
		return err
	}
	l.add(before.until(after))
	if err := l.counts(ctx); err != nil {
		return err
	}
	return l.table()
}

// counts is what the server says of its DHCP: what it dropped it has not been able to
// answer, what it limited came from machines that ask too often.
func (l *load) counts(ctx context.Context) error {
	out, err := l.point.Run(ctx, "status", "--data", l.point.Data, "--json")
	if err != nil {
		return err
	}
	var status struct {
		Network struct{ Requests, Answered, Silent, Limited, Dropped, Failed uint64 }
	}
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		return fmt.Errorf("castpoint status wrote no JSON: %w: %s", err, out)
	}
	l.add(row{what: "DHCP, all", other: strings.Trim(fmt.Sprintf("%+v", status.Network), "{}")})
	return nil
}

func (l *load) add(r row) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = append(l.rows, r)
}

// prepare makes what is sent, and starts the server.
func (l *load) prepare(ctx context.Context) (err error) {
	dir := l.network.Dir
	b := make([]byte, l.size)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(b)
	loaders := filepath.Join(dir, "loaders")
	l.name = "load.efi"
	if err := errors.Join(os.MkdirAll(loaders, 0o755), os.WriteFile(filepath.Join(loaders, l.name), b, 0o644)); err != nil {
		return err
	}
	l.sha256 = client.Sum(b)
	l.image = filepath.Join(dir, "source.wim")
	if err := image.Make(ctx, l.image, "load", l.session); err != nil {
		return err
	}
	if l.point, err = point.New(l.network, l.castpoint); err != nil {
		return err
	}
	if l.rate != "none" {
		if err := l.network.SetRate(ctx, l.network.Server, l.rate); err != nil {
			return err
		}
		// The kernel's own queue below the rate, as on a server with a real card.
		if out, code, err := l.network.Server.Run(ctx, "tc", "qdisc", "add", "dev", "eth0", "parent", "1:1", l.queue); err != nil || code != 0 {
			return fmt.Errorf("queue of the server: code %d, %w: %s", code, err, out)
		}
	}
	// As it is by default, but for the pool, and with a log that is quiet.
	if err := l.point.Serve(ctx, nil, "--dhcp", "server", "--pool", "10.77.0.100-10.77.0.250", "--loaders", loaders, "--disk-reserve", "0", "--log-level", "warn",
		"--min-rate", l.minRate, "--min-members", strconv.Itoa(members), "--max-wait", "10s"); err != nil {
		return err
	}
	c, err := l.point.Add(ctx, "os-image", l.image, "--multicast", "--encrypt")
	l.id = c.ID
	return err
}

// identity is the machine of that number; those of the storm have others than those
// that are measured.
func identity(storm bool, n int) client.Identity {
	i := client.Identity{MAC: []byte{0x06, 0x77, 0, 0, byte(n >> 8), byte(n)}, Arch: iana.EFI_X86_64}
	if storm {
		i.MAC[1] = 0x78
	}
	copy(i.UUID[:], fmt.Sprintf("load %v%10d", storm, n))
	return i
}

// measured is how many machines are measured, one after the other. They had their
// addresses before: a pool that strangers have emptied is another matter.
const measured = 40

// dhcp has machines ask for what to boot and for their addresses until the time is
// over or ctx ends.
func (l *load) dhcp(ctx context.Context, h *lab.Host, what string, length time.Duration) (r row, err error) {
	d, err := client.OpenDHCP(h)
	if err != nil {
		return r, err
	}
	defer d.Close()
	r = row{what: what, clients: measured, errors: map[string]int{}, promise: fmt.Sprintf("99 %% within %s, none unanswered", dhcpLimit)}
	for begin, n := time.Now(), 0; n < measured || time.Since(begin) < length && ctx.Err() == nil; n++ {
		asked := time.Now()
		// A whole exchange is two answers.
		_, err := d.Lease(ctx, identity(false, n%measured))
		took := time.Since(asked) / 2
		switch {
		case err == nil:
			r.took = append(r.took, took)
			r.longest = max(r.longest, took)
		case ctx.Err() != nil:
			n = measured
		default:
			r.errors[err.Error()]++
		}
	}
	if p99 := quantile(r.took, 0.99); p99 > dhcpLimit || len(r.took) == 0 {
		r.broken = append(r.broken, fmt.Sprintf("99 %% within %s", p99.Round(time.Millisecond)))
	}
	if len(r.errors) > 0 {
		r.broken = append(r.broken, "machines went without")
	}
	r.other = fmt.Sprintf("%d exchanges", len(r.took))
	return r, nil
}

// flood sends DISCOVER of many machines as fast as it was asked to, and waits for
// no answer.
func (l *load) flood(ctx context.Context, h *lab.Host) error {
	conn, err := client.ListenUDP(h, 68, true)
	if err != nil {
		return err
	}
	defer conn.Close()
	const step = 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			l.add(row{what: "DHCP storm", clients: l.storm, other: fmt.Sprintf("%d DISCOVER, %.0f/s", sent, float64(sent)/time.Since(began).Seconds())})
			return nil
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(l.storm)); sent < due; sent++ {
			m, err := identity(true, sent%l.storm).Message(dhcpv4.MessageTypeDiscover)
			if err != nil {
				return err
			}
			m.SetUnicast()                                                // the answers are for nobody else
			_, _ = conn.WriteToUDPAddrPort(m.ToBytes(), client.Everybody) // a full queue of the link is a lost packet
		}
	}
}

// opened is a client that is ready to ask.
type opened func(context.Context) (client.Fetched, error)

func (l *load) tftp1(_ context.Context, h *lab.Host) (opened, error) {
	conn, err := client.ListenUDP(h, 0, false)
	return func(ctx context.Context) (client.Fetched, error) {
		// As EDK2's driver asks.
		return client.TFTP{Conn: conn, Size: true, BlockSize: 1468, Window: 4}.Fetch(ctx, h, lab.ServerAddr, l.name)
	}, err
}

func (l *load) http1(ctx context.Context, h *lab.Host) (opened, error) {
	conn, err := client.Dial(ctx, h, netip.AddrPortFrom(lab.ServerAddr, client.HTTPPort))
	return func(ctx context.Context) (client.Fetched, error) {
		return client.HTTP{Conn: conn, Limit: 3 * httpLimit}.Fetch(ctx, h, lab.ServerAddr, l.name)
	}, err
}

// openersAtOnce is how many sockets are opened at a time: each takes a thread of its
// own into the namespace.
const openersAtOnce = 16

// open opens the sockets of so many clients.
func (l *load) open(ctx context.Context, clients int, one func(context.Context, *lab.Host) (opened, error)) ([]opened, error) {
	all := make([]opened, clients)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(openersAtOnce)
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = one(ctx, l.network.Clients[i%fetchers])
			return err
		})
	}
	return all, group.Wait()
}

// fetch has clients fetch the file at the same time.
func (l *load) fetch(ctx context.Context, what string, clients []opened, limit time.Duration) row {
	r := row{what: what, clients: len(clients), errors: map[string]int{}, promise: fmt.Sprintf("none waits %s, slowest/median <= %.0f", limit, slowLimit)}
	var mu sync.Mutex
	var all sync.WaitGroup
	var bytes int64
	waits := 0
	began := time.Now()
	for _, one := range clients {
		all.Go(func() {
			f, err := one(ctx)
			if err == nil && f.SHA256 != l.sha256 {
				err = errors.New("another file came")
			}
			mu.Lock()
			defer mu.Unlock()
			r.longest = max(r.longest, f.Longest)
			bytes += f.Bytes
			waits += f.Waits
			if err != nil {
				r.errors[err.Error()]++
				return
			}
			r.took = append(r.took, f.Took)
		})
	}
	all.Wait()
	if len(r.errors) > 0 {
		r.broken = append(r.broken, "transfers failed")
	}
	if r.longest > limit {
		r.broken = append(r.broken, fmt.Sprintf("one waited %s", r.longest.Round(time.Millisecond)))
	}
	if m := quantile(r.took, 0.5); float64(quantile(r.took, 1)) > slowLimit*float64(m) {
		r.broken = append(r.broken, "the slowest is far behind")
	}
	r.other = fmt.Sprintf("%.0f Mbit/s", 8*float64(bytes)/1e6/time.Since(began).Seconds())
	if waits > 0 {
		r.other += fmt.Sprintf(", %d waits in vain", waits)
	}
	return r
}

// cast has the members receive.
func (l *load) cast(ctx context.Context) error {
	r := row{what: "session", clients: members, errors: map[string]int{}, promise: "at " + l.minRate + " or more, every file right"}
	minRate, err := strconv.ParseFloat(strings.TrimSuffix(l.minRate, "mbit"), 64)
	if err != nil {
		return fmt.Errorf("-min-rate %s: want megabits, as in 50mbit", l.minRate)
	}
	out := func(i int) string { return filepath.Join(l.network.Dir, fmt.Sprintf("member%d.wim", i)) }
	var procs []*lab.Process
	times := make([]span, members)
	for i, h := range l.network.Clients[fetchers : fetchers+members] {
		token, err := l.point.Token(ctx, l.id)
		if err != nil {
			return err
		}
		p, err := l.point.Receive(h, times[i].note, l.id, token, out(i), "--no-unicast", "--name", h.Name)
		if err != nil {
			return err
		}
		procs = append(procs, p)
	}
	for i, p := range procs {
		code, err := p.Wait(ctx)
		if err != nil {
			return err
		}
		if same := image.Same(l.image, out(i)); code != 0 || same != nil {
			r.errors[fmt.Sprintf("code %d, %v: %s", code, same, p.Output.Tail(3))]++
			continue
		}
		r.took = append(r.took, times[i].last.Sub(times[i].first))
	}
	if len(r.errors) > 0 {
		r.broken = append(r.broken, "members failed")
	}
	if slowest := quantile(r.took, 1); slowest <= 0 {
		r.broken = append(r.broken, "nobody said when it was complete")
	} else {
		rate := 8 * float64(l.session) / 1e6 / slowest.Seconds()
		r.other = fmt.Sprintf("%.0f Mbit/s to the slowest", rate)
		if rate < bytesOfFile*minRate {
			r.broken = append(r.broken, fmt.Sprintf("%.0f Mbit/s", rate))
		}
	}
	l.add(r)
	return nil
}

// span is from the first block that castpoint receive --json reports to the last.
type span struct{ first, last time.Time }

func (s *span) note(line string) {
	var e struct {
		Blocks int
		Total  int `json:"total_blocks"`
	}
	if json.Unmarshal([]byte(line), &e) != nil || e.Blocks == 0 {
		return
	}
	now := time.Now()
	if s.first.IsZero() {
		s.first = now
	}
	if e.Blocks == e.Total && s.last.IsZero() {
		s.last = now
	}
}

// quantile of durations; 0 for none.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(int(q*float64(len(d))), len(d)-1)]
}

// table shows what was seen; the error says that a promise was broken.
func (l *load) table() error {
	fmt.Printf("\n%d clients by HTTP and %d by TFTP fetch %d KiB each, %d DISCOVER/s, a session of %d MiB to %d members; the server's link: %s, %s\n\n",
		l.http, l.tftp, l.size>>10, l.storm, l.session>>20, members, l.rate, l.queue)
	fmt.Println("| what | clients | ended well | median s | 99 % s | slowest s | longest silence s | | promised | kept |")
	fmt.Println("|---|--:|--:|--:|--:|--:|--:|---|---|---|")
	broken := false
	slices.SortStableFunc(l.rows, func(a, b row) int { return strings.Compare(a.what, b.what) })
	for _, r := range l.rows {
		kept := "yes"
		switch {
		case len(r.broken) > 0:
			kept, broken = "no: "+strings.Join(r.broken, ", "), true
		case r.promise == "":
			kept = ""
		}
		if len(r.took) == 0 && r.promise == "" {
			fmt.Printf("| %s | | | | | | | %s | | |\n", r.what, r.other)
			continue
		}
		fmt.Printf("| %s | %d | %d | %.3f | %.3f | %.3f | %.3f | %s | %s | %s |\n", r.what, r.clients, len(r.took),
			quantile(r.took, 0.5).Seconds(), quantile(r.took, 0.99).Seconds(), quantile(r.took, 1).Seconds(), r.longest.Seconds(), r.other, r.promise, kept)
	}
	for _, r := range l.rows {
		for e, n := range r.errors {
			fmt.Printf("%s: %d times %s\n", r.what, n, e)
		}
	}
	if broken {
		fmt.Printf("the server said:\n%s\n", l.point.Server.Output.Tail(20))
		return errors.New("a promise was not kept")
	}
	return nil
}
