package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"castpoint/agent/disk"
)

// mountPoints reads which block devices of the running system are mounted where: by
// "major:minor".
func mountPoints() (map[string]string, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list what is mounted: %w", err)
	}
	return parseMounts(string(b)), nil
}

// deviceNumber is the "major:minor" of a block device.
func deviceNumber(path string) (string, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return "", &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev)), nil
}

// usedBy says which mount point keeps a disk from being divided; "" when none does.
func usedBy(d disk.Disk) (string, error) {
	mounts, err := mountPoints()
	if err != nil {
		return "", err
	}
	own, err := filepath.EvalSymlinks(filepath.Join("/sys/class/block", filepath.Base(d.Path)))
	if err != nil {
		return "", fmt.Errorf("disk %s: %w", d.Path, err)
	}
	for number, at := range mounts {
		device, err := filepath.EvalSymlinks(filepath.Join("/sys/dev/block", number))
		if err == nil && (device == own || strings.HasPrefix(device, own+"/")) {
			return at, nil
		}
	}
	return "", nil
}
