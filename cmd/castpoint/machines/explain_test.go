package machines

import (
	"testing"

	"castpoint/deploy"
)

// A device asks as it asked last.
func TestAsLast(t *testing.T) {
	d := deploy.Device{MACs: []string{"52:54:00:aa:00:01"}, Seen: deploy.Sight{MAC: "52:54:00:aa:00:02", Firmware: "BIOS x86 (0), iPXE"}}
	if q, arch := asLast(&d), archWord(d.Seen.Firmware); q.MAC != "52:54:00:aa:00:02" || arch != "bios" {
		t.Errorf("%+v %s", q, arch)
	}
}
