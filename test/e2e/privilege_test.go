package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// Capabilities by their bit, capability(7).
const (
	netBindService = 1 << 10
	netRaw         = 1 << 13
)

// Root's commands work as the user that the data folder belongs to, and so does
// the server, which gives up what it does not need.
func TestPrivileges(t *testing.T) {
	const owner = 64321
	p := newPoint(t, lab.Config{})
	for dir := p.Data; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(p.Data, owner, owner); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(t.TempDir(), "image.wim") // that only root may read
	if err := image.Make(t.Context(), secret, "e2e", 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), "os-image", secret, "--name", "image"); err != nil {
		t.Fatal(err)
	}
	serve(t, p)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Server.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^Uid:\s64321\s64321\s64321\s64321$`).Match(status) {
		t.Errorf("the server does not run as the owner of its data:\n%s", status)
	}
	hasOnly := func(status []byte, want uint64) {
		t.Helper()
		for _, set := range []string{"CapPrm", "CapEff"} {
			m := regexp.MustCompile(set + `:\s([0-9a-f]+)`).FindSubmatch(status)
			if m == nil {
				t.Fatalf("no %s in\n%s", set, status)
			}
			if caps, err := strconv.ParseUint(string(m[1]), 16, 64); err != nil || caps != want {
				t.Errorf("%s is %s, want %x", set, m[1], want)
			}
		}
	}
	hasOnly(status, netBindService|netRaw)
	if !regexp.MustCompile(`(?m)^NoNewPrivs:\s1$`).Match(status) {
		t.Errorf("the server may start programs with more privileges than it has:\n%s", status)
	}
	if _, err := p.Run(t.Context(), "content", "validate", "image", "--data", p.Data); err != nil {
		t.Error(err)
	}
	sendUnreadable(t, p, secret)
	if _, err := p.Server.Stop(); err != nil {
		t.Error(err)
	}
	// Without DHCP nothing is bound again, and nothing probed.
	serve(t, p, "--dhcp", "off")
	if status, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Server.Pid())); err != nil {
		t.Fatal(err)
	}
	hasOnly(status, 0)
	if _, err := p.Server.Stop(); err != nil {
		t.Error(err)
	}
	err = filepath.WalkDir(p.Data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err == nil && i.Sys().(*syscall.Stat_t).Uid != owner {
			t.Errorf("%s belongs to user %d", path, i.Sys().(*syscall.Stat_t).Uid)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// sendUnreadable adds to a running server what its user may not read: root's command
// sends it.
func sendUnreadable(t *testing.T, p *point.Point, secret string) {
	t.Helper()
	c, err := p.Add(t.Context(), "os-image", secret, "--name", "sent", "--version", "2", "--comment", "by root", "--multicast")
	if err != nil || len(c.Files) != 1 || c.Files[0].Name != "image.wim" {
		t.Fatalf("%+v: %v", c, err)
	}
	want, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256(want)); c.Files[0].SHA256 != sum {
		t.Errorf("%s was sent and %s is there", sum, c.Files[0].SHA256)
	}
	folder := filepath.Join(filepath.Dir(secret), "7zip")
	if err := os.MkdirAll(filepath.Join(folder, "x64"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"7z.exe": "program", "x64/7z.dll": "library", "x64/empty": ""} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err = p.Add(t.Context(), "package", folder, "--name", "7-Zip", "--program", "install=7z.exe /S")
	if err != nil || len(c.Files) != 3 {
		t.Fatalf("%+v: %v", c, err)
	}
	if out, err := p.Run(t.Context(), "content", "show", c.ID, "--data", p.Data); err != nil || !strings.Contains(out, "7z.exe /S") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(folder, "new.txt"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := p.Run(t.Context(), "content", "update", c.ID, folder, "--data", p.Data)
	if err != nil || !strings.Contains(out, "revision 2") {
		t.Errorf("%v: %s", err, out)
	}
	exported := filepath.Join(filepath.Dir(secret), "7zip.tar")
	for _, args := range [][]string{{"export", c.ID, exported}, {"remove", c.ID}, {"import", exported}, {"validate"}} {
		if len(args) == 2 && args[0] == "import" {
			if err := os.Chmod(exported, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := p.Run(t.Context(), append(append([]string{"content"}, args...), "--data", p.Data)...); err != nil {
			t.Errorf("content %v: %v: %s", args, err, out)
		}
	}
	// What is nowhere is said as it is.
	_, err = p.Add(t.Context(), "os-image", secret+".no", "--name", "none")
	mustFail(t, err, 4, "no such file")
}

// What machines reach before they have shown anything writes nothing of the library: not
// by HTTP's ways to write, not by TFTP's, not by those on the join listener.
func TestOpenListenersDoNotWrite(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	_, c := addWIM(t, p, 1<<20)
	serve(t, p, "--dhcp", "off")
	tree := func() map[string]string {
		t.Helper()
		all := make(map[string]string)
		err := filepath.WalkDir(filepath.Join(p.Data, "library"), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			i, err := d.Info()
			if err == nil && !d.IsDir() {
				all[path] = fmt.Sprint(i.Size(), i.ModTime(), i.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := tree()
	h, file := p.Network.Clients[0], filepath.Join(p.Network.Dir, "mine")
	if err := os.WriteFile(file, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	object := c.Files[0].SHA256
	for _, method := range []string{"PUT", "POST", "DELETE", "PATCH", "MKCOL", "MOVE"} {
		for _, url := range []string{
			"http://10.77.0.1:8080/undionly.kpxe", "http://10.77.0.1:8080/boot/" + c.ID + "/install.wim", "http://10.77.0.1:8080/new",
			point.JoinURL + "/v1/object/" + object, point.JoinURL + "/api/v1/contents", point.JoinURL + "/new",
		} {
			said := sh(t, h, "curl -ksS -o /dev/null -w '%{http_code}' -X "+method+" --data-binary @"+file+" "+url)
			if code, err := strconv.Atoi(said); err != nil || code < 400 || code > 499 {
				t.Errorf("%s %s: %s", method, url, said)
			}
		}
	}
	for _, name := range []string{"undionly.kpxe", "new"} {
		if out, code, err := h.Run(t.Context(), "sh", "-c", "cd "+p.Network.Dir+" && busybox tftp -p -l mine -r "+name+" 10.77.0.1"); err != nil || code == 0 {
			t.Errorf("%s was written by TFTP, %v: %s", name, err, out)
		}
	}
	if diff := cmp.Diff(before, tree()); diff != "" {
		t.Errorf("the library has changed:\n%s", diff)
	}
}
