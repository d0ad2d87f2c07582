// Command dhcpbench measures castpoint's DHCP server beside dnsmasq and Kea with
// perfdhcp (of Kea, so no part of what is measured): whole exchanges (DISCOVER,
// OFFER, REQUEST, ACK) with a new client each, at rising rates.
//
// One run is one server alone in a fresh pair of namespaces with an empty lease
// file; castpoint is the program itself, by its command line. The table has the
// median of the runs by leases, with the least and the most. All keep their leases as each does by default, Kea's memfile being the
// yardstick: written before the answer leaves, synced later. None asks on the
// network whether an address is free (castpoint's probe and dnsmasq's ping are
// off, Kea has none), but for castpoint in a row of its own: as it is by default,
// with 64 probes at a time and the rest of a storm offered unasked. perfdhcp and the server share one machine: compare the
// programs with each other, not with a real network.
//
// An answer is wrong when its address was offered or given to another client.
// An address that was offered twice and confirmed once costs a client a round;
// one that was confirmed twice breaks two machines: they are counted apart.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"castpoint/internal/lab"
)

// The pool that all servers give from; large enough that no address is given
// twice within a run.
const (
	poolFrom = "10.64.0.1"
	poolTo   = "10.64.255.254"
	network  = "10.64.0.0/16"
	netmask  = "255.255.0.0"
)

// result is one run.
type result struct {
	leases  float64 // completed exchanges per second
	lost    float64 // share of exchanges that were not completed
	delay   float64 // mean of DISCOVER to OFFER and REQUEST to ACK, ms
	offered string  // addresses offered to more than one client
	given   string  // addresses confirmed to more than one client
	cpu     time.Duration
	records int // leases on disk at the end
}

// server is a program that is measured.
type server struct {
	name  string
	start func(*lab.Network) (*lab.Process, error)
	count func(dir string) (int, error) // leases on disk
}

func main() {
	castpoint := flag.String("castpoint", "bin/castpoint", "the castpoint program")
	rates := flag.String("rates", "1000,4000,10000", "exchanges offered per second")
	seconds := flag.Int("seconds", 4, "length of a run")
	runs := flag.Int("runs", 3, "runs of each cell")
	only := flag.String("only", "", "measure only this program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	path, err := filepath.Abs(*castpoint)
	if err == nil {
		err = run(ctx, servers(path), *rates, *seconds, *runs, *only)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "dhcpbench:", err)
		os.Exit(1)
	}
}

func servers(castpoint string) []server {
	return []server{
		{"castpoint", startCastpoint(castpoint, false), lines("data/leases", `^[0-9a-f]{8} `)},
		{"castpoint, probing", startCastpoint(castpoint, true), lines("data/leases", `^[0-9a-f]{8} `)},
		{"dnsmasq", startDnsmasq, lines("dnsmasq.leases", `^\d+ `)},
		{"kea", startKea, lines("kea.csv", `^10\.64\.`)},
	}
}

// startCastpoint keeps the log quiet, as it is for the others.
func startCastpoint(castpoint string, probe bool) func(*lab.Network) (*lab.Process, error) {
	return func(n *lab.Network) (*lab.Process, error) {
		return n.Server.Start(lab.Command{Args: []string{castpoint, "serve", "--data", filepath.Join(n.Dir, "data"), "--interface", "eth0",
			"--log-level", "error", "--dhcp", "server", "--pool", poolFrom + "-" + poolTo, "--router", poolFrom, "--probe=" + strconv.FormatBool(probe)}})
	}
}

func startDnsmasq(n *lab.Network) (*lab.Process, error) {
	return n.Server.Start(lab.Command{Args: []string{"dnsmasq", "--keep-in-foreground", "--log-facility=" + filepath.Join(n.Dir, "dnsmasq.log"),
		"--quiet-dhcp", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--interface=eth0", "--user=root", "--no-ping",
		"--dhcp-range=" + poolFrom + "," + poolTo + "," + netmask + ",1h", "--dhcp-lease-max=1000000",
		"--dhcp-leasefile=" + filepath.Join(n.Dir, "dnsmasq.leases")}})
}

// keaConfig leaves everything that costs time at its default but the log.
const keaConfig = `{"Dhcp4": {
  "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
  "lease-database": {"type": "memfile", "persist": true, "name": "%[1]s/kea.csv"},
  "valid-lifetime": 3600,
  "subnet4": [{"id": 1, "subnet": "%[2]s", "pools": [{"pool": "%[3]s - %[4]s"}],
    "option-data": [{"name": "routers", "data": "%[3]s"}]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "%[1]s/kea.log"}]}]
}}`

func startKea(n *lab.Network) (*lab.Process, error) {
	config := filepath.Join(n.Dir, "kea.json")
	if err := os.WriteFile(config, fmt.Appendf(nil, keaConfig, n.Dir, network, poolFrom, poolTo), 0o644); err != nil {
		return nil, err
	}
	return n.Server.Start(lab.Command{
		Args: []string{"kea-dhcp4", "-c", config},
		Env:  []string{"KEA_PIDFILE_DIR=" + n.Dir, "KEA_LOCKFILE_DIR=" + n.Dir},
	})
}

// lines counts the distinct addresses in the lines of a lease file that match.
func lines(file, pattern string) func(string) (int, error) {
	expr, address := regexp.MustCompile("(?m)"+pattern+".*$"), regexp.MustCompile(`10\.64\.\d+\.\d+`)
	return func(dir string) (int, error) {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return 0, err
		}
		seen := map[string]bool{}
		for _, line := range expr.FindAllString(string(text), -1) {
			seen[address.FindString(line)] = true
		}
		return len(seen), nil
	}
}

