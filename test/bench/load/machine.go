package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// machine is what the machine has done so far, of which server, switch and clients are
// a part. What is measured while other programs have the processors, or while the switch
// loses packets for want of them, is no matter of the server's.
type machine struct {
	busy, idle uint64 // ticks of all processors
	running    uint64 // programs that have a processor or wait for one
	lost       uint64 // packets that the virtual cables had no room for
}

// until is what has happened since.
func (m machine) until(now machine) row {
	all := float64(now.busy - m.busy + now.idle - m.idle)
	return row{what: "machine", other: fmt.Sprintf("%.0f %% busy, %d and %d programs ran or waited to; its cables lost %d packets",
		100*float64(now.busy-m.busy)/max(all, 1), m.running, now.running, now.lost-m.lost)}
}

func readMachine() (m machine, err error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return m, fmt.Errorf("read what the processors do: %w", err)
	}
	for line := range strings.Lines(string(stat)) {
		f := strings.Fields(line)
		switch {
		case len(f) > 5 && f[0] == "cpu":
			for i, s := range f[1:] {
				n, err := strconv.ParseUint(s, 10, 64)
				switch {
				case err != nil:
					return m, fmt.Errorf("/proc/stat: %q: %w", line, err)
				case i == 3 || i == 4: // idle, and waiting for a disk
					m.idle += n
				case i < 8: // guests are counted as users already
					m.busy += n
				}
			}
		case len(f) == 2 && f[0] == "procs_running":
			if m.running, err = strconv.ParseUint(f[1], 10, 64); err != nil {
				return m, fmt.Errorf("/proc/stat: %q: %w", line, err)
			}
		}
	}
	// A line for each processor; the second number is of packets that its queue of what
	// has arrived (net.core.netdev_max_backlog) had no room for.
	backlog, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return m, fmt.Errorf("read what the cables lose: %w", err)
	}
	for line := range strings.Lines(string(backlog)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, err := strconv.ParseUint(f[1], 16, 64)
		if err != nil {
			return m, fmt.Errorf("/proc/net/softnet_stat: %q: %w", line, err)
		}
		m.lost += n
	}
	return m, nil
}
