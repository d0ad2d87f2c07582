package sequence

import (
	"strings"
	"testing"
)

// TestCheckEnvironment: what the environment that a sequence begins in cannot do is
// found before a machine tries it.
func TestCheckEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		"environment: windows-pe\nsteps:\n  - wipe-disk:\n      disk: all\n      method: secure-erase":                      "line 6: step wipe-disk: method: Windows PE cannot do secure-erase",
		"environment: windows-pe\nsteps:\n  - wipe-disk: {method: random}":                                                  "line 4: step wipe-disk: method: Windows PE cannot do random",
		"environment: windows-pe\nsteps:\n  - wipe-disk: {method: zero, passes: 3}":                                         "",
		"environment: linux\nsteps:\n  - wipe-disk: {method: secure-erase}":                                                 "",
		"environment: linux\nsteps:\n  - wipe-disk: {method: secure-erase, passes: 3}":                                      "line 4: warning: step wipe-disk: passes: are for the methods zero and random",
		"environment: windows-pe\nsteps:\n  - install-bootloader: {kind: grub, os: /mnt}":                                   "line 4: step install-bootloader: kind: Windows PE cannot install GRUB",
		"environment: linux\nsteps:\n  - apply-image: {content: c, target: /mnt, compact: true}\n  - restart: {into: disk}": "line 4: step apply-image: compact: only Windows PE can",
	} {
		_, problems := Check([]byte("name: x\n" + text))
		found := ""
		for _, p := range problems {
			found += p.String() + "\n"
		}
		if want == "" && found != "" || !strings.Contains(found, want) {
			t.Errorf("%s\n  got  %s  want %s", text, found, want)
		}
	}
}
