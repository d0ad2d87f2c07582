package settings

import (
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/internal/config"
)

func TestBootSettings(t *testing.T) {
	cfg := config.Default()
	cfg.Chain = config.List{"ipxe", "x64=windows", "52:54:00:00:00:01=ipxe", "4c4c4544-0034-4410-8052-b4c04f4d3132=windows"}
	cfg.Machine = config.List{"52:54:00:00:00:03 block-size=1400 ask=yes"}
	cfg.RamdiskBlockSize, cfg.ChainCA = 8192, 2023
	rc, err := Boot(&cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := boot.NewResolver(rc)
	if err != nil {
		t.Fatal(err)
	}
	x64 := boot.Client{Arch: boot.ArchEFIBC, HasArch: true}
	for i, c := range []struct {
		mac   []byte
		uuid  string
		chain boot.Chain
		block int
		ask   bool
	}{
		{nil, "", boot.ChainWindows, 8192, false},
		{[]byte{0x52, 0x54, 0, 0, 0, 1}, "", boot.ChainIPXE, 8192, false},
		{[]byte{0x52, 0x54, 0, 0, 0, 3}, "", boot.ChainWindows, 1400, true},
	} {
		x64.MAC, x64.UUID = c.mac, c.uuid
		if s := r.For(x64); s.Chain != c.chain || s.Store.BlockSize != c.block || s.Ask != c.ask || s.CA != 2023 || !*s.Store.VariableWindow {
			t.Errorf("%d: %+v", i, s)
		}
	}
	if s := r.For(boot.Client{UUID: "4c4c4544-0034-4410-8052-b4c04f4d3132"}); s.Chain != boot.ChainWindows {
		t.Errorf("by UUID: %+v", s)
	}
	cfg.BCD = filepath.Join(t.TempDir(), "none")
	if _, err := Boot(&cfg); err == nil || !strings.Contains(err.Error(), "bcd:") {
		t.Errorf("a boot configuration that is not there: %v", err)
	}
	cfg.BCD, cfg.Machine = "", config.List{"all colour=red"}
	if _, err := Boot(&cfg); err == nil || !strings.Contains(err.Error(), "colour") {
		t.Errorf("a setting that is not there: %v", err)
	}
}
