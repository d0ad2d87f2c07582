package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// castpoint is the program, by its command line. Its labs are in dir, as everything
// of the demo.
type castpoint struct {
	program, dir, data string
}

// command is a call of the program. It ends when ctx does, by SIGTERM.
func (c *castpoint) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Env = append(os.Environ(), "TMPDIR="+c.dir)
	// Ctrl-C goes to the demo, which stops what it has started; when the demo is killed
	// they end, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	return cmd
}

// run runs a command to its end and returns what it wrote to standard output.
func (c *castpoint) run(ctx context.Context, args ...string) (string, error) {
	cmd := c.command(ctx, args...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("castpoint %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(said.String()))
	}
	return string(out), nil
}

// ask runs a command that prints JSON.
func (c *castpoint) ask(ctx context.Context, to any, args ...string) error {
	out, err := c.run(ctx, args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), to); err != nil {
		return fmt.Errorf("castpoint %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// addBootEnvironment makes one that can receive contents and no more, which boots
// soonest.
func (c *castpoint) addBootEnvironment(ctx context.Context) error {
	dir := filepath.Join(c.dir, "bootenv")
	if _, err := c.run(ctx, "bootenv", "build", "--out", dir, "--receive-only"); err != nil {
		return err
	}
	_, err := c.run(ctx, "content", "add", "boot-image", "--kernel", filepath.Join(dir, "vmlinuz"), "--initrd", filepath.Join(dir, "initrd"),
		"--arch", "amd64", "--name", "linux", "--data", c.data)
	return err
}

// A process is a command that goes on beside the demo.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // readable when done is closed

	mu   sync.Mutex
	line []byte   // not yet whole
	last []string // lines
	each func(line string)
}

// lastLines is how many are kept of what a process says.
const lastLines = 40

// start starts a command; each, which may be nil, gets every line.
func (c *castpoint) start(ctx context.Context, each func(line string), args ...string) (*process, error) {
	p := &process{cmd: c.command(ctx, args...), done: make(chan struct{}), each: each}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	return p, nil
}

// Write takes what the process says.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = append(p.line, b...)
	for {
		line, rest, ok := bytes.Cut(p.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if p.each != nil {
			p.each(string(line))
		}
		p.last = append(p.last, string(line))
		p.last = p.last[max(0, len(p.last)-lastLines):]
		p.line = rest
	}
}

// said is the end of what the process has said.
func (p *process) said(lines int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.last[max(0, len(p.last)-lines):], "\n")
}

// ended says whether it has.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}
