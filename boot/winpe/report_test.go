package winpe

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// The report says which machines boot: by the files that are there, and by who
// signed the boot managers.
func TestReport(t *testing.T) {
	end := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	files := full()
	files["Windows/Boot/EFI/bootmgfw.efi"] = signed(t, realProgram(t), "Microsoft Windows Production PCA 2011", end)
	files["Windows/Boot/EFI_EX/bootmgfw_EX.efi"] = signed(t, realProgram(t), "Windows UEFI CA 2023", end.AddDate(10, 0, 0))
	delete(files, "Windows/Boot/PXE/bootmgr.exe")
	r := openWIM(t, makeWIM(t, files), Options{}).Report()
	want := []Boots{
		{"UEFI, Secure Boot off", true, ""},
		{"UEFI, Secure Boot with Microsoft's CA of 2011", true, "with bootmgfw.efi"},
		{"UEFI, Secure Boot with Microsoft's CA of 2023", true, "with bootmgfw_EX.efi (setting ca=2023)"},
		{"BIOS", false, "missing: bootmgr.exe"},
	}
	for i, w := range want {
		if i >= len(r.Boots) || r.Boots[i] != w {
			t.Fatalf("%+v, want %+v", r.Boots, want)
		}
	}
	var b bytes.Buffer
	table := func(w io.Writer, rows [][]string) error {
		for _, row := range rows {
			if _, err := io.WriteString(w, strings.Join(row, "|")+"\n"); err != nil {
				return err
			}
		}
		return nil
	}
	if err := r.Print(&b, end.AddDate(1, 0, 0), table); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		"BIOS|no|missing: bootmgr.exe", "|Microsoft Windows Production PCA 2011|2024-06-01 (over, which firmware does not mind)", "|Windows UEFI CA 2023|2034-06-01\n",
		"missing: bootmgr.exe (needed by BIOS)",
	} {
		if !strings.Contains(b.String(), part) {
			t.Errorf("the report lacks %q:\n%s", part, b.String())
		}
	}

	files["Windows/Boot/EFI/bootmgfw.efi"] = append([]byte(nil), files["Windows/Boot/EFI/bootmgfw.efi"]...)
	files["Windows/Boot/EFI/bootmgfw.efi"][0x200]++
	delete(files, "Windows/Boot/EFI_EX/bootmgfw_EX.efi")
	r = openWIM(t, makeWIM(t, files), Options{}).Report()
	if r.Boots[1].Yes || !strings.Contains(r.Boots[1].Why, "changed") || r.Boots[2].Yes {
		t.Errorf("a boot manager that was changed: %+v", r.Boots)
	}
	delete(files, "Windows/Boot/DVD/EFI/boot.sdi")
	for _, b := range openWIM(t, makeWIM(t, files), Options{}).Report().Boots {
		if b.Yes || !strings.Contains(b.Why, "boot.sdi") {
			t.Errorf("without boot.sdi: %+v", b)
		}
	}
}
