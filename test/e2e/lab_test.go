package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
)

// castpoint lab up boots a machine from a server of its own, says so on its screen and
// on the server, and is gone after castpoint lab down.
func TestLabByCommand(t *testing.T) {
	program, err := filepath.Abs(*binary)
	if err != nil {
		t.Fatal(err)
	}
	var said lab.Transcript
	up := exec.Command(program, "lab", "up", "--vms", "1", "--firmware", "bios", "--", "--devices-unknown", "approve")
	up.Stdout, up.Stderr = &said, &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	t.Cleanup(func() {
		_ = up.Process.Kill() // its janitor removes what is left
	})
	m, err := said.WaitFor(t.Context(), `castpoint status --data (\S+)`, patience)
	if err != nil {
		t.Fatal(err)
	}
	data := m[1]
	for _, text := range []string{`its console: http://127\.0\.0\.1:\d+, user lab`, `1-bios: SeaBIOS|1-bios: .*SeaBIOS`, `1-bios: .*waiting for approval`} {
		if _, err := said.WaitFor(t.Context(), text, patience); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command(program, "device", "list", "--data", data).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "waiting") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(program, "lab", "down").CombinedOutput(); err != nil || !strings.Contains(string(out), "removed") {
		t.Errorf("%v: %s", err, out)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("lab up ended with %v: %s", err, said.Tail(10))
		}
	case <-time.After(patience):
		t.Fatal("lab up goes on after lab down")
	}
	if _, err := os.Stat(filepath.Dir(data)); err == nil {
		t.Errorf("%s is still there", filepath.Dir(data))
	}
}
