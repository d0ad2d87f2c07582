//go:build !windows

package platform

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// AwaitSetup is for Windows: systemd starts the agent when the system is set up.
func AwaitSetup(context.Context, func(string)) error { return nil }

// Down restarts the system that runs, or switches it off.
func Down(ctx context.Context, restart bool) error {
	how := "poweroff"
	if restart {
		how = "reboot"
	}
	if out, err := exec.CommandContext(ctx, "systemctl", how).CombinedOutput(); err != nil {
		return fmt.Errorf("systemctl %s: %w: %s", how, err, strings.TrimSpace(string(out)))
	}
	return nil
}
