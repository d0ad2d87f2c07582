package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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
