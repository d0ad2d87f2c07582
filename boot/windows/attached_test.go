package windows_test

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"castpoint/boot/windows"
	"castpoint/content"
	"castpoint/test/bootable"
)

// What is attached to a boot image is in the WIM of each machine, and the next
// machine gets what is attached then.
func TestWindowsAttached(t *testing.T) {
	l := newLab(t, windows.Config{}, bootable.WinPE(t))
	const name = "winpe/efi-x64/52-54-00-ab-cd-ef/boot.wim"
	plain, _ := l.read(t, name, testRemote)
	stored := l.library.Contents[0]
	attach := func(path, text string) {
		t.Helper()
		ct := *l.library.Contents[0]
		d := content.Digest(sha256.Sum256([]byte(text)))
		if err := os.WriteFile(filepath.Join(l.library.Dir, d.String()), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		ct.Files = append(ct.Files[:len(ct.Files):len(ct.Files)], content.File{Role: content.RoleAttached, Name: path, Size: int64(len(text)), Digest: d})
		ct.Revision++
		l.library.Contents[0] = &ct
	}
	attach("castpoint/drivers/nic/nic.inf", "[Version]")
	attach("Windows/System32/tool.exe", strings.Repeat("tool", 50_000))
	with, tag := l.read(t, name, testRemote)
	if len(with) <= len(plain)+200_000 {
		t.Errorf("%d bytes with what is attached, %d without", len(with), len(plain))
	}
	checkWIM(t, with, "token002")
	file := filepath.Join(t.TempDir(), "with.wim")
	if err := os.WriteFile(file, []byte(with), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := func(path string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "wimlib-imagex", "extract", file, "1", path, "--to-stdout").Output()
		if err != nil {
			t.Errorf("%s: %v", path, err)
		}
		return string(out)
	}
	if inside("/castpoint/drivers/nic/nic.inf") != "[Version]" || len(inside("/Windows/System32/tool.exe")) != 200_000 {
		t.Error("what is attached has other bytes in the WIM")
	}
	if !strings.Contains(inside("/Windows/System32/winpeshl.ini"), "start.cmd") {
		t.Error("the agent is not started")
	}
	if _, again := l.read(t, name, testRemote); again != tag {
		t.Error("the same boot gets another WIM")
	}
	// Start and prompt are those of the content.
	ct := *l.library.Contents[0]
	ct.WinPE = content.WinPE{Start: content.StartNet, Prompt: true}
	l.library.Contents[0] = &ct
	with, _ = l.read(t, name, testRemote)
	checkWIM(t, with, "token003")
	if err := os.WriteFile(file, []byte(with), 0o644); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(inside("/Windows/System32/startnet.cmd"), `call %SystemDrive%\castpoint\start.cmd`) || !strings.Contains(inside("/castpoint/boot.conf"), "castpoint.prompt\r\n") {
		t.Error("startnet.cmd or the prompt is not as the content says")
	}
	if out, err := exec.CommandContext(t.Context(), "wimlib-imagex", "extract", file, "1", "/Windows/System32/winpeshl.ini", "--to-stdout").Output(); err == nil {
		t.Errorf("winpeshl.ini is in the way of startnet.cmd: %s", out)
	}
	l.library.Contents[0] = stored
}
