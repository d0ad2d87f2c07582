package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// TestReload: settings change while machines fetch a file by HTTP and by TFTP, and receive
// an image by multicast; their transfers go on, the sockets stay, and settings that are
// wrong change nothing.
func TestReload(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 3})
	wim, image := addWIM(t, p, 24<<20)
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
	serve(t, p, "--config", path, "--tftp-client-rate", "8mbit", "--rate", "16mbit")
	before := sockets(t, p.Network.Server)
	fetched := filepath.Join(p.Network.Dir, "fetched")
	transfer, err := p.Network.Clients[0].Start(lab.Command{Args: []string{"curl", "-sS", "--fail", "--limit-rate", "1M", "-o", fetched,
		"http://" + lab.ServerAddr.String() + ":8080/snponly.efi"}})
	if err != nil {
		t.Fatal(err)
	}
	byTFTP := filepath.Join(p.Network.Dir, "by-tftp")
	tftp, err := p.Network.Clients[1].Start(lab.Command{Args: []string{"curl", "-sS", "--fail", "-o", byTFTP, "tftp://" + lab.ServerAddr.String() + "/snponly.efi"}})
	if err != nil {
		t.Fatal(err)
	}
	received := filepath.Join(p.Network.Dir, "received.wim")
	member := receive(t, p, p.Network.Clients[2], image.ID, received, "--no-unicast")
	if _, err := p.Server.Output.WaitFor(t.Context(), `session event.*"event": "started"`, patience); err != nil {
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
	for what, proc := range map[string]*lab.Process{"HTTP": transfer, "TFTP": tftp, "session": member} {
		select {
		case <-proc.Done():
			t.Errorf("%s: over before the last reload", what)
		default:
		}
	}
	if code := wait(t, tftp); code != 0 {
		t.Errorf("the transfer by TFTP was cut off: %s", tftp.Output.String())
	}
	if got, err := os.ReadFile(byTFTP); err != nil || string(got) != string(file) {
		t.Errorf("%d of %d bytes arrived by TFTP, or others: %v", len(got), len(file), err)
	}
	mustReceive(t, member, wim, received)
	if n := strings.Count(p.Server.Output.String(), `"event": "started"`); n != 1 {
		t.Errorf("%d sessions, want the one that began before", n)
	}
	if code := wait(t, transfer); code != 0 {
		t.Errorf("the transfer was cut off: %s", transfer.Output.String())
	}
	if got, err := os.ReadFile(fetched); err != nil || string(got) != string(file) {
		t.Errorf("%d of %d bytes arrived, or others: %v", len(got), len(file), err)
	}
	// Those of the session and of the transfer by TFTP are closed soon.
	for deadline := time.Now().Add(patience); ; {
		after := sockets(t, p.Network.Server)
		if after == before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the sockets are others:\n%s\nthan\n%s", after, before)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
