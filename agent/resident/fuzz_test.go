package resident

import (
	"os"
	"path/filepath"
	"testing"

	"castpoint/agent/protocol"
)

// FuzzLook: what was applied to the disk is no system, or one of a kind and an
// architecture for which there are agents.
func FuzzLook(f *testing.F) {
	pe := make([]byte, 0x90)
	copy(pe, "MZ")
	pe[0x3c] = 0x80
	copy(pe[0x80:], "PE\x00\x00\x64\x86")
	f.Add(true, pe, []byte("regf\x01\x00\x00\x00\x01\x00\x00\x00"))
	f.Add(true, []byte("MZ"), []byte("regf\x01\x00\x00\x00\x02\x00\x00\x00"))
	f.Add(true, append(pe[:0x3c:0x3c], 0xff, 0xff, 0xff, 0xff), []byte("regf"))
	elf := make([]byte, 64)
	copy(elf, "\x7fELF\x02\x01\x01")
	elf[16], elf[18], elf[20], elf[52] = 2, 0x3e, 1, 64
	f.Add(false, elf, []byte{})
	f.Add(false, elf[:40], []byte{})
	root := f.TempDir()
	windows, linux := filepath.Join(root, "windows"), filepath.Join(root, "linux")
	for _, folder := range []string{windows + "/Windows/System32/config", linux + "/usr/lib/systemd"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, isWindows bool, program, hive []byte) {
		write := func(path string, b []byte) {
			if err := os.WriteFile(path, b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		below := linux
		if isWindows {
			below = windows
			write(windows+"/Windows/System32/config/SYSTEM", hive)
			write(windows+"/Windows/System32/ntoskrnl.exe", program)
			_ = closedHive(windows + "/Windows/System32/config/SYSTEM") // a reason, or none
		} else {
			write(linux+"/usr/lib/systemd/systemd", program)
		}
		s, err := Look(below)
		if err != nil {
			return
		}
		if a := s.Architecture; s.Kind != Windows && s.Kind != Linux || a != "" && a != "amd64" && a != "arm64" {
			t.Fatalf("%+v", s)
		}
	})
}

// FuzzSettings: the settings beside the agent, on a disk that was somebody's meanwhile.
func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"server":"https://192.0.2.1:8443","pin":"sha256:00","ticket":"t","mac":"52:54:00:00:00:01","run":"r"}`))
	f.Add([]byte(`{"server":"x","pin":"","ticket":"t"}`))
	f.Add([]byte(`{`))
	path := filepath.Join(f.TempDir(), settingsName)
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := ReadSettings(path)
		if err != nil {
			return
		}
		if s.Server == "" || s.Ticket == "" {
			t.Fatalf("taken: %+v", s)
		}
		_, _ = protocol.ParsePin(s.Pin) // an error, or a hash
	})
}
