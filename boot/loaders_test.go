package boot

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"castpoint/boot/asset"
)

// What is imported counts at once, behind the folders of the settings; what is
// removed is gone.
func TestLoadersAssets(t *testing.T) {
	own := loaderDir(t, "own.efi")
	l, err := NewLoaders(own)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "assets")
	l.Assets(dir)
	source := filepath.Join(t.TempDir(), "loaders")
	for _, name := range []string{"own.efi", "x86_64-sb/snponly-shim.efi"} {
		p := filepath.Join(source, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, append([]byte("MZ"), make([]byte, 100)...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := l.Find("x86_64-sb/snponly-shim.efi"); ok {
		t.Error("found before it was imported")
	}
	a, err := asset.Import(dir, asset.Options{Path: source, Trust: []string{"all"}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := l.Find("X86_64-SB/snponly-shim.efi"); !ok || filepath.Dir(filepath.Dir(filepath.Dir(p))) != filepath.Join(dir, a.ID) {
		t.Errorf("%q, %v", p, ok)
	}
	if p, _ := l.Find("own.efi"); filepath.Dir(p) != own {
		t.Errorf("own.efi is %s", p)
	}
	p, err := NewPlanner(PlannerConfig{Loaders: l, Settings: testResolver(t, Settings{Chain: ChainIPXEShim})})
	if err != nil {
		t.Fatal(err)
	}
	if plan := p.Plan(pxeClient(ArchEFIX64)); plan.File != "x86_64-sb/snponly-shim.efi" {
		t.Errorf("%+v", plan)
	}
	if plan := p.Plan(pxeClient(ArchBIOS)); plan.Serve {
		t.Errorf("%+v", plan)
	}
	if err := asset.Remove(dir, a.ID); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Find("x86_64-sb/snponly-shim.efi"); ok {
		t.Error("found after it was removed")
	}
}
