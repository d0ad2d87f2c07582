package machine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent/disk"
)

// TestFound looks at file systems that others have made.
func TestFound(t *testing.T) {
	for _, c := range []struct {
		format string
		mkfs   []string
		size   int64
	}{
		{disk.NTFS, []string{"mkntfs", "-F", "-q"}, 8 << 20},
		{disk.FAT32, []string{"mkfs.vfat", "-F", "32"}, 64 << 20},
		{disk.FAT32, []string{"mkfs.vfat", "-F", "16"}, 16 << 20},
		{disk.Ext4, []string{"mkfs.ext4", "-q"}, 8 << 20},
		{disk.Ext4, []string{"mkfs.ext2", "-q"}, 8 << 20},
		{disk.XFS, []string{"mkfs.xfs", "-q"}, 320 << 20},
	} {
		path := filepath.Join(t.TempDir(), "volume")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, c.size); err != nil {
			t.Fatal(err)
		}
		if v, err := found(path); err == nil {
			t.Errorf("an empty volume is %+v", v)
		}
		if out, err := exec.CommandContext(t.Context(), c.mkfs[0], append(c.mkfs[1:], path)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", strings.Join(c.mkfs, " "), err, out)
		}
		if v, err := found(path); err != nil || v.Format != c.format || v.Path != path || v.Name != "volume" {
			t.Errorf("%s: %+v, %v", strings.Join(c.mkfs, " "), v, err)
		}
	}
}
