package facts

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLinuxFacts(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"sys/class/dmi/id/sys_vendor": "Maker Inc.\n", "sys/class/dmi/id/product_name": "Book 5\n", "sys/class/dmi/id/chassis_type": "10\n",
		"sys/class/dmi/id/product_uuid": "4C4C4544-0042-3510-8052-B3C04F4B4E32\n", "sys/class/tpm/tpm0/tpm_version_major": "2\n",
		"sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x06\x00\x00\x00\x01",
		"sys/class/power_supply/BAT0/type":                                         "Battery\n", "sys/class/power_supply/AC/type": "Mains\n", "sys/class/power_supply/AC/online": "0\n",
		"proc/cpuinfo": "model name\t: CPU X\nphysical id\t: 0\ncore id\t: 0\ncpu MHz\t: 2400.5\n\nmodel name\t: CPU X\nphysical id\t: 0\ncore id\t: 1\n",
		"proc/meminfo": "MemTotal:        8048576 kB\n",
	} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	f := linuxFacts(filepath.Join(root, "sys"), filepath.Join(root, "proc"))
	if f.Manufacturer != "Maker Inc." || f.Model != "Book 5" || f.Chassis != "notebook" || f.UUID != "4c4c4544-0042-3510-8052-b3c04f4b4e32" ||
		f.TPM != "2.0" || !f.SecureBoot || f.Firmware != "uefi" || !f.Battery || !f.OnBattery || f.CPU != "CPU X" || f.Cores != 2 || f.MHz != 2400 || f.Memory != 7859 {
		t.Errorf("facts %+v", f)
	}
}
