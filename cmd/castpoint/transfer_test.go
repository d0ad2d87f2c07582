package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/agent"
	"castpoint/agent/command"
	"castpoint/cmd/castpoint/cli"
	"castpoint/content"
	"castpoint/point"
	"castpoint/web/admin/contents"
)

// decode runs a command with --json and reads its answer.
func decode[T any](t *testing.T, args ...string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(succeeds(t, append(args, "--json")...)), &v); err != nil {
		t.Fatalf("castpoint %s: %v", strings.Join(args, " "), err)
	}
	return v
}

// damage changes a byte in the object of a content's file.
func damage(t *testing.T, data string, f content.File) {
	t.Helper()
	hex := f.Digest.String()
	var path string
	err := filepath.WalkDir(filepath.Join(data, point.FolderLibrary, "objects"), func(p string, _ os.DirEntry, err error) error {
		if filepath.Base(p) == hex {
			path = p
		}
		return err
	})
	if err != nil || path == "" {
		t.Fatalf("no object %s: %v", hex, err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestContentFoldersUpdateAndGC(t *testing.T) {
	data, folder := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "driver.inf"), []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	ct := decode[content.Content](t, "content", "add", "driver-package", folder, "--name", "Latitude", "--version", "A07", "--data", data)
	if ct.Kind != content.KindDriverPackage || len(ct.Files) != 1 || ct.Files[0].Name != "driver.inf" {
		t.Errorf("%+v", ct)
	}
	if err := os.WriteFile(filepath.Join(folder, "driver.sys"), []byte("two"), 0o600); err != nil {
		t.Fatal(err)
	}
	next := decode[content.Content](t, "content", "update", ct.ID, folder, "--version", "A08", "--data", data)
	if next.ID != ct.ID || next.Revision != 2 || len(next.Files) != 2 || next.Name != "Latitude" || next.Version != "A08" {
		t.Errorf("%+v", next)
	}
	if g := decode[contents.Garbage](t, "content", "gc", "--data", data); g != (contents.Garbage{}) {
		t.Errorf("nothing is left over: %+v", g)
	}
	for args, want := range map[string]int{
		"content update " + ct.ID:                                   agent.ExitUsage,
		"content update nothing " + folder:                          agent.ExitNotFound,
		"content repair " + ct.ID + " " + folder:                    agent.ExitDone, // nothing is damaged
		"content repair " + ct.ID + " " + folder + " --from x":      agent.ExitUsage,
		"content repair " + ct.ID + " --from x --token y":           agent.ExitUsage,
		"content repair " + ct.ID + " --pin x":                      agent.ExitUsage,
		"content repair nothing " + folder:                          agent.ExitNotFound,
		"content add package " + folder + " --sha256 00":            agent.ExitUsage,
		"content export nothing " + filepath.Join(t.TempDir(), "x"): agent.ExitNotFound,
		"content export " + ct.ID + " - --json":                     agent.ExitUsage,
		"content import /none.tar":                                  agent.ExitNotFound,
		"content import " + filepath.Join(folder, "driver.inf"):     agent.ExitFailed,
		"content add os-image http://127.0.0.1:1/x.wim":             agent.ExitFailed,
		"content add os-image https://127.0.0.1:1/":                 agent.ExitUsage,
	} {
		if code, _, errs := castpoint(t, append(strings.Fields(args), "--data", data)...); code != want || strings.Count(errs, "\n") > 2 {
			t.Errorf("castpoint %s: exit code %d, %q; want %d", args, code, errs, want)
		}
	}
}

func TestContentExportImportRepair(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	image := makeWIM(t, 2_000_000)
	ct := decode[content.Content](t, "content", "add", "os-image", image, "--multicast", "--comment", "lab", "--data", from)
	file := filepath.Join(t.TempDir(), "export.tar")
	succeeds(t, "content", "export", ct.ID, file, "--data", from)
	if code, _, errs := castpoint(t, "content", "export", ct.ID, file, "--data", from); code != agent.ExitRefused || !strings.Contains(errs, "--force") {
		t.Errorf("over a file: %d %s", code, errs)
	}
	piped := succeeds(t, "content", "export", ct.ID, "-", "--data", from)
	if b, err := os.ReadFile(file); err != nil || string(b) != piped {
		t.Error("what goes to standard output is another export", err)
	}
	got := decode[content.Content](t, "content", "import", file, "--data", to)
	if got.ID != ct.ID || got.Comment != "lab" || !got.Distribution.Multicast {
		t.Errorf("%+v", got)
	}
	if code, _, errs := castpoint(t, "content", "import", file, "--data", to); code != agent.ExitRefused {
		t.Errorf("again: %d %s", code, errs)
	}
	succeeds(t, "content", "remove", ct.ID, "--data", to)

	// From standard input, whole and cut.
	in := func(s string) (int, string) {
		root := newRoot()
		root.SetIn(strings.NewReader(s))
		var out, errs bytes.Buffer
		return command.Execute(t.Context(), root, []string{"content", "import", "-", "--data", to}, &out, &errs, cli.ExitCode), errs.String()
	}
	if code, errs := in(piped[:len(piped)/2]); code != agent.ExitFailed || !strings.Contains(errs, "export") {
		t.Errorf("half an export: %d %s", code, errs)
	}
	if code, errs := in(piped); code != 0 {
		t.Errorf("%d %s", code, errs)
	}
	succeeds(t, "content", "validate", "--data", to)

	damage(t, to, got.Files[0])
	if code, _, _ := castpoint(t, "content", "validate", "--data", to); code != agent.ExitFailed {
		t.Errorf("damage was not seen: %d", code)
	}
	if code, _, errs := castpoint(t, "content", "export", ct.ID, "-", "--data", to); code != agent.ExitFailed || !strings.Contains(errs, "damaged") {
		t.Errorf("damaged export: %d %s", code, errs)
	}
	other := makeWIM(t, 1_000_000)
	if code, _, errs := castpoint(t, "content", "repair", ct.ID, other, "--data", to); code != agent.ExitRefused || !strings.Contains(errs, "another file") {
		t.Errorf("repair with another file: %d %s", code, errs)
	}
	succeeds(t, "content", "repair", ct.ID, image, "--data", to)
	succeeds(t, "content", "validate", "--data", to)
}

func TestContentFromURL(t *testing.T) {
	data := t.TempDir()
	image := makeWIM(t, 1_000_000)
	b, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(image))))
	defer s.Close()
	url := s.URL + "/" + filepath.Base(image)
	if code, _, errs := castpoint(t, "content", "add", "os-image", url, "--sha256", strings.Repeat("0", 64), "--data", data); code != 1 || !strings.Contains(errs, "wrong SHA-256") {
		t.Errorf("%d %s", code, errs)
	}
	ct := decode[content.Content](t, "content", "add", "os-image", url, "--fetch-rate", "800mbit", "--data", data)
	if ct.Files[0].Size != int64(len(b)) || ct.Files[0].Name != filepath.Base(image) {
		t.Errorf("%+v", ct.Files)
	}
	if code, _, errs := castpoint(t, "content", "add", "os-image", url+".gone", "--data", data); code != 1 || !strings.Contains(errs, "404") {
		t.Errorf("%d %s", code, errs)
	}
	// What is wrong is said of what was asked for, in words of its own.
	noise := filepath.Join(filepath.Dir(image), "noise.wim")
	if err := os.WriteFile(noise, []byte(strings.Repeat("noise", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{s.URL + "/noise.wim"}, agent.ExitFailed, "invalid file " + s.URL + "/noise.wim: not a WIM file"},
		{[]string{url, "--sha256", "zz"}, agent.ExitUsage, "64 hexadecimal digits"},
		{[]string{"ftp://images.example/install.wim"}, agent.ExitUsage, "ftp is not fetched"},
		{[]string{url, "--upload"}, agent.ExitUsage, "--upload is for files"},
		{[]string{"http://127.0.0.1:1/install.wim"}, agent.ExitFailed, "can reach it"},
		{[]string{image, "--index", "3"}, agent.ExitUsage, "has one image, 1"},
		{[]string{filepath.Dir(image)}, agent.ExitFailed, "it is a folder"},
	} {
		code, _, errs := castpoint(t, append([]string{"content", "add", "os-image", "--data", data, "--name", "other"}, c.args...)...)
		if code != c.code || !strings.Contains(errs, c.says) || strings.Contains(errs, "downloads") {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, code, errs, c.code, c.says)
		}
	}
	if code, _, errs := castpoint(t, "content", "list", "--data", image); code != agent.ExitUsage || !strings.Contains(errs, "it is a file") {
		t.Errorf("a file as data folder: %d %s", code, errs)
	}
	if code, _, errs := castpoint(t, "wim", "info", data); code != agent.ExitFailed || !strings.Contains(errs, "it is a folder") {
		t.Errorf("a folder as WIM: %d %s", code, errs)
	}
	damage(t, data, ct.Files[0])
	if code, _, _ := castpoint(t, "content", "validate", "--data", data); code != agent.ExitFailed {
		t.Errorf("damage was not seen: %d", code)
	}
	for _, command := range []string{"list", "show " + ct.ID, "!status"} {
		line, isStatus := strings.CutPrefix(command, "!")
		if !isStatus {
			line = "content " + line
		}
		if out := succeeds(t, append(strings.Fields(line), "--data", data)...); !strings.Contains(out, "DAMAGED") {
			t.Errorf("%s: %s", line, out)
		}
	}
	succeeds(t, "content", "repair", ct.ID, "--data", data) // from where it came
	if out := succeeds(t, "status", "--data", data); strings.Contains(out, "DAMAGED") {
		t.Error(out)
	}
	damage(t, data, ct.Files[0])
	succeeds(t, "content", "repair", ct.ID, url, "--data", data)
	left, err := os.ReadDir(filepath.Join(data, "downloads"))
	if err != nil || len(left) != 0 {
		t.Errorf("left of downloads: %v, %v", left, err)
	}
}
