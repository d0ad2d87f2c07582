package machine

import (
	"fmt"
	"strconv"
	"strings"

	"castpoint/agent/disk"
)

// parseMounts reads /proc/self/mountinfo: "36 35 98:0 /part /mnt/point ...", where
// what is no file system's own root counts less than what is. Blanks are \040.
func parseMounts(text string) map[string]string {
	mounts := make(map[string]string)
	whole := make(map[string]bool)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 5 || mounts[f[2]] != "" && (whole[f[2]] || f[3] != "/") {
			continue
		}
		mounts[f[2]], whole[f[2]] = unescapeMount(f[4]), f[3] == "/"
	}
	return mounts
}

// unescapeMount reads \ooo, as the kernel writes blanks and backslashes.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountedAt is where the running system has a volume; "" when it has not.
func (l *Linux) mountedAt(v disk.Volume) (string, error) {
	if !l.onDisk {
		return "", nil
	}
	number, err := deviceNumber(v.Path)
	if err != nil {
		return "", fmt.Errorf("volume %s: %w", v.Name, err)
	}
	mounts, err := mountPoints()
	return mounts[number], err
}

// notInUse refuses to write to a disk that the running system is on, or uses.
func (l *Linux) notInUse(d disk.Disk) error {
	if !l.onDisk {
		return nil
	}
	at, err := usedBy(d)
	if err == nil && at != "" {
		err = fmt.Errorf("disk %s is in use by the system that runs (%s): restart into the boot image before the step", d.Path, at)
	}
	return err
}