func run(ctx context.Context, servers []server, rates string, seconds, runs int, only string) error {
	fmt.Printf("\nDHCP: %d processors, %d runs of %d s each\n\n", runtime.NumCPU(), runs, seconds)
	fmt.Println("| offered /s | program | leases/s (min-max) | lost | mean delay ms | server CPU s | leases on disk | offered twice | given twice | castpoint is |")
	fmt.Println("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	for field := range strings.SplitSeq(rates, ",") {
		rate, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("rate %q: %w", field, err)
		}
		var own float64
		for _, s := range servers {
			if only != "" && s.name != only {
				continue
			}
			var all []result
			for range runs {
				r, err := measure(ctx, s, rate, seconds)
				if err != nil {
					return fmt.Errorf("%s at %d/s: %w", s.name, rate, err)
				}
				all = append(all, r)
			}
			slices.SortFunc(all, func(a, b result) int { return cmp.Compare(a.leases, b.leases) })
			r := all[len(all)/2]
			ratio := "1"
			if s.name == "castpoint" {
				own = r.leases
			} else if r.leases > 0 {
				ratio = fmt.Sprintf("%.2fx", own/r.leases)
			}
			fmt.Printf("| %d | %s | %.0f (%.0f-%.0f) | %.1f %% | %.2f | %.2f | %d | %s | %s | %s |\n",
				rate, s.name, r.leases, all[0].leases, all[len(all)-1].leases, 100*r.lost, r.delay, r.cpu.Seconds(), r.records,
				joined(all, func(r result) string { return r.offered }), joined(all, func(r result) string { return r.given }), ratio)
		}
	}
	return nil
}

// joined names a number of every run: a wrong answer counts in any of them.
func joined(all []result, of func(result) string) string {
	var list []string
	for _, r := range all {
		list = append(list, of(r))
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), ", ")
}

// measure runs one server and perfdhcp against it.
func measure(ctx context.Context, s server, rate, seconds int) (r result, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds+40)*time.Second)
	defer cancel()
	n, err := lab.New(ctx, lab.Config{Clients: 1})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	// perfdhcp plays a relay whose address the servers answer: it is in the
	// pool's network, so both ends get one there.
	for _, step := range []struct {
		host *lab.Host
		addr string
	}{{n.Server, "10.64.255.254/16"}, {n.Clients[0], "10.64.255.253/16"}} {
		if out, code, err := step.host.Run(ctx, "ip", "addr", "replace", step.addr, "dev", "eth0"); err != nil || code != 0 {
			return r, fmt.Errorf("set address: code %d, %w: %s", code, err, out)
		}
		if out, code, err := step.host.Run(ctx, "ip", "addr", "del", step.host.Addr.String()+"/24", "dev", "eth0"); err != nil || code != 0 {
			return r, fmt.Errorf("remove address: code %d, %w: %s", code, err, out)
		}
	}
	p, err := s.start(n)
	if err != nil {
		return r, err
	}
	if err := p.WaitUDP(ctx, 67); err != nil {
		return r, err
	}
	said, code, err := n.Clients[0].Run(ctx, "perfdhcp", "-4", "-u", "-r", strconv.Itoa(rate), "-p", strconv.Itoa(seconds),
		"-R", "60000000", "-d", "1", "-W", "1000000", "-s", "1", "10.64.255.254")
	if err != nil {
		return r, err
	}
	if code != 0 && code != 3 { // 3: some exchanges were not completed
		return r, fmt.Errorf("perfdhcp ended with code %d: %s", code, said)
	}
	if err := r.read(said, seconds); err != nil {
		return r, fmt.Errorf("%w:\n%s", err, said)
	}
	if _, err := p.Stop(); err != nil {
		return r, err
	}
	r.cpu = p.CPU()
	if os.Getenv("DHCPBENCH_VERBOSE") != "" {
		fmt.Println(said, p.Output.String())
	}
	r.records, err = s.count(n.Dir)
	return r, err
}

var (
	receivedPattern = regexp.MustCompile(`received packets: (\d+)`)
	sentPattern     = regexp.MustCompile(`sent packets: (\d+)`)
	delayPattern    = regexp.MustCompile(`avg delay: ([\d.]+) ms`)
	uniquePattern   = regexp.MustCompile(`non unique addresses: (\d+)`)
)

// read takes perfdhcp's report apart: one part for DISCOVER-OFFER, one for
// REQUEST-ACK.
func (r *result) read(said string, seconds int) error {
	received := receivedPattern.FindAllStringSubmatch(said, -1)
	sent := sentPattern.FindAllStringSubmatch(said, -1)
	delays := delayPattern.FindAllStringSubmatch(said, -1)
	if len(received) != 2 || len(sent) != 2 {
		return errors.New("perfdhcp reported something else than two exchanges")
	}
	acks, _ := strconv.ParseFloat(received[1][1], 64)
	discovers, _ := strconv.ParseFloat(sent[0][1], 64)
	r.leases = acks / float64(seconds)
	if discovers > 0 {
		r.lost = 1 - acks/discovers
	}
	for _, d := range delays {
		ms, _ := strconv.ParseFloat(d[1], 64)
		r.delay += ms
	}
	unique := uniquePattern.FindAllStringSubmatch(said, -1)
	if len(unique) != 2 {
		return errors.New("perfdhcp did not say how many addresses were given twice")
	}
	r.offered, r.given = unique[0][1], unique[1][1]
	return nil
}
