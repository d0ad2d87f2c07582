package step

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/agent/protocol"
)

// smallWIM is a WIM of one file, made by wimlib.
//
//go:embed testdata/small.wim
var smallWIM []byte

// realWindows is Windows' machine, whose disk is a file and whose volumes are
// folders.
type realWindows struct {
	*machine.Windows
	w *world
}

func (r realWindows) Disks() ([]disk.Disk, error) { return (*fakeMachine)(r.w).Disks() }
func (r realWindows) OpenRecord(d disk.Disk) (*os.File, error) {
	return (*fakeMachine)(r.w).OpenRecord(d)
}

// carefulPrograms runs cmd, and writes down everything else: diskpart must not do
// here what it is told.
type carefulPrograms struct{ called []string }

func (c *carefulPrograms) Run(ctx context.Context, p machine.Program) (machine.Result, error) {
	c.called = append(c.called, strings.Join(p.Args, " "))
	switch p.Args[0] {
	case "cmd":
		return machine.System{}.Run(ctx, p)
	case "dism":
		for _, arg := range p.Args {
			if into, ok := strings.CutPrefix(arg, "/ApplyDir:"); ok {
				return machine.Result{}, os.MkdirAll(filepath.Join(into, "Windows"), 0o755)
			}
		}
	}
	return machine.Result{}, nil
}

// TestWindowsSequence runs the sequence that the other tests run with the code for
// Windows, on files and folders of a real Windows, or Wine.
func TestWindowsSequence(t *testing.T) {
	w := newWorld(t, strings.Replace(installWindows, "exit 5", "exit 5 & rem", 1))
	w.vars["Secret"] = protocol.VariableValue{Value: "very secret", Secret: true}
	w.image = smallWIM
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}} // after a failure
	programs := &carefulPrograms{}
	m := machine.NewWindows(programs, "uefi", true, filepath.Join(w.dir, "scripts"))
	m.Drive = func(letter string) string { return filepath.Join(w.dir, "volumes", letter) }
	for _, letter := range []string{"S", "W", "R"} {
		if err := os.MkdirAll(m.Drive(letter), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.machine = realWindows{m, w}
	end, err := w.start()
	if err != nil || end != EndReboot {
		t.Fatalf("end %q, %v; it said:\n%s", end, err, strings.Join(w.said, "\n"))
	}
	if got := w.states(); got != installed {
		t.Errorf("steps %s\nwant %s; it said:\n%s", got, installed, strings.Join(w.said, "\n"))
	}
	if w.vars["Said"].Value != "desk of PC-1" {
		t.Errorf("cmd printed %q", w.vars["Said"].Value)
	}
	for _, want := range []string{"diskpart /s", "dism /English /Apply-Image", "bcdboot", "dism /English /Image:", "/Apply-Unattend:"} {
		if !slices.ContainsFunc(programs.called, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%s was not called: %s", want, strings.Join(programs.called, "\n"))
		}
	}
	if _, err := os.Stat(filepath.Join(w.dir, "volumes/W/castpoint-image.wim")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the image file stays on the volume: %v", err)
	}
	answers, err := os.ReadFile(filepath.Join(w.dir, "volumes/W/Windows/Panther/unattend.xml"))
	if err != nil || !strings.Contains(string(answers), "<ComputerName>PC-1</ComputerName>") {
		t.Errorf("unattend.xml: %v\n%s", err, answers)
	}
}

// TestWindowsLetters: volumes that were there before are named by their letters.
func TestWindowsLetters(t *testing.T) {
	w := newWorld(t, "name: s\ncontents: [windows]\nsteps:\n  - {name: image, apply-image: {content: windows, target: \"C:\"}}\n  - {name: boot, install-bootloader: {os: \"c:\", system: \"S:\"}}\n")
	w.image = smallWIM
	w.orders = []protocol.Order{{Kind: protocol.OrderReboot}}
	programs := &carefulPrograms{}
	m := machine.NewWindows(programs, "bios", true, filepath.Join(w.dir, "scripts"))
	m.Drive = func(letter string) string { return filepath.Join(w.dir, letter) }
	for _, letter := range []string{"S", "C"} {
		if err := os.MkdirAll(m.Drive(letter), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	w.machine = realWindows{m, w}
	if end, err := w.start(); err != nil || end != EndSucceeded || w.states() != "image done, boot done" {
		t.Fatalf("end %q, %v, %s; it said:\n%s", end, err, w.states(), strings.Join(w.said, "\n"))
	}
}
