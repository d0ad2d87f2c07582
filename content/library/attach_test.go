package library

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"castpoint/content"
	"castpoint/test/image"
)

func attachedNames(c *content.Content) (names []string) {
	for _, f := range c.Attached() {
		names = append(names, f.Name)
	}
	return names
}

func TestAttach(t *testing.T) {
	ctx := context.Background()
	l := openLibrary(t, t.TempDir())
	pe := add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: image.Capture(t, 5000, []string{"--boot"}, "pe"), Name: "pe"})
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Intel LAN/e1000.inf": "[Version]", "Intel LAN/x64/e1000.sys": "driver", "pkg/nic.inf": "[Version] of the package", "pkg/nic.sys": "sys", "tool.exe": "tool",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	pkg := add(t, l, content.AddRequest{Kind: content.KindDriverPackage, Path: filepath.Join(dir, "pkg"), Name: "Realtek"})

	var last, total int64
	got, err := l.Attach(ctx, "pe", AttachRequest{
		Drivers:  []string{filepath.Join(dir, "Intel LAN"), "realtek"},
		Files:    map[string]string{`Windows\System32\tool.exe`: filepath.Join(dir, "tool.exe")},
		Progress: func(done, all int64) { last, total = done, all },
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"castpoint/drivers/realtek/nic.inf", "castpoint/drivers/realtek/nic.sys",
		"Windows/System32/tool.exe", "castpoint/drivers/intel-lan/e1000.inf", "castpoint/drivers/intel-lan/x64/e1000.sys",
	}
	if have := attachedNames(got); !slices.Equal(have, want) || got.Revision != pe.Revision+1 || last != total || total == 0 {
		t.Errorf("attached %q, revision %d, progress %d of %d", have, got.Revision, last, total)
	}
	if f, _ := got.File(content.RoleImage); f.Digest != pe.Files[0].Digest {
		t.Error("the image has changed")
	}
	consistent(t, l)

	// Objects that are shared with the package stay when it goes.
	if err := l.Remove(pkg.ID); err != nil {
		t.Fatal(err)
	}
	consistent(t, l)
	// A path that is attached already is replaced.
	writeFile(t, filepath.Join(dir, "tool.exe"), []byte("newer tool"))
	if got, err = l.Attach(ctx, "pe", AttachRequest{Files: map[string]string{"windows/system32/TOOL.exe": filepath.Join(dir, "tool.exe")}}); err != nil || len(got.Attached()) != 5 {
		t.Errorf("replaced: %q, %v", attachedNames(got), err)
	}
	consistent(t, l)
	// Exported and imported elsewhere it is the same.
	if _, err := l.Set("pe", SetRequest{WinPE: &content.WinPE{Start: content.StartNet, Prompt: true}}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := l.Export(ctx, "pe", &out, nil); err != nil {
		t.Fatal(err)
	}
	other := openLibrary(t, t.TempDir())
	moved, err := other.Import(ctx, &out, nil)
	if err != nil || !slices.Equal(attachedNames(moved), attachedNames(got)) || moved.WinPE != (content.WinPE{Start: content.StartNet, Prompt: true}) {
		t.Errorf("imported: %+v, %v", moved, err)
	}
	consistent(t, other)
	// A new image keeps what is attached.
	got, err = l.Update(ctx, "pe", content.AddRequest{Path: image.Capture(t, 6000, []string{"--boot"}, "pe")})
	if err != nil || len(got.Attached()) != 5 || !got.WinPE.Prompt {
		t.Errorf("updated: %+v, %v", got, err)
	}
	consistent(t, l)

	if got, err = l.Detach(ctx, "pe", []string{"intel-lan", "windows/system32/tool.exe"}); err != nil || len(got.Attached()) != 2 {
		t.Errorf("detached: %q, %v", attachedNames(got), err)
	}
	if got, err = l.Detach(ctx, "pe", []string{`castpoint\drivers`}); err != nil || len(got.Attached()) != 0 {
		t.Errorf("detached: %q, %v", attachedNames(got), err)
	}
	consistent(t, l)
}

func TestAttachRefused(t *testing.T) {
	ctx := context.Background()
	l := openLibrary(t, t.TempDir())
	add(t, l, content.AddRequest{Kind: content.KindBootImage, Path: image.Capture(t, 5000, []string{"--boot"}, "pe"), Name: "pe"})
	add(t, l, content.AddRequest{Kind: content.KindOSImage, Path: image.Capture(t, 5001, nil, "os"), Name: "os"})
	dir := t.TempDir()
	file := filepath.Join(dir, "none", "x.txt")
	writeFile(t, file, []byte("x"))
	for name, c := range map[string]struct {
		id   string
		req  AttachRequest
		want error
	}{
		"an OS image":              {"os", AttachRequest{Files: map[string]string{"a": file}}, content.ErrInvalid},
		"nothing":                  {"pe", AttachRequest{}, content.ErrInvalid},
		"no content":               {"absent", AttachRequest{Files: map[string]string{"a": file}}, content.ErrNotFound},
		"no package":               {"pe", AttachRequest{Drivers: []string{"absent"}}, content.ErrNotFound},
		"another kind":             {"pe", AttachRequest{Drivers: []string{"os"}}, content.ErrInvalid},
		"a folder without drivers": {"pe", AttachRequest{Drivers: []string{filepath.Join(dir, "none")}}, content.ErrInvalid},
		"a path that leads out":    {"pe", AttachRequest{Files: map[string]string{`..\boot.ini`: file}}, content.ErrInvalid},
		"no file":                  {"pe", AttachRequest{Files: map[string]string{"a": file + "2"}}, content.ErrInvalid},
		"a folder as a file":       {"pe", AttachRequest{Files: map[string]string{"a": dir}}, content.ErrInvalid},
	} {
		if _, err := l.Attach(ctx, c.id, c.req); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := l.Detach(ctx, "pe", []string{"absent"}); !errors.Is(err, content.ErrNotFound) {
		t.Error(err)
	}
	for _, s := range []content.WinPE{{Start: "autoexec.bat"}} {
		if _, err := l.Set("pe", SetRequest{WinPE: &s}); !errors.Is(err, content.ErrInvalid) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if _, err := l.Set("os", SetRequest{WinPE: &content.WinPE{Prompt: true}}); !errors.Is(err, content.ErrInvalid) {
		t.Error(err)
	}
	consistent(t, l)
}
