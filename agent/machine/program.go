package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"
)

// Program is a program to run.
type Program struct {
	Args  []string // the program and its arguments
	Dir   string   // "" is the agent's own folder
	Env   []string // beside the agent's environment, NAME=VALUE
	Input io.Reader
	// Output is given what the program prints, both outputs, as it comes; nil when
	// nobody wants it. The tail is kept in any case.
	Output func([]byte)
	// Line, when it is not empty, is the command line as it is, for Windows'
	// programs that do not take quotes as others do; Args[0] is the program.
	Line string
}

// Result is how a program ended.
type Result struct {
	Code int
	Tail string // the end of what it printed
}

// Programs runs programs.
type Programs interface {
	// Run waits for the end of a program. A program that ended with another code
	// than 0 is no error; one that could not be started, or that ctx ended, is.
	Run(ctx context.Context, p Program) (Result, error)
}

// Tuning of programs.
const (
	keptTail = 8 << 10         // bytes
	lingers  = 3 * time.Second // for what a program leaves behind that holds its output
)

// System runs programs of the system.
type System struct{}

// Run implements Programs.
func (System) Run(ctx context.Context, p Program) (Result, error) {
	c := exec.CommandContext(ctx, p.Args[0], p.Args[1:]...)
	c.Dir, c.Stdin, c.WaitDelay = p.Dir, p.Input, lingers
	c.Env = append(c.Environ(), p.Env...)
	setLine(c, p.Line)
	out := &tail{follow: p.Output}
	c.Stdout, c.Stderr = out, out
	// At its time limit a program ends with all that it has started: a shell's child
	// that goes on would write to the disk that the next step works on.
	all := newFamily(c)
	c.Cancel = all.kill
	err := c.Start()
	if err == nil {
		all.begin()
		err = c.Wait()
	}
	all.close()
	r := Result{Tail: out.String()}
	if ctx.Err() != nil {
		return r, fmt.Errorf("%s: %w", name(p.Args), context.Cause(ctx))
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		r.Code = exit.ExitCode()
		return r, nil
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it ended, and left somebody behind
	}
	if errors.Is(err, exec.ErrNotFound) {
		return r, fmt.Errorf("program %s is not in this boot environment", p.Args[0])
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", name(p.Args), err)
	}
	return r, nil
}

// name is a program's name without its folder.
func name(args []string) string {
	return args[0][strings.LastIndexAny(args[0], `/\`)+1:]
}

// ExitError is a program that ended with another code than 0.
type ExitError struct {
	Program string
	Code    int
	Tail    string
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("%s ended with exit code %d", e.Program, e.Code)
	if last := lastLines(e.Tail, 2); last != "" {
		text += ": " + last
	}
	return text
}

// lastLines are the last lines of an output in one line. Progress that is written
// over with carriage returns counts as lines.
func lastLines(text string, n int) string {
	var lines []string
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}

// must runs a program that has to end with code 0.
func must(ctx context.Context, run Programs, p Program) error {
	r, err := run.Run(ctx, p)
	if err != nil {
		return err
	}
	if r.Code != 0 {
		return &ExitError{Program: name(p.Args), Code: r.Code, Tail: r.Tail}
	}
	return nil
}

// tail keeps the end of what is written.
type tail struct {
	kept   []byte
	follow func([]byte)
}

func (t *tail) Write(b []byte) (int, error) {
	if t.follow != nil {
		t.follow(b)
	}
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - keptTail; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(b), nil
}

// String is the tail as text: what Windows' programs write as UTF-16 is read as
// such, and what is no UTF-8 is replaced.
func (t *tail) String() string {
	b := t.kept
	if len(b) > 2 && bytes.Count(b, []byte{0}) > len(b)/3 {
		b = bytes.ReplaceAll(b, []byte{0}, nil)
	}
	return strings.ToValidUTF8(string(b), "?")
}
