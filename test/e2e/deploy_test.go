package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// standInWord is what the stand-ins for Windows' boot managers say.
const standInWord = "stand-in for the boot manager"

// standInEFI makes a UEFI program that says the word: GRUB with nothing to do.
func standInEFI(t *testing.T, path string) {
	t.Helper()
	script := path + ".script"
	if err := os.WriteFile(script, []byte("echo "+standInWord+" for UEFI\nsleep 3600\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "grub-mkimage", "--format=x86_64-efi", "--prefix=/", "--config="+script,
		"--output="+path, "echo", "sleep").CombinedOutput()
	if err := errors.Join(err, os.Remove(script)); err != nil {
		t.Fatalf("grub-mkimage: %v: %s", err, out)
	}
}

// standInBIOS is a program as bootmgr is one: in real mode, loaded at 2000:0000. It
// says the word by the BIOS and stops.
func standInBIOS() []byte {
	code := []byte{
		0x0e,       // push cs
		0x1f,       // pop ds
		0xfc,       // cld
		0xe8, 0, 0, // call next
		0x5e,          // next: pop si
		0x83, 0xc6, 0, // add si, text-next
		0xac,       // again: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x09, // jz done
		0xb4, 0x0e, // mov ah, 0x0e  ; teletype output
		0xbb, 0x07, 0x00, // mov bx, 7
		0xcd, 0x10, // int 0x10
		0xeb, 0xf2, // jmp again
		0xfb,       // done: sti  ; SeaBIOS writes to the serial line when the clock ticks
		0xf4,       // hlt
		0xeb, 0xfc, // jmp done
	}
	const next, displacement = 6, 9
	code[displacement] = byte(len(code) - next)
	return append(code, []byte("\r\n"+standInWord+" for BIOS\r\n\x00")...)
}

// makeWindows makes a WIM of what a Windows image has as far as a deployment looks
// at it, and a folder with the same files.
func makeWindows(t *testing.T, dir string) (wim, source string) {
	t.Helper()
	source = filepath.Join(dir, "windows")
	files := map[string][]byte{
		"Windows/Boot/PCAT/bootmgr":                       standInBIOS(),
		"Windows/Boot/PCAT/memtest.exe":                   []byte("MZ"),
		"Windows/Boot/Fonts/segoe_slboot.ttf":             []byte("a font"),
		"Windows/Boot/EFI/de-DE/bootmgfw.efi.mui":         []byte("words"),
		"Windows/Boot/EFI/boot.stl":                       []byte("a list"),
		"Windows/System32/winload.efi":                    []byte("MZ"),
		"Windows/System32/config/SYSTEM":                  bytes.Repeat([]byte("hive"), 4096),
		"Program Files/Long Names/A file with a name.txt": []byte("text"),
		"Users/Public/Documents/\u00dcmlaut.txt":          []byte("text"),
	}
	for name, data := range files {
		path := filepath.Join(source, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	standInEFI(t, filepath.Join(source, "Windows/Boot/EFI/bootmgfw.efi"))
	writeRandom(t, filepath.Join(source, "Windows/random.bin"), 6<<20)
	wim = filepath.Join(dir, "windows.wim")
	wimlib(t, "capture", source, wim, "Stand-in Windows", "--compress=XPRESS", "--no-acls", "--check")
	return wim, source
}

// admin is the admin API, on the socket in the data folder.
type admin struct {
	client http.Client
}

func newAdmin(p *point.Point) *admin {
	return &admin{http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(p.Data, "admin.sock"))
		},
	}}}
}

// call asks for something; body is JSON, or YAML when it is a text.
func (a *admin) call(t *testing.T, method, path string, body, answer any) {
	t.Helper()
	if err := a.try(t.Context(), method, path, body, answer); err != nil {
		t.Fatal(err)
	}
}

