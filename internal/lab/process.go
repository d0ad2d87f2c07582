package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stopGrace is how long a program may take to end after SIGTERM.
const stopGrace = 10 * time.Second

// A Command is a program to run in a host's namespace.
type Command struct {
	Args []string // program and arguments
	Dir  string   // working directory; empty for the caller's
	Env  []string // added to the caller's environment
	// Echo, when set, is called for every line the program writes.
	Echo func(line string)
	// Output, when set, gets every byte the program writes; the transcripts then keep
	// only the latest megabyte.
	Output io.Writer
	// Input gives the program a standard input, Process.Input.
	Input bool
	// Launch, when set, starts the program in place of exec.Cmd.Start. program is the
	// file that it becomes: ip executes it in its own place.
	Launch func(cmd *exec.Cmd, program string) error
}

// A Process is a program running in a namespace. Output holds both standard
// output and standard error; Stdout is the former alone.
type Process struct {
	Output Transcript
	Stdout Transcript
	Input  io.WriteCloser // nil unless the command asked for one

	cmd     *exec.Cmd
	started time.Time
	done    chan struct{}
	err     error         // of Wait; readable when done is closed
	took    time.Duration // readable when done is closed
}

// Start runs the command in the host's namespace. The caller stops it, or the
// end of the network does.
func (h *Host) Start(c Command) (*Process, error) {
	if len(c.Args) == 0 {
		return nil, errors.New("no program to start")
	}
	path, err := exec.LookPath(c.Args[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w: run test/install-tools or make build", c.Args[0], err)
	}
	p := &Process{done: make(chan struct{})}
	p.Output.echo = c.Echo
	// ip executes the program in its own place: the process id stays.
	args := append([]string{"netns", "exec", h.Namespace, path}, c.Args[1:]...)
	p.cmd = exec.Command("ip", args...)
	p.cmd.Dir = c.Dir
	p.cmd.Env = append(os.Environ(), c.Env...)
	p.cmd.Stdout = &both{&p.Output, &p.Stdout}
	p.cmd.Stderr = &p.Output
	if c.Output != nil {
		p.Output.limit, p.Stdout.limit = transcriptLimit, transcriptLimit
		p.cmd.Stdout = io.MultiWriter(p.cmd.Stdout, c.Output)
		p.cmd.Stderr = io.MultiWriter(&p.Output, c.Output)
	}
	if c.Input {
		if p.Input, err = p.cmd.StdinPipe(); err != nil {
			return nil, fmt.Errorf("start %s on %s: %w", c.Args[0], h.Name, err)
		}
	}
	p.cmd.WaitDelay = leftBehind
	// Away from the terminal: Ctrl-C goes to the lab's user, who stops it.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.started = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, fmt.Errorf("start %s on %s: %w", c.Args[0], h.Name, errClosed)
	}
	launch := c.Launch
	if launch == nil {
		launch = func(cmd *exec.Cmd, _ string) error { return cmd.Start() }
	}
	if err := launch(p.cmd, path); err != nil {
		return nil, fmt.Errorf("start %s on %s: %w", c.Args[0], h.Name, err)
	}
	if h.running == nil {
		h.running = make(map[*Process]struct{})
	}
	h.running[p] = struct{}{}
	go func() {
		defer close(p.done)
		defer h.ended(p)
		if p.err = p.cmd.Wait(); errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil
		}
		p.took = time.Since(p.started)
		p.Output.end()
		p.Stdout.end()
	}()
	return p, nil
}

// leftBehind is for how long the output of a program is read that has ended, while others
// that it has started hold it open: Wine's services have that of the program which was
// first to need them, and stay.
const leftBehind = 5 * time.Second

var errClosed = errors.New("the lab has been removed")

func (h *Host) ended(p *Process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.running, p)
}

// close ends the programs that were started on the host.
func (h *Host) close() {
	h.mu.Lock()
	h.closed = true
	left := slices.Collect(maps.Keys(h.running))
	h.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
}

// both writes to two transcripts.
type both struct{ a, b *Transcript }

func (w *both) Write(p []byte) (int, error) {
	_, _ = w.a.Write(p)
	return w.b.Write(p)
}

// Pid is the program's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Wait waits for the program's end and returns its exit code: -1 when a signal
// ended it. When ctx ends first the program is killed.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return -1, fmt.Errorf("%s: %w; the last lines were:\n%s", strings.Join(p.cmd.Args[4:], " "), ctx.Err(), p.Output.Tail(30))
	}
	var exit *exec.ExitError
	if p.err != nil && !errors.As(p.err, &exit) {
		return -1, p.err
	}
	return p.cmd.ProcessState.ExitCode(), nil
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Took is how long the program ran; valid when it has ended.
func (p *Process) Took() time.Duration { return p.took }

// CPU is the processor time that the program used; valid when it has ended.
func (p *Process) CPU() time.Duration {
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime()
}

// Signal sends a signal to the program.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop asks the program to end by SIGTERM and returns its exit code; one that
// does not listen is killed after ten seconds and reported.
func (p *Process) Stop() (int, error) {
	if err := p.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return -1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopGrace)
	defer cancel()
	return p.Wait(ctx)
}

// Kill ends the program at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Run runs a program in the host's namespace to its end and returns what it
// wrote to standard output and its exit code. The error covers failures to run
// it, not its exit code.
func (h *Host) Run(ctx context.Context, args ...string) (output string, code int, err error) {
	p, err := h.Start(Command{Args: args})
	if err != nil {
		return "", -1, err
	}
	code, err = p.Wait(ctx)
	return p.Output.String(), code, err
}

// Do calls f on a thread inside the host's namespace. Sockets that f makes
// belong to the namespace for good; goroutines that it starts do not.
func (h *Host) Do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The process's first thread stands for the whole process: in a
			// namespace it would be removed with the programs there. While it is
			// held here, another one is taken.
			result <- h.Do(f)
			runtime.UnlockOSThread()
			return
		}
		// Never unlocked: the thread ends with the goroutine, and nothing else
		// can run in the namespace by accident.
		result <- func() error {
			ns, err := os.Open("/run/netns/" + h.Namespace)
			if err != nil {
				return fmt.Errorf("enter %s: %w", h.Name, err)
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", h.Name, err)
			}
			return f()
		}()
	}()
	return <-result
}

// WaitUDP waits until something in the program's namespace is bound to the UDP
// port.
func (p *Process) WaitUDP(ctx context.Context, port int) error {
	return p.waitSocket(ctx, "udp", fmt.Sprintf(`:%04X `, port))
}

// WaitTCP waits until something in the program's namespace listens on the TCP
// port.
func (p *Process) WaitTCP(ctx context.Context, port int) error {
	return p.waitSocket(ctx, "tcp", fmt.Sprintf(`:%04X 0+:0000 0A `, port))
}

// waitSocket waits for a line in the namespace's socket table (proc(5): local
// address and port in hexadecimal, remote ones, state; 0A is listening).
func (p *Process) waitSocket(ctx context.Context, protocol, pattern string) error {
	expr, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, family := range []string{"", "6"} {
			table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s%s", p.Pid(), protocol, family))
			if err == nil && expr.Match(table) {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s socket %s: %w: %s", protocol, pattern, ctx.Err(), p.Output.Tail(10))
		case <-p.done:
			return fmt.Errorf("ended before it opened %s socket %s: %s", protocol, pattern, p.Output.Tail(10))
		case <-tick.C:
		}
	}
}
