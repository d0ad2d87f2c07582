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

// Down removes labs: those whose makers are gone, and those of running processes that
// are meant, by their arguments. It waits until they are gone, and says how many they
// were.
func Down(ctx context.Context, meant func(args []string) bool) (int, error) {
	if os.Geteuid() != 0 {
		return 0, errors.New("labs are removed by root")
	}
	labs := make(map[string]bool)
	for {
		dirs, err := filepath.Glob(filepath.Join(os.TempDir(), namePrefix+"*-dir"))
		if err != nil {
			return 0, err
		}
		left := 0
		for _, dir := range dirs {
			name, pid, ok := makerOf(filepath.Base(dir))
			if !ok {
				continue
			}
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			switch {
			case err != nil:
				labs[name] = true // nobody's; its janitor or the sweep below removes it
			case meant(strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")):
				if !labs[name] {
					labs[name] = true
					if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
						return 0, fmt.Errorf("stop the maker of %s: %w", name, err)
					}
				}
				left++
			}
		}
		if left == 0 {
			return len(labs), sweep()
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
