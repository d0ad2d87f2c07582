package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Running is a lab on this host whose maker runs.
type Running struct {
	Dir     string   // its scratch directory
	Pid     int      // of its maker
	Args    []string // of its maker
	Started time.Time

	name string
	maker
}

// List finds the labs of TMPDIR (or /tmp): those whose makers run, and the names of
// those whose makers are gone.
func List() (running []Running, left []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), namePrefix+"*-dir"))
	if err != nil {
		return nil, nil, err
	}
	for _, dir := range dirs {
		name, m, ok := makerOf(filepath.Base(dir))
		if !ok {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", m.pid))
		_, gone := os.Stat(dir)
		switch {
		case errors.Is(gone, os.ErrNotExist):
			// Removed just now.
		case err != nil || !m.alive():
			left = append(left, name)
		default:
			running = append(running, Running{Dir: dir, Pid: m.pid, Started: m.when(), name: name, maker: m,
				Args: strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")})
		}
	}
	return running, left, nil
}

// downGrace is how long the maker of a lab may take to remove it.
const downGrace = 30 * time.Second

// Down removes labs: those whose makers are gone, and those of running processes that
// are meant. It waits until they are gone, and says how many they were. A maker that
// does not do what it is told is killed.
func Down(ctx context.Context, meant func(Running) bool) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("labs are removed by root")
	}
	labs := make(map[string]bool)
	began := time.Now()
	for {
		running, left, err := List()
		if err != nil {
			return 0, err
		}
		for _, name := range left {
			labs[name] = true // its janitor or the sweep below removes it
		}
		waiting := 0
		for _, r := range running {
			if !meant(r) {
				continue
			}
			waiting++
			if labs[r.name] {
				if time.Since(began) > downGrace {
					_ = syscall.Kill(r.Pid, syscall.SIGKILL) // its janitor, or the sweep, does the rest
				}
				continue
			}
			labs[r.name] = true
			if err := syscall.Kill(r.Pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return 0, fmt.Errorf("stop the maker of %s: %w", r.name, err)
			}
		}
		if waiting == 0 {
			return len(labs), sweep()
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
