package confine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// open is a file that a confined process has opened before its limits.
var open *os.File

// TestMain is the confined process, too.
func TestMain(m *testing.M) {
	if os.Getenv(envMemory) == "" {
		os.Exit(m.Run())
	}
	if os.Args[1] == "grow" {
		// Landlock says nothing of files that are open already.
		f, err := os.OpenFile(os.Args[2], os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			os.Exit(8)
		}
		open = f
	}
	if err := Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(9)
	}
	os.Exit(work(os.Args[1:]))
}

// work is what confined processes of the tests do.
func work(args []string) int {
	switch args[0] {
	case "echo":
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			return 1
		}
		fmt.Print(strings.ToUpper(string(b)))
	case "eat":
		var all [][]byte
		for i := 0; ; i++ {
			b := make([]byte, 1<<20)
			for j := range b {
				b[j] = byte(i)
			}
			if all = append(all, b); len(all) > 8<<10 {
				return 0
			}
		}
	case "spin":
		for i := 0; ; i++ {
			if i < 0 {
				return 0
			}
		}
	case "wait":
		time.Sleep(time.Hour)
	case "write":
		if err := os.WriteFile(args[1], []byte("x"), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	case "grow":
		if _, err := open.WriteString("more"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 3
		}
	case "harm":
		// Threads that were there before the limits, and ones that come.
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				runtime.LockOSThread()
				for what, err := range map[string]error{
					"truncate": os.Truncate(args[1], 0), "remove": os.Remove(args[1]), "rename": os.Rename(args[1], args[1]+"2"),
					"make": os.Mkdir(args[1]+"3", 0o700), "link": os.Link(args[1], args[1]+"4"), "run": start("/bin/true"),
					"connect": connect(args[2]), "signal": signal(),
				} {
					if err == nil && !slices.Contains(args[3:], what) {
						fmt.Println(what)
					}
				}
				b, err := os.ReadFile("/proc/thread-self/status")
				// Root keeps CAP_DAC_READ_SEARCH, number 2.
				if err != nil || !regexp.MustCompile(`(?s)CapEff:\t000000000000000[04]\n.*NoNewPrivs:\t1\n`).Match(b) {
					fmt.Println("privileges", err)
				}
			})
		}
		group.Wait()
		if b, err := os.ReadFile(args[1]); err != nil || string(b) != "there" {
			fmt.Println("read", err)
		}
	case "talk":
		for range 1 << 20 {
			fmt.Println("castpoint")
		}
	case "fail":
		fmt.Fprintln(os.Stderr, "it cannot be")
		return 4
	}
	return 0
}

// start runs a program with the files that are open: os/exec would open another.
func start(program string) error {
	pid, err := syscall.ForkExec(program, []string{program}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
	if err == nil {
		_, err = syscall.Wait4(pid, nil, 0, nil)
	}
	return err
}

// signal asks whether this process may signal the one that has started it.
func signal() error {
	return syscall.Kill(os.Getppid(), 0)
}

func connect(address string) error {
	c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", address)
	if err == nil {
		err = c.Close()
	}
	return err
}

var small = Limits{Memory: 256 << 20, CPU: 60 * time.Second, Time: 2 * time.Minute}

func TestRun(t *testing.T) {
	out, err := Run(t.Context(), small, []string{"echo"}, []byte("castpoint"))
	if err != nil || string(out) != "CASTPOINT" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := Run(t.Context(), small, []string{"talk"}, nil); err != nil || len(out) != maxOutput {
		t.Errorf("%d bytes, %v", len(out), err)
	}
	_, err = Run(t.Context(), small, []string{"fail"}, nil)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 4 || !strings.Contains(err.Error(), "it cannot be") {
		t.Error(err)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		what string
		l    Limits
		says string
	}{
		{"eat", small, "256 MiB of memory"},
		{"spin", Limits{Memory: small.Memory, CPU: time.Second, Time: 2 * time.Minute}, "1s of processor time"},
		{"wait", Limits{Memory: small.Memory, CPU: small.CPU, Time: time.Second}, "more than 1s"},
	} {
		_, err := Run(t.Context(), c.l, []string{c.what}, nil)
		if _, ok := errors.AsType[*ExceededError](err); !ok || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	path := filepath.Join(t.TempDir(), "x")
	if _, err := Run(t.Context(), small, []string{"write", path}, nil); err == nil {
		t.Error("it has written a file")
	}
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		t.Error("the file is there")
	}
	if err := os.WriteFile(path, []byte("there"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), small, []string{"grow", path}, nil); err == nil {
		t.Error("it has made a file longer")
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "there" {
		t.Errorf("the file holds %q, %v", b, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := Run(ctx, small, []string{"wait"}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestEnterOutside(t *testing.T) {
	if err := Enter(); err == nil {
		t.Error("a process that Run has not started has taken limits of nobody")
	}
}
