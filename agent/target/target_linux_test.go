package target

import "testing"

func TestMountsAndSwaps(t *testing.T) {
	const mounts = "proc /proc proc rw 0 0\n/dev/none1 / ext4 rw 0 0\n/dev/none2p1 /data\\040x ext4 rw 0 0\nbroken\n"
	for device, want := range map[string]string{"/dev/none1": "/", "/dev/none2p1": `/data\040x`, "/dev/none": "", "proc": ""} {
		if _, at := mountedOn(mounts, []string{"/dev/other", device}); at != want {
			t.Errorf("%s is mounted at %q, want %q", device, at, want)
		}
	}
	const swaps = "Filename\tType\tSize\n/dev/none3 partition 1 0 -2\n"
	if swapOn(swaps, []string{"/dev/none3"}) == "" || swapOn(swaps, []string{"/dev/none"}) != "" {
		t.Error("swap is not recognised")
	}
}

func TestStatePathOfDisk(t *testing.T) {
	if got := StatePath("/dev/disk/by-id/x", true); got != "/run/castpoint-dev-disk-by-id-x.part.json" {
		t.Error(got)
	}
}
