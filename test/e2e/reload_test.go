package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// TestReload: settings change while a machine fetches a file, its transfer goes on,
// the sockets stay, and settings that are wrong change nothing.
func TestReload(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	loaders := filepath.Join(p.Network.Dir, "loaders")
	file := make([]byte, 12<<20)
	_, _ = rand.Read(file)
	if err := os.MkdirAll(loaders, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"snponly.efi": file, "undionly.kpxe": []byte("x")} {
		if err := os.WriteFile(filepath.Join(loaders, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(p.Network.Dir, "castpoint.yaml")
	settings := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("loaders: "+loaders+"\n"+text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	explained := func() int {
		_, err := p.Run(t.Context(), "explain", "--data", p.Data, "--mac", "52:54:00:12:34:56")
		return point.Code(err)
	}
	settings("")
	serve(t, p, "--config", path)
	before := sockets(t, p.Network.Server)
	fetched := filepath.Join(p.Network.Dir, "fetched")
	transfer, err := p.Network.Clients[0].Start(lab.Command{Args: []string{"curl", "-sS", "--fail", "--limit-rate", "1M", "-o", fetched,
		"http://" + lab.ServerAddr.String() + ":8080/snponly.efi"}})
	if err != nil {
		t.Fatal(err)
	}
	if code := explained(); code != 0 {
		t.Fatalf("explain: exit code %d", code)
	}

	settings("deny: [\"52:54:00:12\"]\nhttp: :8181\n")
	if _, err := p.Run(t.Context(), "reload", "--data", p.Data); point.Code(err) != 3 || !strings.Contains(err.Error(), "need a restart: http") {
		t.Errorf("reload: %v", err)
	}
	if code := explained(); code != 3 {
		t.Errorf("a machine on the new list is not denied: exit code %d", code)
	}
	settings("deny: []\nassign: nothing-there\n")
	if _, err := p.Run(t.Context(), "reload", "--data", p.Data); point.Code(err) != 1 || !strings.Contains(err.Error(), "old settings stay") {
		t.Errorf("reload of wrong settings: %v", err)
	}
	if code := explained(); code != 3 {
		t.Errorf("settings that are wrong have changed something: exit code %d", code)
	}
	settings("denny: []\n")
	if err := p.Server.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `did you mean deny\?`, patience); err != nil {
		t.Error(err)
	}
	settings("")
	if err := p.Server.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `settings read again.*"restart": \[\]`, patience); err != nil {
		t.Error(err)
	}
	if code := explained(); code != 0 {
		t.Errorf("the machine is still denied: exit code %d", code)
	}
	if code := wait(t, transfer); code != 0 {
		t.Errorf("the transfer was cut off: %s", transfer.Output.String())
	}
	if got, err := os.ReadFile(fetched); err != nil || string(got) != string(file) {
		t.Errorf("%d of %d bytes arrived, or others: %v", len(got), len(file), err)
	}
	if after := sockets(t, p.Network.Server); after != before {
		t.Errorf("the sockets are others:\n%s\nthan\n%s", after, before)
	}
}