// try is call for what may fail.
func (a *admin) try(ctx context.Context, method, path string, body, answer any) error {
	var send io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		send, kind = strings.NewReader(b), "application/yaml"
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost/api/v1"+path, send)
	if err != nil {
		return err
	}
	if send != nil {
		req.Header.Set("Content-Type", kind)
	}
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", res.Status, text)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if answer != nil {
		if err := json.Unmarshal(text, answer); err != nil {
			return fmt.Errorf("%s %s: %w: %s", method, path, err, text)
		}
	}
	return nil
}

// deploySequence is the sequence of the test; %s is the content.
const deploySequence = `
name: stand-in
environment: linux
variables:
  AdminPassword: {secret: true, required: true}
  ComputerName: {value: PC-TEST}
contents: [%[1]s]
steps:
  - name: Prepare the disk
    partition-disk:
      partitions:
        - {name: System, type: esp, size: 48MiB, firmware: uefi}
        - {name: Reserved, type: msr, size: 16MiB, firmware: uefi}
        - {name: System, size: 32MiB, firmware: bios, active: true}
        - {name: Windows, size: rest, variable: WindowsFolder}
  - name: Only for others
    when: device.manufacturer == "Nobody"
    run-command: {command: "false"}
  - name: Apply Windows
    apply-image: {content: %[1]s, target: Windows, from: multicast}
  - name: Boot from the disk
    install-bootloader: {os: Windows, system: System}
  - name: Settings
    steps:
      - name: Windows settings
        windows-settings:
          target: Windows
          computer-name: ${ComputerName}
          admin-password: ${AdminPassword}
          time-zone: UTC
      - name: Network settings
        network-settings: {target: Windows, workgroup: TEST}
  - name: Fails and goes on
    continue-on-error: true
    run-command: {command: "echo the password is $CP_AdminPassword; exit 7"}
  - name: Restart
    restart: {into: disk}
`

// runRecord is what the test needs of a run.
type runRecord struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Message string `json:"message"`
	Steps   []struct {
		Name, Kind, State, Message, Output string
		Number                             int
		ExitCode                           *int `json:"exit_code"`
	} `json:"steps"`
	Logs []struct{ Name string } `json:"logs"`
}

// runs are the runs of a device, the newest last, with their steps.
func (a *admin) runs(t *testing.T, device string) (list []runRecord) {
	t.Helper()
	var page struct{ Items []runRecord }
	a.call(t, http.MethodGet, "/devices/"+device+"/runs", nil, &page)
	for _, r := range page.Items {
		var one runRecord
		a.call(t, http.MethodGet, "/runs/"+r.ID, nil, &one)
		list = append(list, one)
	}
	return list
}

// blankDisk makes an empty disk.
func blankDisk(t *testing.T, path string, size int64) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, size)); err != nil {
		t.Fatal(err)
	}
	return path
}

