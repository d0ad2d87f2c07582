package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// keyPoll is how long a wait for a key lasts before the end of ctx is looked for,
// in milliseconds.
const keyPoll = 200

type linux struct{}

// New makes the platform of this machine.
func New() Platform { return linux{} }

// Network has nothing to wait for: /init did that before the agent was started.
func (linux) Network(context.Context, string, func(string)) ([]Card, error) {
	return listCards()
}

// SetClock sets the system's clock; the one on the board is left to the system
// that is deployed.
func (linux) SetClock(now time.Time) error {
	tv := unix.NsecToTimeval(now.UnixNano())
	return os.NewSyscallError("settimeofday", unix.Settimeofday(&tv))
}

func (linux) Console(out io.Writer) Console {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || !isScreen(f) {
		return nil
	}
	c := &linuxConsole{out: f, in: os.Stdin}
	if t, err := unix.IoctlGetTermios(int(c.in.Fd()), unix.TCGETS); err == nil {
		c.before = t
		keys := *t
		keys.Lflag &^= unix.ICANON | unix.ECHO
		keys.Cc[unix.VMIN], keys.Cc[unix.VTIME] = 0, 0
		_ = unix.IoctlSetTermios(int(c.in.Fd()), unix.TCSETS, &keys)
	}
	_, _ = io.WriteString(f, ansiClear)
	return c
}

// isScreen tells a screen from a serial line: of /dev/console the kernel says
// what it stands for, the last of the list being the one that is written to.
func isScreen(f *os.File) bool {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return false
	}
	active, _ := os.ReadFile("/sys/class/tty/console/active")
	return screenName(name, string(active))
}

func screenName(device, active string) bool {
	name := filepath.Base(device)
	if name == "console" {
		words := strings.Fields(active)
		if len(words) == 0 {
			return false
		}
		name = words[len(words)-1]
	}
	number, ok := strings.CutPrefix(name, "tty")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// Prompt runs a shell on the console until it is left.
func (linux) Prompt(ctx context.Context) error {
	_, _ = io.WriteString(os.Stdout, ansiClear+ansiHome+ansiShow+"castpoint goes on in the background; leave with exit\r\n")
	args := []string{"sh"}
	if path, err := exec.LookPath("cttyhack"); err == nil {
		args = []string{"setsid", path, "sh"} // a terminal of its own, for Ctrl-C
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	if t, err := unix.IoctlGetTermios(int(os.Stdin.Fd()), unix.TCGETS); err == nil {
		cooked := *t
		cooked.Lflag |= unix.ICANON | unix.ECHO
		_ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, &cooked)
		defer func() { _ = unix.IoctlSetTermios(int(os.Stdin.Fd()), unix.TCSETS, t) }()
	}
	err := c.Run()
	if _, left := errors.AsType[*exec.ExitError](err); left {
		return nil // with the status of its last command
	}
	return err
}

type linuxConsole struct {
	out, in *os.File
	before  *unix.Termios // nil when there is no keyboard
	rest    []byte        // of a key that is not whole yet
	pressed []Key         // not given yet
}

func (c *linuxConsole) Size() (width, height int) {
	width, height, err := term.GetSize(int(c.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 25
	}
	return width, height
}

func (c *linuxConsole) Draw(lines []string) error { return drawANSI(c.out, lines) }

func (c *linuxConsole) Key(ctx context.Context) (Key, error) {
	if c.before == nil {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	buf := make([]byte, 64)
	for {
		if len(c.pressed) > 0 {
			key := c.pressed[0]
			c.pressed = c.pressed[1:]
			return key, nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		fds := []unix.PollFd{{Fd: int32(c.in.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, keyPoll)
		switch {
		case errors.Is(err, unix.EINTR) || err == nil && n == 0:
			continue
		case err != nil:
			return 0, os.NewSyscallError("poll", err)
		}
		n, err = unix.Read(int(c.in.Fd()), buf)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) {
			return 0, os.NewSyscallError("read", err)
		}
		if n == 0 && fds[0].Revents&unix.POLLHUP != 0 {
			return 0, io.EOF
		}
		c.pressed, c.rest = ansiKeys(append(c.rest, buf[:max(n, 0)]...))
	}
}

func (c *linuxConsole) Close() error {
	if c.before != nil {
		_ = unix.IoctlSetTermios(int(c.in.Fd()), unix.TCSETS, c.before)
	}
	_, err := io.WriteString(c.out, ansiShow+"\r\n")
	return err
}
