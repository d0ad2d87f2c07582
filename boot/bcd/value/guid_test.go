package value

import (
	"bytes"
	"testing"
)

func TestGUID(t *testing.T) {
	want := []byte{0x2c, 0x86, 0xea, 0x9d, 0xdd, 0x5c, 0x70, 0x4e, 0xac, 0xc1, 0xf3, 0x2b, 0x34, 0x4d, 0x47, 0x95}
	for _, text := range []string{
		"{9dea862c-5cdd-4e70-acc1-f32b344d4795}", "{9DEA862C-5CDD-4E70-ACC1-F32B344D4795}", "9dea862c-5cdd-4e70-acc1-f32b344d4795",
	} {
		g, err := ParseGUID(text)
		if err != nil || !bytes.Equal(g[:], want) {
			t.Errorf("%s: %x, %v", text, g[:], err)
		}
	}
	if s := BootManager().String(); s != "{9dea862c-5cdd-4e70-acc1-f32b344d4795}" {
		t.Errorf("text %s", s)
	}
	for _, text := range []string{
		"", "{}", "{9dea862c-5cdd-4e70-acc1-f32b344d4795", "9dea862c5cdd4e70acc1f32b344d4795", "{9dea862c-5cdd-4e70-acc1-f32b344d479g}",
		"{9dea862c-5cdd-4e70-acc1-f32b344d47955}", "9dea862c+5cdd-4e70-acc1-f32b344d4795",
	} {
		if _, err := ParseGUID(text); err == nil {
			t.Errorf("%q passes as a GUID", text)
		}
	}
	for _, id := range []GUID{BootManager(), RamdiskOptions(), GlobalSettings(), LoaderSettings(), DebuggerSettings(), EMSSettings(), MemoryTester(), ResumeSettings()} {
		if alias, title := id.WellKnown(); alias == "" || title == "" {
			t.Errorf("%s has no alias", id)
		}
	}
}
