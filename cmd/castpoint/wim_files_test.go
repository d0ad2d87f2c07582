package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent"
	"castpoint/cmd/castpoint/images"
)

// makeTreeWIM captures a folder with a few files and a link, compressed.
func makeTreeWIM(t *testing.T) (image string, big []byte) {
	t.Helper()
	tool, err := exec.LookPath("wimlib-imagex")
	if err != nil {
		t.Fatal("wimlib-imagex is missing: install wimtools")
	}
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	big = bytes.Repeat([]byte("castpoint "), 50_000)
	for name, data := range map[string][]byte{"Windows/System32/a.dll": big, "Windows/empty": nil, "top.txt": []byte("hello")} {
		path := filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("top.txt", filepath.Join(src, "link")); err != nil {
		t.Fatal(err)
	}
	image = filepath.Join(dir, "tree.wim")
	if b, err := exec.CommandContext(t.Context(), tool, "capture", src, image, "Tree", "--compress=fast").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return image, big
}

func TestWIMListAndExtract(t *testing.T) {
	image, big := makeTreeWIM(t)
	list := decode[[]images.Entry](t, "wim", "list", image, "--recursive")
	names := map[string]images.Entry{}
	for _, e := range list {
		names[e.Path] = e
	}
	if e := names["/Windows/System32/a.dll"]; e.Size != int64(len(big)) || len(e.SHA1) != 40 || e.Dir {
		t.Errorf("%+v", e)
	}
	if !names["/Windows"].Dir || !names["/link"].Reparse || len(list) != 6 {
		t.Errorf("%+v", list)
	}
	if out := succeeds(t, "wim", "list", image, `windows\system32`); !strings.Contains(out, "a.dll") || strings.Contains(out, "top.txt") {
		t.Error(out)
	}
	if out := succeeds(t, "wim", "extract", image, "/windows/SYSTEM32/A.DLL", "--out", "-"); out != string(big) {
		t.Errorf("%d bytes", len(out))
	}
	dir := filepath.Join(t.TempDir(), "out")
	done := decode[images.Extracted](t, "wim", "extract", image, "/Windows", "/top.txt", "--out", dir)
	if done.Files != 3 || done.Folders != 2 || done.Bytes != int64(len(big)+5) {
		t.Errorf("%+v", done)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "Windows", "System32", "a.dll")); err != nil || !bytes.Equal(b, big) {
		t.Error(len(b), err)
	}
	if st, err := os.Stat(filepath.Join(dir, "Windows", "empty")); err != nil || st.Size() != 0 {
		t.Error(err)
	}
	// The whole image has a link, which is left out and named.
	whole := filepath.Join(t.TempDir(), "whole")
	if code, _, errs := castpoint(t, "wim", "extract", image, "/", "--out", whole); code != agent.ExitPartly || !strings.Contains(errs, "/link") {
		t.Errorf("%d %s", code, errs)
	}
	// Nothing is written through a link that somebody has put into the folder.
	trap, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(trap, "Windows")); err != nil {
		t.Fatal(err)
	}
	if code, _, _ := castpoint(t, "wim", "extract", image, "/Windows", "--out", trap); code == 0 {
		t.Error("it wrote through a link")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) != 0 {
		t.Errorf("written outside: %v, %v", left, err)
	}
	for args, want := range map[string]int{
		"wim list " + image + " /none":                            agent.ExitNotFound,
		"wim list " + image + " --index 7":                        agent.ExitNotFound,
		"wim list /none.wim":                                      agent.ExitNotFound,
		"wim list /bin/sh":                                        agent.ExitFailed,
		"wim extract " + image + " /top.txt":                      agent.ExitUsage,
		"wim extract " + image + " /top.txt /Windows --out -":     agent.ExitUsage,
		"wim extract " + image + " /Windows --out -":              agent.ExitFailed,
		"wim extract " + image + " /none --out " + dir:            agent.ExitNotFound,
		"wim extract " + image + " /top.txt --out " + dir:         agent.ExitRefused,
		"wim extract --force " + image + " /top.txt --out " + dir: agent.ExitDone,
	} {
		if code, _, errs := castpoint(t, strings.Fields(args)...); code != want {
			t.Errorf("castpoint %s: exit code %d, %q; want %d", args, code, errs, want)
		}
	}
}
