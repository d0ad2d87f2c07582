package source

import (
	"testing"
	"time"

	"castpoint/boot"
	"castpoint/content"
	"castpoint/test/bootable"
)

func TestPickImage(t *testing.T) {
	at := func(n int64) time.Time { return time.Unix(1e9+n, 0) }
	image := func(id, arch string, n int64) *content.Content {
		return &content.Content{ID: id, Name: "name-" + id, Kind: content.KindBootImage, Arch: arch, Created: at(n)}
	}
	osImage := image("os", "amd64", 99)
	osImage.Kind = content.KindOSImage
	list := []*content.Content{
		image("old64", "amd64", 1), image("new64", "amd64", 2), image("new386", "386", 9), image("arm", "arm64", 5),
		image("unknown", "", 50), osImage,
	}
	tests := []struct {
		name    string
		list    []*content.Content
		choice  string
		machine boot.Machine
		want    string // id, or part of the reason
	}{
		{"newest that fits", list, "", boot.MachineEFIX64, "new64"},
		{"BIOS takes 64 bits first", list, "", boot.MachineBIOS, "new64"},
		{"BIOS takes 32 bits when there is nothing else", list[2:3], "", boot.MachineBIOS, "new386"},
		{"arm64", list, "", boot.MachineARM64, "arm"},
		{"32-bit UEFI", list, "", boot.MachineEFIIA32, "new386"},
		{"an unrecorded architecture is better than nothing", list[4:5], "", boot.MachineARM64, "unknown"},
		{"configured id", list, "old64", boot.MachineEFIX64, "old64"},
		{"configured name", list, "name-old64", boot.MachineEFIX64, "old64"},
		{"configured and unfit", list, "arm", boot.MachineEFIX64, "The configured boot image arm is for arm64, and this machine is UEFI x64."},
		{"configured and gone", list, "gone", boot.MachineEFIX64, "The configured boot image gone is not in the library."},
		{"empty library", nil, "", boot.MachineEFIX64, "There is no boot image in the library."},
		{"only an OS image", list[5:], "", boot.MachineEFIX64, "There is no boot image in the library."},
		{"none fits", list[3:4], "", boot.MachineEFIX64, "No boot image in the library is for amd64 (UEFI x64)."},
		{"unknown machine", list, "", boot.MachineUnknown, "The processor family of this machine is not known."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, why := PickImage(&bootable.Library{Contents: tt.list}, tt.choice, tt.machine)
			if c != nil && c.ID != tt.want || c == nil && why.Why != tt.want {
				t.Errorf("got %+v %+v, want %q", c, why, tt.want)
			}
			if c == nil && why.Next == "" {
				t.Error("no next step")
			}
		})
	}
}
