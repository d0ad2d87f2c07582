package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot"
	"castpoint/internal/config"
)

func TestWindowsConfig(t *testing.T) {
	cfg := config.Default()
	cfg.Chain = config.List{"ipxe", "x64=windows", "52:54:00:00:00:01=ipxe", "4c4c4544-0034-4410-8052-b4c04f4d3132=windows"}
	cfg.RamdiskBlockSize, cfg.ChainCA = 8192, 2023
	w, err := windowsConfig(&cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if w.Settings.Chain != boot.ChainIPXE || w.Chains[boot.ArchEFIX64] != boot.ChainWindows || w.Chains[boot.ArchEFIBC] != boot.ChainWindows || len(w.Chains) != 2 {
		t.Errorf("%+v, %v", w.Settings, w.Chains)
	}
	if s, ok := w.Device(boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 1}}); !ok || s.Chain != boot.ChainIPXE || s.CA != 2023 || s.Store.BlockSize != 8192 {
		t.Errorf("by MAC: %+v, %v", s, ok)
	}
	if s, ok := w.Device(boot.Client{UUID: "4c4c4544-0034-4410-8052-b4c04f4d3132"}); !ok || s.Chain != boot.ChainWindows {
		t.Errorf("by UUID: %+v, %v", s, ok)
	}
	if _, ok := w.Device(boot.Client{MAC: []byte{0x52, 0x54, 0, 0, 0, 2}}); ok {
		t.Error("a machine that is not named has settings of its own")
	}
	cfg.BCD = filepath.Join(t.TempDir(), "none")
	if _, err := windowsConfig(&cfg, nil, nil); err == nil || !strings.Contains(err.Error(), "bcd:") {
		t.Errorf("a boot configuration that is not there: %v", err)
	}
}

func TestBCD(t *testing.T) {
	file := filepath.Join(t.TempDir(), "BCD")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"bcd", "write", file, "--bios", "--wim", `\Boot\x.wim`, "--block-size", "1400", "--menu", "--timeout", "5s", "--debug", "network", "--debug-host", "192.0.2.1", "--debug-key", "1.2.3.4"}, 0, "wrote"},
		{[]string{"bcd", "show", file}, 0, `ramdisk=[boot]\Boot\x.wim,{ramdiskoptions}`},
		{[]string{"bcd", "show", file, "--json"}, 0, `"ramdisktftpblocksize"`},
		{[]string{"bcd", "write", file}, 1, "--force"},
		{[]string{"bcd", "write", file, "--force"}, 0, "wrote"},
		{[]string{"bcd", "show", file}, 0, "winload.efi"},
		{[]string{"bcd", "write", file, "--force", "--wim", "no/backslash"}, 2, "wim"},
		{[]string{"bcd", "write", file, "--force", "--nx", "maybe"}, 2, "optin"},
		{[]string{"bcd", "write", file, "--force", "--debug", "usb"}, 2, "serial or network"},
		{[]string{"bcd", "show", os.Args[0]}, 1, ""},
	} {
		var out, errs bytes.Buffer
		code := run(t.Context(), c.args, &out, &errs)
		if all := out.String() + errs.String(); code != c.code || !strings.Contains(strings.ToLower(all), strings.ToLower(c.says)) {
			t.Errorf("castpoint %s: exit code %d, want %d and %q: %.400s", strings.Join(c.args, " "), code, c.code, c.says, all)
		}
	}
}
