package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/internal/backup"
)

// What an admin reads who carries a distribution point elsewhere: what is in the backup,
// what is not, and what to do next.
func TestBackupAndRestoreCommands(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write := func(name, text string) string {
		t.Helper()
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return in(name)
	}
	settings := write("castpoint.yaml", "data: "+in("data")+"\nnotify-key-file: "+in("key")+"\n")
	succeeds(t, "content", "add", "os-image", makeWIM(t, 1<<12), "--name", "image", "--data", in("data"))
	says := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("no %q in:\n%s", w, text)
			}
		}
	}

	// The data folder is that of the settings.
	saved := in("b.tar.zst")
	says(succeeds(t, "backup", saved, "--config", settings), "settings "+settings, "files of "+in("data"), "1 object (", "not in it, keep a copy: "+in("key"))
	if code, _, errs := castpoint(t, "backup", in("c"), "--config", in("none")); code != 4 || !strings.Contains(errs, "none") {
		t.Errorf("settings that are not there: exit code %d: %s", code, errs)
	}
	says(succeeds(t, "backup", in("d"), "--config", "", "--data", in("data")), "no settings")

	// Elsewhere: the settings go where they were, and what is missing is said.
	code, out, errs := castpoint(t, "restore", saved, "--data", in("new"), "--config", in("new.yaml"))
	if code != 3 {
		t.Errorf("without objects: exit code %d", code)
	}
	says(out, "settings: "+in("new.yaml"), "next: the settings have data: "+in("data")+", and restored is "+in("new"), "next: castpoint content validate", "not there, and in no backup: "+in("key"))
	says(errs, "1 object (", "castpoint content repair ID")

	// With the objects, beside other settings that name the folder.
	other := write("other.yaml", "data: "+in("other")+"\nrate: 100mbit\n")
	write("key", "secret")
	code, out, errs = castpoint(t, "restore", saved, "--config", other, "--objects", in("data/library/objects"))
	if code != 0 {
		t.Errorf("with objects: exit code %d: %s", code, errs)
	}
	says(out, in("other")+": ", "settings: "+other+".restored, as another "+other+" is there", "next: compare the two files")
	if strings.Contains(out, "no backup") {
		t.Errorf("a file that is there is said to be missing:\n%s", out)
	}
	succeeds(t, "content", "validate", "image", "--data", in("other"))

	// Never over something; what is no folder of objects is said before.
	if code, _, errs := castpoint(t, "restore", saved, "--config", other); code != 5 || !strings.Contains(errs, "is not empty") {
		t.Errorf("over data: exit code %d: %s", code, errs)
	}
	if code, _, errs := castpoint(t, "restore", saved, "--data", in("fourth"), "--config", "", "--objects", in("no")); code != 4 || !strings.Contains(errs, "folder of objects") {
		t.Errorf("no folder of objects: exit code %d: %s", code, errs)
	}
	if _, err := os.Stat(in("fourth")); err == nil {
		t.Error("a restore that fails leaves a folder")
	}

	var r backup.Result
	if err := json.Unmarshal([]byte(succeeds(t, "restore", saved, "--json", "--data", in("fifth"), "--config", "", "--objects", in("data/library/objects"))), &r); err != nil || r.Files == 0 || len(r.Missing) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
