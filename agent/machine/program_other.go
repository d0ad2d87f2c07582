//go:build !windows

package machine

import "os/exec"

// setLine is for Windows.
func setLine(*exec.Cmd, string) {}