// Two machines that nobody knows, one with UEFI firmware and one with a BIOS, boot
// over PXE and wait. They are approved, and each has its disk divided, receives the
// image in the same encrypted session, gets its boot manager and its answer file,
// restarts, is left alone by the server and boots from its own disk. Then the image
// is deployed again to one of them, which loses its power, and its server, meanwhile.
func TestDeployment(t *testing.T) {
	p := newPoint(t, lab.Config{Offload: true})
	wim, source := makeWindows(t, p.Network.Dir)
	if _, err := p.Add(t.Context(), "os-image", wim, "--name", "stand-in", "--multicast", "--encrypt", "--multicast-only"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	settings := []string{"--dhcp", "server", "--pool", point.Pool, "--devices-unknown", "approve", "--kernel-args", "console=ttyS0",
		"--min-members", "2", "--max-wait", "20s"}
	serve(t, p, settings...)
	a := newAdmin(p)
	a.call(t, http.MethodPost, "/sequences", fmt.Sprintf(deploySequence, "stand-in"), nil)

	start := time.Now()
	type target struct {
		*lab.VM
		disk, device string
		word         string
	}
	var targets []*target
	for _, f := range []lab.Firmware{lab.UEFI, lab.BIOS} {
		disk := blankDisk(t, filepath.Join(p.Network.Dir, string(f)+".disk"), 160<<20)
		vm := bootVM(t, p, lab.Machine{Name: "pc-" + strings.ToLower(string(f)), Firmware: f, Disk: disk, Restarts: true, Memory: 640})
		targets = append(targets, &target{VM: vm, disk: disk, word: standInWord + " for " + string(f)})
	}
	for _, m := range targets {
		must(t, m.VM, "waiting for approval")
	}
	t.Logf("both wait after %.0f s", time.Since(start).Seconds())
	var names []string
	for _, d := range devices(t, p, "--state", "waiting") {
		for _, m := range targets {
			if len(d.MACs) == 1 && d.MACs[0] == m.MAC {
				m.device = d.ID
				names = append(names, d.ID)
			}
		}
	}
	a.call(t, http.MethodPost, "/collections", map[string]any{"name": "office", "devices": names}, nil)
	const password = "correct horse"
	a.call(t, http.MethodPut, "/collections/office/secrets/AdminPassword", map[string]string{"value": password}, nil)
	a.call(t, http.MethodPost, "/deployments", map[string]any{"name": "stand-in", "sequence": "stand-in", "collection": "office",
		"purpose": "required", "network_only": true}, nil)
	for _, m := range targets {
		if _, err := p.Run(t.Context(), "device", "approve", m.MAC, "--data", p.Data); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range targets {
		if _, err := m.Output.WaitFor(t.Context(), m.word, 4*time.Minute); err != nil {
			t.Fatalf("%v; the console:\n%s", err, m.Output.Tail(60))
		}
		t.Logf("%s boots from its disk after %.0f s", m.Name, time.Since(start).Seconds())
	}
	for _, m := range targets {
		all := a.runs(t, m.device)
		if len(all) != 1 || all[0].State != "succeeded" {
			t.Fatalf("%s: runs %+v", m.Name, all)
		}
		checkSteps(t, m.Name, all[0], password)
		timeline, err := p.Run(t.Context(), "device", "timeline", m.MAC, "--data", p.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range all[0].Steps {
			if !strings.Contains(timeline, step.Name) {
				t.Errorf("the timeline of %s lacks step %q:\n%s", m.Name, step.Name, timeline)
			}
		}
		if strings.Contains(timeline+m.Output.String(), password) {
			t.Errorf("timeline or console of %s shows the password", m.Name)
		}
	}

	// Deploy again, to the one with the BIOS; the other has been looked at. This time
	// the power goes while it receives the image, and then the server is killed: it
	// goes on with the step it was in, and waits for the server.
	if _, err := targets[0].Stop(); err != nil {
		t.Error(err)
	}
	compareDisk(t, targets[0].disk, source, "uefi", password)
	again := targets[1]
	a.call(t, http.MethodPost, "/deployments/stand-in/again", map[string]any{"devices": []string{again.device}}, nil)
	if err := again.Reset(); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Output.WaitFor(t.Context(), "(?s)"+again.word+".*Apply Windows.*joined session", 4*time.Minute); err != nil {
		t.Fatalf("%v; the console:\n%s", err, again.Output.Tail(60))
	}
	if err := again.Reset(); err != nil {
		t.Fatal(err)
	}
	must(t, again.VM, "going on with step 3(?s).*joined session")
	p.Server.Kill()
	serve(t, p, settings...)
	if _, err := again.Output.WaitFor(t.Context(), "(?s)"+again.word+".*"+again.word, 4*time.Minute); err != nil {
		t.Fatalf("%v; the console:\n%s", err, again.Output.Tail(60))
	}
	if n := strings.Count(again.Output.String(), "dividing /dev/vda"); n != 2 {
		t.Errorf("the disk was divided %d times, want 2: once for each deployment", n)
	}
	t.Logf("%s was deployed again after %.0f s", again.Name, time.Since(start).Seconds())
	if all := a.runs(t, again.device); len(all) != 2 || all[1].State != "succeeded" {
		t.Errorf("%s: runs %+v", again.Name, all)
	}
	if _, err := again.Stop(); err != nil {
		t.Error(err)
	}
	compareDisk(t, again.disk, source, "bios", password)
}

// checkSteps looks at what the server keeps of a run: every step, with its end.
func checkSteps(t *testing.T, name string, r runRecord, password string) {
	t.Helper()
	want := []string{"Prepare the disk done", "Only for others skipped", "Apply Windows done", "Boot from the disk done",
		"Windows settings done", "Network settings done", "Fails and goes on failed", "Restart done"}
	var got []string
	for _, s := range r.Steps {
		got = append(got, s.Name+" "+s.State)
		if strings.Contains(s.Output+s.Message, password) {
			t.Errorf("%s: step %s shows the password", name, s.Name)
		}
		if s.Name == "Fails and goes on" && (s.ExitCode == nil || *s.ExitCode != 7 || !strings.Contains(s.Output, "the password is ***")) {
			t.Errorf("%s: step %+v, want exit code 7 and its output without the password", name, s)
		}
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("%s: steps %s\nwant %s", name, strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if len(r.Logs) == 0 {
		t.Errorf("%s: no log was sent", name)
	}
}

// compareDisk compares the files on a disk with what the image was made of: nothing
// is missing, nothing differs, and there is nothing more than the answer file.
func compareDisk(t *testing.T, disk, source, firmware, password string) {
	t.Helper()
	for _, name := range compareVolume(t, disk, source, firmware, password) {
		if name != "Windows/Panther" {
			t.Errorf("%s: the disk has %s, which is not in the image", firmware, name)
		}
	}
}

// compareVolume compares the files on a disk with what the image was made of, by a
// program that had no part in it: the NTFS volume is captured by wimlib. It returns
// what is there beside them.
func compareVolume(t *testing.T, disk, source, firmware, password string) (extra []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sfdisk", "--json", disk).Output()
	if err != nil {
		t.Fatal(err)
	}
	var dump struct {
		Table struct {
			Label      string
			Partitions []struct{ Start, Size int64 }
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal(out, &dump); err != nil {
		t.Fatal(err)
	}
	if label := map[string]string{"uefi": "gpt", "bios": "dos"}[firmware]; dump.Table.Label != label {
		t.Errorf("%s: table %s, want %s", disk, dump.Table.Label, label)
	}
	parts := dump.Table.Partitions
	last, first := parts[len(parts)-1], parts[0]
	windows := cut(t, disk, filepath.Join(filepath.Dir(disk), firmware+".ntfs"), last.Start*512, last.Size*512)
	captured := windows + ".wim"
	wimlib(t, "capture", windows, captured, "disk", "--compress=none")
	got := filepath.Join(filepath.Dir(disk), firmware+".files")
	if err := os.RemoveAll(got); err != nil {
		t.Fatal(err)
	}
	wimlib(t, "apply", captured, "1", got, "--no-acls")
	if sizeOf := ntfsSize(t, windows); sizeOf < last.Size*512-1<<20 {
		t.Errorf("%s: the volume of Windows has %d of the %d bytes of its partition", firmware, sizeOf, last.Size*512)
	}

	answers, err := os.ReadFile(filepath.Join(got, "Windows/Panther/unattend.xml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"<ComputerName>PC-TEST</ComputerName>", "<JoinWorkgroup>TEST</JoinWorkgroup>", "<TimeZone>UTC</TimeZone>", "<PlainText>false</PlainText>"} {
		if !bytes.Contains(answers, []byte(text)) {
			t.Errorf("%s: unattend.xml lacks %s:\n%s", firmware, text, answers)
		}
	}
	// Without differences its exit code is 0, with some 1.
	said, err := exec.CommandContext(t.Context(), "diff", "-rq", source, got).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		t.Fatalf("diff: %v: %s", err, said)
	}
	for line := range strings.Lines(string(said)) {
		// Only in /tmp/.../bios.files/Windows: Panther
		folder, name, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "Only in "+got)), ": ")
		if !strings.HasPrefix(line, "Only in "+got) || !ok {
			t.Errorf("%s: the disk differs from the image: %s", firmware, line)
			continue
		}
		extra = append(extra, strings.TrimPrefix(filepath.Join(folder, name), "/"))
	}
	raw, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(raw[:1<<20], []byte("castpoint record")) {
		t.Errorf("%s: the state of the run is still on the disk", firmware)
	}
	system := cut(t, disk, filepath.Join(filepath.Dir(disk), firmware+".system"), first.Start*512, first.Size*512)
	checkSystem(t, system, source, firmware)
	return extra
}

// cut copies a part of a file into one of its own.
func cut(t *testing.T, from, to string, at, size int64) string {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(out, io.NewSectionReader(f, at, size))
	if err := errors.Join(err, out.Close()); err != nil {
		t.Fatal(err)
	}
	return to
}

var volumeClusters = regexp.MustCompile(`Volume Size in Clusters: (\d+)`)

// ntfsSize is the size of an NTFS volume, by ntfsinfo.
func ntfsSize(t *testing.T, volume string) int64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ntfsinfo", "-m", volume).CombinedOutput()
	m := volumeClusters.FindSubmatch(out)
	if err != nil || m == nil || !bytes.Contains(out, []byte("Volume Flags: 0x0000")) {
		t.Fatalf("ntfsinfo: %v: %s", err, out)
	}
	var n int64
	if _, err := fmt.Sscan(string(m[1]), &n); err != nil {
		t.Fatal(err)
	}
	return n * 4096
}

// checkSystem reads the boot manager and its configuration from the partition that
// the firmware boots from, by programs that had no part in it.
func checkSystem(t *testing.T, volume, source, firmware string) {
	t.Helper()
	store := volume + ".bcd"
	files := map[string]string{"EFI/Microsoft/Boot/bootmgfw.efi": "Windows/Boot/EFI/bootmgfw.efi", "EFI/Boot/bootx64.efi": "Windows/Boot/EFI/bootmgfw.efi",
		"EFI/Microsoft/Boot/Fonts/segoe_slboot.ttf": "Windows/Boot/Fonts/segoe_slboot.ttf", "EFI/Microsoft/Boot/BCD": ""}
	read := func(name, to string) ([]byte, error) {
		return exec.CommandContext(t.Context(), "mcopy", "-o", "-i", volume, "::"+name, to).CombinedOutput()
	}
	if firmware == "bios" {
		files = map[string]string{"bootmgr": "Windows/Boot/PCAT/bootmgr", "Boot/memtest.exe": "Windows/Boot/PCAT/memtest.exe", "Boot/BCD": ""}
		read = func(name, to string) ([]byte, error) {
			out, err := exec.CommandContext(t.Context(), "ntfscat", volume, "/"+name).Output()
			return out, errors.Join(err, os.WriteFile(to, out, 0o644))
		}
	}
	for name, original := range files {
		to := volume + ".file"
		if original == "" {
			to = store
		}
		if out, err := read(name, to); err != nil {
			t.Errorf("%s: read %s: %v: %s", firmware, name, err, out)
			continue
		}
		if original == "" {
			continue
		}
		got, err := os.ReadFile(to)
		want, wantErr := os.ReadFile(filepath.Join(source, original))
		if err := errors.Join(err, wantErr); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %s differs from the image's (%v)", firmware, name, err)
		}
	}
	xml, err := exec.CommandContext(t.Context(), "hivexml", store).Output()
	if err != nil || !bytes.Contains(xml, []byte("winload")) && !bytes.Contains(xml, []byte("Objects")) {
		t.Errorf("%s: hivexml: %v", firmware, err)
	}
}
