package target

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"castpoint/agent"
	"castpoint/multicast"
	"castpoint/multicast/assembly"
)

// defaultWindow is how much of an object waits for a program at most.
const defaultWindow = 256 << 20

// pipeDelay is how long what a program leaves behind may hold its output open.
const pipeDelay = 3 * time.Second

// mostLeft is how many bytes of the end a program may leave that ends well: wimlib, which
// applies a WIM out of a pipe, does not read the tables behind the last file.
const mostLeft = 16 << 20

// errProgram says that the program ended before it had everything.
var errProgram = errors.New("the program has ended")

// Pipe is an output that hands the object in order to a program's standard input
// and keeps nothing. What the program prints goes to standard error: standard
// output belongs to reports.
type Pipe struct {
	*assembly.Stream
	args   []string
	window int64
	log    io.Writer

	program *exec.Cmd
	stdin   io.WriteCloser
	cancel  context.CancelCauseFunc
	ended   chan struct{} // closed when the program has ended
	exit    error         // of the program; valid when it has ended
	wrote   chan error    // end of the stream; has room for one
	took    int64         // bytes that the program was given
	left    int64         // bytes at the end that it ended without
	digest  [sha256.Size]byte
	sum     hash.Hash // nil unless it was asked for
}

// NewPipe finds the program, before anything is asked of the server.
func NewPipe(args []string, window int64, log io.Writer) (*Pipe, error) {
	if len(args) == 0 {
		return nil, agent.Errorf(agent.ErrUsage, "no program given: say --pipe -- PROGRAM ARGUMENTS")
	}
	path, err := exec.LookPath(args[0])
	if err != nil {
		return nil, agent.Errorf(agent.ErrUsage, "program %s: %w", args[0], errors.Unwrap(err))
	}
	if window == 0 {
		window = defaultWindow
	}
	if log == nil {
		log = os.Stderr
	}
	return &Pipe{args: append([]string{path}, args[1:]...), window: window, log: log}, nil
}

// String is the command line.
func (p *Pipe) String() string { return strings.Join(p.args, " ") }

// Targets makes the window for the object; another session of it goes on with it.
func (p *Pipe) Targets(adm *multicast.Admission) ([]assembly.Target, error) {
	list, err := single(adm, p)
	if err != nil || p.Stream != nil {
		return list, err
	}
	obj := &adm.Objects[adm.Files[0].Object]
	p.Stream, err = assembly.NewStream(obj, p.window)
	p.digest = obj.Digest
	return list, err
}

// Begin starts the program. The context it returns ends when the program does
// not take what is written, or with ctx. whole has the SHA-256 of all that the
// program gets computed.
func (p *Pipe) Begin(ctx context.Context, whole bool) (_ context.Context, err error) {
	ctx, p.cancel = context.WithCancelCause(ctx)
	p.program = exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	p.program.Stdout, p.program.Stderr = p.log, p.log
	p.program.WaitDelay = pipeDelay
	if p.stdin, err = p.program.StdinPipe(); err == nil {
		err = p.program.Start()
	}
	if err != nil {
		p.cancel(err)
		return ctx, fmt.Errorf("start %s: %w", p, err)
	}
	// Frees a write that blocks: a child of the program may keep the other end.
	context.AfterFunc(ctx, func() { _ = p.stdin.Close() })
	var to io.Writer = feed{p}
	if whole {
		p.sum = sha256.New()
		to = io.MultiWriter(to, p.sum)
	}
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		if p.exit = p.program.Wait(); errors.Is(p.exit, exec.ErrWaitDelay) {
			p.exit = nil // it ended well, and left somebody behind
		}
	}()
	p.wrote = make(chan error, 1)
	go func() {
		err := p.Run(ctx, to)
		if err != nil {
			p.cancel(fmt.Errorf("%w: %w", errProgram, err))
		}
		p.wrote <- err
	}()
	return ctx, nil
}

// feed writes to the program. When it has ended well without the last bytes, they go
// nowhere.
type feed struct{ p *Pipe }

func (f feed) Write(b []byte) (int, error) {
	p := f.p
	n := 0
	if p.left == 0 {
		var err error
		n, err = p.stdin.Write(b)
		if p.took += int64(n); err == nil {
			return n, nil
		}
		// Whatever it does without its input, it ends, or ctx ends it.
		<-p.ended
		if p.exit != nil {
			return n, err
		}
	}
	p.left += int64(len(b) - n)
	if p.left > mostLeft || p.left > p.took {
		return n, errors.New("it was given more than it takes")
	}
	return len(b), nil
}

// Reserve has no room to take.
func (p *Pipe) Reserve(int64) error { return nil }

// Resumable says that there may be blocks of an earlier receive.
func (p *Pipe) Resumable() bool { return false }

// Where is the output in messages.
func (p *Pipe) Where() string { return p.String() }

// Finish waits for the end of the program, which has everything.
func (p *Pipe) Finish() error {
	if err := p.end(); err != nil {
		return err
	}
	if p.left > 0 {
		fmt.Fprintf(p.log, "%s has ended well without the last %d bytes\n", p, p.left)
	}
	if p.sum != nil && !bytes.Equal(p.sum.Sum(nil), p.digest[:]) {
		return fmt.Errorf("program %s got another object: %w", p, assembly.ErrDigest)
	}
	return nil
}

// Discard is for a pipe whose program never started, or got nothing.
func (p *Pipe) Discard() error {
	p.Abandon()
	return nil
}

// Abandon ends the program early.
func (p *Pipe) Abandon() {
	if p.cancel == nil || p.wrote == nil {
		return
	}
	p.cancel(context.Canceled)
	_ = p.end() // why it ends is known
}

// end closes the program's input and waits for it. A second call does nothing.
func (p *Pipe) end() error {
	if p.program == nil || p.wrote == nil {
		return nil
	}
	wrote := <-p.wrote
	p.wrote = nil
	closed := p.stdin.Close()
	<-p.ended
	p.cancel(nil)
	switch {
	case p.exit != nil:
		return fmt.Errorf("program %s: %w", p, p.exit)
	case wrote != nil:
		return wrote
	case closed != nil && !errors.Is(closed, os.ErrClosed):
		return fmt.Errorf("program %s: close its input: %w", p, closed)
	}
	return nil
}

// Failure is why a pipe's receive ended: the program's own end rather than what
// followed from it.
func (p *Pipe) Failure(ctx context.Context, err error) error {
	if !errors.Is(context.Cause(ctx), errProgram) {
		return err
	}
	if end := p.end(); p.exit != nil {
		return fmt.Errorf("%w, before it had everything", end)
	}
	return fmt.Errorf("program %s ended before it had everything", p)
}
