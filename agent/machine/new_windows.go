package machine

import (
	"fmt"
	"os"

	"castpoint/agent/facts"
)

// New makes the machine of the Windows that runs.
func New() (*Windows, error) {
	work := os.Getenv("SystemDrive") + `\castpoint`
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, fmt.Errorf("make the working folder: %w", err)
	}
	return NewWindows(System{}, facts.Firmware(), facts.InWindowsPE(), work), nil
}

// NewOnDisk makes the machine of the Windows on the disk, which runs; work is a
// folder for scripts.
func NewOnDisk(work string) (*Windows, error) {
	return NewWindows(System{}, facts.Firmware(), false, work), nil
}
