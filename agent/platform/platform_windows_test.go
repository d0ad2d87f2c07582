package platform

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// promptSays, when set, makes the test program a command prompt: it writes the file
// of that name, which says that it was opened.
const promptSays = "CASTPOINT_TEST_PROMPT"

func TestMain(m *testing.M) {
	if path := os.Getenv(promptSays); path != "" {
		if err := os.WriteFile(path, []byte("opened"), 0o644); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// Prompt opens the cmd.exe that is found first, and does not wait for its end.
func TestPromptOpens(t *testing.T) {
	// Not T.TempDir: Wine has not what that deletes files by.
	dir, err := os.MkdirTemp("", "prompt")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cmd.exe"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	said := filepath.Join(dir, "said")
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv(promptSays, said)
	if err := New().Prompt(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually := func(what string, holds func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("never: ", what)
			}
		}
	}
	eventually("cmd.exe was started", func() bool {
		b, err := os.ReadFile(said)
		return err == nil && string(b) == "opened"
	})
	// A program that runs cannot be deleted.
	eventually("it ended", func() bool { return os.Remove(filepath.Join(dir, "cmd.exe")) == nil })
	if err := errors.Join(os.Remove(said), os.Remove(dir)); err != nil {
		t.Error(err)
	}
}
