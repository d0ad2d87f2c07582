// Package confine runs a part of this program in a process of its own that is allowed
// little: so much memory, so much processor time, no files written, made or removed, a
// few files open, no connections, none of the privileges of the program. What reads files that somebody has sent does so
// there first: a file that is made to do harm ends that process, and nothing else.
//
// The order of events: [Run] starts this program again with a command that calls [Enter]
// before it does anything else; Run waits for its end and says which limit it has met.
package confine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Limits of a process.
type Limits struct {
	Memory int64         // bytes of its data; at least MinMemory
	CPU    time.Duration // of processor time, in whole seconds
	Time   time.Duration // in all
}

// MinMemory is what a Go program needs to begin, with room.
const MinMemory = 192 << 20

// ExceededError says that a process has met a limit.
type ExceededError struct{ Limit string }

func (e *ExceededError) Error() string { return "it took more than " + e.Limit }

// Environment variables that tell a process its limits.
const (
	envMemory = "CASTPOINT_CONFINED_MEMORY" // bytes
	envCPU    = "CASTPOINT_CONFINED_CPU"    // seconds
)

// maxOutput bounds what is kept of what a process prints, in bytes.
const maxOutput = 64 << 10

// killTime is how long a process whose time is over may hold its output open.
const killTime = 5 * time.Second

// Run runs this program with the arguments and the input, and returns what it prints.
//
// Errors: *ExceededError when it has met a limit; context.Canceled and
// context.DeadlineExceeded of ctx; *exec.ExitError when it has failed by itself, with the
// end of what it has printed.
func Run(ctx context.Context, l Limits, args []string, input []byte) ([]byte, error) {
	type result struct {
		out []byte
		err error
	}
	done := make(chan result)
	go func() {
		// The process ends with the thread that has started it (prctl(2),
		// PR_SET_PDEATHSIG): that is one that stays until it has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		out, err := run(ctx, l, args, input)
		done <- result{out, err}
	}()
	r := <-done
	return r.out, r.err
}

func run(ctx context.Context, l Limits, args []string, input []byte) ([]byte, error) {
	self, err := executable()
	if err != nil {
		return nil, err
	}
	timed, cancel := context.WithTimeout(ctx, l.Time)
	defer cancel()
	c := exec.CommandContext(timed, self, args...)
	c.WaitDelay = killTime
	c.Env = []string{
		"GOTRACEBACK=none", "GOMAXPROCS=2", "GOMEMLIMIT=" + strconv.FormatInt(l.Memory-MinMemory/2, 10),
		envMemory + "=" + strconv.FormatInt(l.Memory, 10), envCPU + "=" + strconv.Itoa(int(l.CPU.Seconds())),
	}
	c.Dir = "/"
	c.SysProcAttr = attributes()
	c.Stdin = bytes.NewReader(input)
	var out, errs tail
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	switch {
	case err == nil:
		return out.b, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case timed.Err() != nil:
		return nil, &ExceededError{l.Time.String()}
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return nil, fmt.Errorf("start %s: %w", self, err)
	}
	status, _ := exit.Sys().(syscall.WaitStatus)
	text := strings.TrimSpace(string(errs.b))
	switch {
	// The last is what the C library says in a program with cgo: a thread's stack is memory.
	case strings.Contains(text, "out of memory"), strings.Contains(text, "cannot allocate memory"), strings.Contains(text, "pthread_create failed"):
		return nil, &ExceededError{fmt.Sprintf("%d MiB of memory", l.Memory>>20)}
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return nil, &ExceededError{l.CPU.String() + " of processor time"}
	}
	first, _, _ := strings.Cut(text, "\n")
	return nil, fmt.Errorf("%w: %s", err, first)
}

// tail keeps the beginning of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.b = append(t.b, b[:min(len(b), maxOutput-len(t.b))]...)
	return len(b), nil
}

var _ io.Writer = (*tail)(nil)

// executable is this program, even when its file was replaced by another version.
func executable() (string, error) {
	const self = "/proc/self/exe"
	if _, err := os.Stat(self); err == nil {
		return self, nil
	}
	return os.Executable()
}
