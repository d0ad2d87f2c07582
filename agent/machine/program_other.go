//go:build !windows

package machine

import (
	"os/exec"
	"syscall"
)

// setLine is for Windows.
func setLine(*exec.Cmd, string) {}

// family is a program and those that it has started: a process group.
type family struct{ c *exec.Cmd }

func newFamily(c *exec.Cmd) *family {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return &family{c}
}

func (*family) begin() {}
func (*family) close() {}

func (f *family) kill() error { return syscall.Kill(-f.c.Process.Pid, syscall.SIGKILL) }
