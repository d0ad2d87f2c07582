package machine

import (
	"os/exec"
	"syscall"
)

// setLine replaces the command line that Go would make of the arguments.
func setLine(c *exec.Cmd, line string) {
	if line != "" {
		c.SysProcAttr = &syscall.SysProcAttr{CmdLine: line}
	}
}
