package machine

import (
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/windows"
)

// setLine replaces the command line that Go would make of the arguments.
func setLine(c *exec.Cmd, line string) {
	if line != "" {
		c.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	}
}

// family is a program and those that it has started: a job. What a program leaves
// running when it ends by itself goes on, so closing the job ends nobody.
type family struct {
	c *exec.Cmd

	mu  sync.Mutex
	job windows.Handle // 0 when there is none: the program is alone then
}

func newFamily(c *exec.Cmd) *family {
	f := &family{c: c}
	if job, err := windows.CreateJobObject(nil, nil); err == nil {
		f.job = job
	}
	return f
}

// begin takes the program into the job, and so all that it starts from now on.
func (f *family) begin() {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(f.c.Process.Pid))
	if err == nil {
		err = windows.AssignProcessToJobObject(f.job, p)
		_ = windows.CloseHandle(p)
	}
	if err != nil {
		f.drop()
	}
}

func (f *family) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drop()
}

// drop does without the job. mu is held.
func (f *family) drop() {
	if f.job != 0 {
		_ = windows.CloseHandle(f.job)
		f.job = 0
	}
}

func (f *family) kill() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.job != 0 {
		return windows.TerminateJobObject(f.job, 1)
	}
	return f.c.Process.Kill()
}
