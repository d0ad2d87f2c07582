package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"time"
)

var contentLength = regexp.MustCompile(`(?i)\r\nContent-Length: (\d+)\r\n`)

// linkRate is the payload of TFTP blocks of 1468 bytes that 1 Gbit/s carries, in
// bytes per second: each costs 4 + 8 + 20 bytes of headers of TFTP, UDP and IP
// and 14 + 24 of Ethernet (header; preamble, check sum, gap).
const linkRate = 125e6 * benchBlock / (benchBlock + 4 + 8 + 20 + 14 + 24)

// measurement is one row: one server in one setting.
type measurement struct {
	name, server    string
	clients, window int
	delay           time.Duration
	run             func() (result, error)
	results         []result
}

func (r result) rate() float64 { return float64(r.Bytes) / r.Took.Seconds() }

// cpu is the server's processor time for each byte, in nanoseconds.
func (r result) cpu() float64 { return float64(r.CPU.Nanoseconds()) / float64(r.Bytes) }

// median of a number over the runs.
func (m *measurement) median(f func(result) float64) float64 {
	v := make([]float64, len(m.results))
	for i, r := range m.results {
		v[i] = f(r)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// spread is how far the runs are apart, as a share of the median.
func (m *measurement) spread() float64 {
	lo, hi := m.results[0].rate(), m.results[0].rate()
	for _, r := range m.results {
		lo, hi = min(lo, r.rate()), max(hi, r.rate())
	}
	return (hi - lo) / m.median(result.rate)
}

func (m *measurement) lost() (n int64) {
	for _, r := range m.results {
		n += r.Lost
	}
	return n
}

type table struct{ rows []*measurement }

// measure runs everything once, then once more, and so on.
func (t *table) measure(runs int) error {
	for i := range runs {
		for _, m := range t.rows {
			r, err := m.run()
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", m.name, i+1, err)
			}
			fmt.Fprintf(os.Stderr, "run %d  %-52s %8.2f MB/s  %6.2f ns/B  lost %d\n", i+1, m.name, r.rate()/1e6, r.cpu(), r.Lost)
			m.results = append(m.results, r)
		}
	}
	return nil
}

// find is the row of a server in the same setting, nil when it was not measured.
func (t *table) find(server string, clients, window int, delay time.Duration) *measurement {
	for _, m := range t.rows {
		if m.server == server && m.clients == clients && m.window == window && m.delay == delay {
			return m
		}
	}
	return nil
}

// bestPeer is the fastest, or thriftiest, of the others at window 1.
func (t *table) bestPeer(clients int, delay time.Duration, f func(result) float64, better func(a, b float64) bool) (best float64, ok bool) {
	for _, m := range t.rows {
		if m.server == castpoint.name || m.clients != clients || m.delay != delay {
			continue
		}
		if v := m.median(f); !ok || better(v, best) {
			best, ok = v, true
		}
	}
	return best, ok
}

func (t *table) printTFTP(w io.Writer, s *setup) error {
	fmt.Fprintf(w, "\nTFTP, a file of %d MiB, blocks of %d bytes, links of 1 Gbit/s (%.1f MB/s of payload), ACKs held back by *RTT*; medians of %d runs.\n\n",
		s.size>>20, benchBlock, linkRate/1e6, s.runs)
	fmt.Fprintln(w, "| RTT | clients | window | server | MB/s | spread | of the link | to the fastest peer at window 1 | to own window 1 | CPU ns/byte | to the best peer's at window 1 | lost |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|---|")
	less := func(a, b float64) bool { return a < b }
	more := func(a, b float64) bool { return a > b }
	ratio := func(v, to float64, ok bool) string {
		if !ok || to == 0 {
			return "–"
		}
		return fmt.Sprintf("%.2f", v/to)
	}
	for _, m := range t.rows {
		rate, cpu := m.median(result.rate), m.median(result.cpu)
		fastest, okFast := t.bestPeer(m.clients, m.delay, result.rate, more)
		thrifty, okCPU := t.bestPeer(m.clients, m.delay, result.cpu, less)
		own, lock := "–", t.find(m.server, m.clients, 1, m.delay)
		if lock != nil && lock != m {
			own = fmt.Sprintf("%.1f", rate/lock.median(result.rate))
		}
		fmt.Fprintf(w, "| %s | %d | %d | %s | %.2f | %.0f %% | %.3f | %s | %s | %.2f | %s | %d |\n",
			m.delay, m.clients, m.window, m.server, rate/1e6, 100*m.spread(), rate/linkRate,
			ratio(rate, fastest, okFast), own, cpu, ratio(cpu, thrifty, okCPU), m.lost())
	}
	return nil
}

func (t *table) printHTTP(w io.Writer, s *setup) error {
	fmt.Fprintf(w, "\nHTTP, a file of %d MiB, links without a limit; medians of %d runs of %s.\n\n", s.size>>20, s.runs, s.seconds)
	fmt.Fprintln(w, "| clients | server | MB/s | spread | to nginx | CPU ns/byte | to nginx |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|")
	for _, m := range t.rows {
		rate, cpu := m.median(result.rate), m.median(result.cpu)
		r1, r2 := "–", "–"
		if peer := t.find(nginx.name, m.clients, 0, 0); peer != nil {
			r1 = fmt.Sprintf("%.2f", rate/peer.median(result.rate))
			r2 = fmt.Sprintf("%.2f", cpu/peer.median(result.cpu))
		}
		fmt.Fprintf(w, "| %d | %s | %.0f | %.0f %% | %s | %.3f | %s |\n", m.clients, m.server, rate/1e6, 100*m.spread(), r1, cpu, r2)
	}
	return nil
}
