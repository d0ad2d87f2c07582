package platform

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sys/windows/registry"
)

// setupPoll is how often Windows' setup is looked at.
const setupPoll = 2 * time.Second

// shutdownInProgress is ERROR_SHUTDOWN_IN_PROGRESS (winerror.h).
const shutdownInProgress = 1115

// AwaitSetup waits until Windows has set itself up: while it does, it restarts when it
// wants to, and installers refuse to work.
func AwaitSetup(ctx context.Context, say func(string)) error {
	for said := false; ; {
		busy := ""
		for _, name := range []string{"SystemSetupInProgress", "OOBEInProgress"} {
			if setupValue(name) != 0 {
				busy = name
			}
		}
		if busy == "" {
			return nil
		}
		if !said {
			said = true
			say(fmt.Sprintf("waiting for the end of Windows' setup (%s)", busy))
		}
		t := time.NewTimer(setupPoll)
		select {
		case <-ctx.Done():
			t.Stop()
			return context.Cause(ctx)
		case <-t.C:
		}
	}
}

// setupValue is a number below HKLM\SYSTEM\Setup; 0 when there is none.
func setupValue(name string) uint64 {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `SYSTEM\Setup`, registry.QUERY_VALUE)
	if err != nil {
		return 0
	}
	defer k.Close()
	v, _, err := k.GetIntegerValue(name)
	if err != nil {
		return 0
	}
	return v
}

// Down restarts the Windows that runs, or switches it off.
func Down(ctx context.Context, restart bool) error {
	how := "/s"
	if restart {
		how = "/r"
	}
	err := runQuiet(ctx, "shutdown", how, "/t", "0", "/f", "/d", "p:2:4", "/c", "castpoint: the task sequence of this machine")
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == shutdownInProgress {
		return nil // an installer was quicker
	}
	return err
}
