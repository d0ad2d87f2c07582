package bcd

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"castpoint/boot/bcd/element"
	"castpoint/boot/bcd/value"
)

func gptPartition(t *testing.T, id, disk string) value.Partition {
	t.Helper()
	var p value.Partition
	var err error
	if p.ID, err = value.ParseGUID(id); err != nil {
		t.Fatal(err)
	}
	if p.Disk, err = value.ParseGUID(disk); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustInstalled(t *testing.T, o InstalledOptions) *Store {
	t.Helper()
	s, err := Installed(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const (
	testDisk    = "{0f0e0d0c-0b0a-0908-0706-050403020100}"
	testSystem  = "{11111111-2222-3333-4444-555555555555}"
	testWindows = "{66666666-7777-8888-9999-aaaaaaaaaaaa}"
)

// TestInstalledGPT compares the store of a Windows on a GPT disk, in words, with
// what bcdboot makes.
func TestInstalledGPT(t *testing.T) {
	s := mustInstalled(t, InstalledOptions{System: gptPartition(t, testSystem, testDisk), Windows: gptPartition(t, testWindows, testDisk), Locale: "de-DE"})
	want := `Windows Boot Manager
--------------------
identifier              {9dea862c-5cdd-4e70-acc1-f32b344d4795} {bootmgr}
device                  partition={gpt disk {0f0e0d0c-0b0a-0908-0706-050403020100}, partition {11111111-2222-3333-4444-555555555555}}
path                    \EFI\Microsoft\Boot\bootmgfw.efi
description             Windows Boot Manager
locale                  de-DE
inherit                 {7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e} {globalsettings}
default                 {5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows
resumeobject            {5c4e1a70-8d3b-4f26-9e17-6bd240a90001} Windows Resume Application
displayorder            {5c4e1a70-8d3b-4f26-9e17-6bd240a90000} Windows
toolsdisplayorder       {b2721d73-1db4-4c62-bf78-c548a880142d} {memdiag}
timeout                 30
`
	got := describe(t, s)
	head, _, _ := strings.Cut(got, "\n\n")
	if d := cmp.Diff(strings.TrimSpace(want), head); d != "" {
		t.Errorf("the boot manager differs:\n%s\nthe whole store:\n%s", d, got)
	}
	again, err := Parse(mustBytes(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if len(again.Notes) > 0 || !bytes.Equal(mustBytes(t, again), mustBytes(t, s)) {
		t.Errorf("read back with notes %q:\n%s", again.Notes, describe(t, again))
	}
	for _, words := range []string{
		`path                    \Windows\system32\winload.efi`, `systemroot              \Windows`, `filepath                \hiberfil.sys`,
		`path                    \EFI\Microsoft\Boot\memtest.efi`, "osdevice                partition={gpt disk " + testDisk + ", partition " + testWindows + "}",
	} {
		if !strings.Contains(got, words) {
			t.Errorf("the store lacks %q:\n%s", words, got)
		}
	}
}

// TestInstalledMBR looks at what differs for BIOS.
func TestInstalledMBR(t *testing.T) {
	s := mustInstalled(t, InstalledOptions{Firmware: BIOS,
		System:  value.Partition{MBR: true, Offset: 1 << 20, Signature: 0x12345678},
		Windows: value.Partition{MBR: true, Offset: 101 << 20, Signature: 0x12345678}})
	manager := s.Object(value.BootManager())
	if v := manager.Element(element.Path); v != nil {
		t.Errorf("a BIOS boot manager has the path %v", v)
	}
	got := describe(t, s)
	for _, words := range []string{`\Windows\system32\winload.exe`, `\Windows\system32\winresume.exe`, `\boot\memtest.exe`} {
		if !strings.Contains(got, words) {
			t.Errorf("the store lacks %q:\n%s", words, got)
		}
	}
	if _, err := Parse(mustBytes(t, s)); err != nil {
		t.Error(err)
	}
}

func TestInstalledRefuses(t *testing.T) {
	good := value.Partition{MBR: true, Offset: 1 << 20, Signature: 1}
	for _, c := range []struct {
		o    InstalledOptions
		want string
	}{
		{InstalledOptions{}, "system partition"},
		{InstalledOptions{System: good}, "Windows partition"},
		{InstalledOptions{System: good, Windows: value.Partition{MBR: true, Offset: 4096}}, "signature"},
		{InstalledOptions{System: good, Windows: good, Locale: "x"}, "locale"},
		{InstalledOptions{System: good, Windows: good, Timeout: time.Millisecond}, "timeout"},
		{InstalledOptions{System: good, Windows: good, Description: "a\nb"}, "description"},
		{InstalledOptions{System: good, Windows: good, Firmware: 7}, "firmware"},
	} {
		if _, err := Installed(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v does not mention %q", err, c.want)
		}
	}
}
