package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// idleThreads counts the threads of a process that are of the I/O class idle and
// have the lowest priority for the processor too.
func idleThreads(pid int) (n int) {
	const whoProcess, classIdle = 1, 3 // ioprio_get(2)
	dirs, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0
	}
	for _, d := range dirs {
		id, err := strconv.Atoi(d.Name())
		if err != nil {
			continue
		}
		priority, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, whoProcess, uintptr(id), 0)
		// getpriority(2) itself gives 20 - nice.
		raw, err := unix.Getpriority(unix.PRIO_PROCESS, id)
		if errno == 0 && priority>>13 == classIdle && err == nil && raw == 1 {
			n++
		}
	}
	return n
}

// damage changes a byte of an object of a library.
func damage(t *testing.T, data string, sha256 string, at int64) {
	t.Helper()
	path := filepath.Join(data, "library", "objects", sha256[:2], sha256)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("damaged"), at); err != nil {
		t.Fatal(err)
	}
}

// A running server validates by itself what was not looked at for long, on
// threads that stand back for everything else, says what is damaged, and gets it
// from another server.
func TestValidateAndRepair(t *testing.T) {
	p := newPoint(t, lab.Config{Clients: 1})
	source := filepath.Join(p.Network.Dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, filepath.Join(source, "data.bin"), 16<<20)
	// Large enough for its threads to be seen, and no bytes on the disk.
	if err := os.WriteFile(filepath.Join(source, "holes.img"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(source, "holes.img"), 512<<20); err != nil {
		t.Fatal(err)
	}
	c, err := p.Add(t.Context(), "package", source, "--name", "tools")
	if err != nil {
		t.Fatal(err)
	}
	other := &point.Point{Network: p.Network, Binary: p.Binary, Data: filepath.Join(p.Network.Dir, "other")}
	if _, err := other.Add(t.Context(), "package", source, "--name", "the-same"); err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Files {
		if f.Name == "data.bin" {
			damage(t, p.Data, f.SHA256, 5_000_000)
		}
	}
	// It was added long ago.
	file := filepath.Join(p.Data, "library", "contents", c.ID+".json")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b = regexp.MustCompile(`"created": "[^"]*"`).ReplaceAll(b, []byte(`"created": "2024-01-01T00:00:00Z"`))
	if err := os.WriteFile(file, b, 0o640); err != nil {
		t.Fatal(err)
	}

	serve(t, p, "--dhcp", "off")
	lock, err := os.ReadFile(filepath.Join(p.Data, "library", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(lock)))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	checked := func() bool {
		seen = max(seen, idleThreads(pid))
		out, err := p.Run(t.Context(), "status", "--data", p.Data, "--json")
		var s struct{ Damaged []string }
		return err == nil && json.Unmarshal([]byte(out), &s) == nil && len(s.Damaged) == 1 && s.Damaged[0] == c.ID
	}
	eventually(t, "the damage is found", checked)
	if seen < 3 { // one reads, two compute
		t.Errorf("%d threads of the lowest priority were seen", seen)
	}
	out, err := p.Run(t.Context(), "content", "show", c.ID, "--data", p.Data)
	if err != nil || !strings.Contains(out, "1 of 94 blocks are damaged, the first at byte 4866048") {
		t.Errorf("%v: %s", err, out)
	}

	// The other server runs on another host.
	running, err := p.Network.Clients[0].Start(lab.Command{Args: []string{p.Binary, "serve", "--data", other.Data, "--interface", "eth0", "--dhcp", "off"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := running.Output.WaitFor(t.Context(), `sha256:[0-9a-f]{64}`, patience); err != nil {
		t.Fatal(err)
	}
	// The token's command prints what is to be said on this one.
	out, err = other.Run(t.Context(), "token", "create", "--files", "--content", "the-same", "--data", other.Data)
	m := regexp.MustCompile(`castpoint content repair ID (--from \S+ --pin \S+ --token \S+)`).FindStringSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Rename(source, source+"-moved"); err != nil { // there is no other way
		t.Fatal(err)
	}
	_, err = p.Run(t.Context(), "content", "repair", c.ID, "--data", p.Data)
	mustFail(t, err, 4, "source")
	out, err = p.Run(t.Context(), append([]string{"content", "repair", c.ID, "--data", p.Data}, strings.Fields(m[1])...)...)
	if err != nil || !strings.Contains(out, "good") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := p.Run(t.Context(), "content", "validate", c.ID, "--data", p.Data); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	out, err = p.Run(t.Context(), "status", "--data", p.Data, "--json")
	if err != nil || strings.Contains(out, `"damaged"`) && !strings.Contains(out, `"damaged": null`) && !strings.Contains(out, `"damaged": []`) {
		t.Errorf("%v: %s", err, out)
	}
}

// A running server validates what becomes due while it runs, once in its time, on
// threads that stand back, and says what is damaged in its log, its status and in the
// list; what is not damaged any more it says as well.
func TestValidateOnSchedule(t *testing.T) {
	takesMinutes(t) // the least time is one
	p := newPoint(t, lab.Config{})
	serve(t, p, "--dhcp", "off", "--validate-every", "1m")
	source := filepath.Join(p.Network.Dir, "source")
	if err := os.Mkdir(source, 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, filepath.Join(source, "data.bin"), 16<<20)
	if err := os.WriteFile(filepath.Join(source, "holes.img"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(source, "holes.img"), 256<<20); err != nil { // takes its time, and no bytes on the disk
		t.Fatal(err)
	}
	c, err := p.Add(t.Context(), "package", source, "--name", "tools")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Files {
		if f.Name == "data.bin" {
			damage(t, p.Data, f.SHA256, 5_000_000)
		}
	}
	seen := 0
	looks := func(command, what string) func() bool {
		return func() bool {
			seen = max(seen, idleThreads(p.Server.Pid()))
			out, _ := p.Run(t.Context(), append(strings.Fields(command), "--data", p.Data)...)
			return strings.Contains(out, what)
		}
	}
	began := time.Now()
	// On a busy host such threads get little, and it takes long.
	for found := looks("status --json", `"damaged": [`); !found(); {
		if time.Since(began) > 3*patience {
			t.Fatal("the damage is not found")
		}
	}
	if took := time.Since(began); took < 40*time.Second {
		t.Errorf("it was found after %v: nothing was due", took)
	}
	if seen < 3 { // one reads, two compute
		t.Errorf("%d threads of the lowest priority were seen", seen)
	}
	if _, err := p.Server.Output.WaitFor(t.Context(), `ERROR\s+content is damaged.*"content": "tools", "file": "data.bin", "missing": false, "blocks": 1`, patience); err != nil {
		t.Error(err)
	}
	if out, err := p.Run(t.Context(), "content", "list", "--data", p.Data); err != nil || !strings.Contains(out, "DAMAGED") {
		t.Errorf("%v: %s", err, out)
	}
	_, err = p.Run(t.Context(), "content", "validate", c.ID, "--data", p.Data)
	mustFail(t, err, 1, "1 of 94 blocks")
	if out, err := p.Run(t.Context(), "content", "repair", c.ID, "--data", p.Data); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	eventually(t, "the next round finds it good", func() bool {
		_, err := p.Server.Output.WaitFor(t.Context(), `INFO\s+content validated.*"content": "tools"`, patience)
		return err == nil
	})
	if out, err := p.Run(t.Context(), "status", "--json", "--data", p.Data); err != nil || strings.Contains(out, `"damaged": [`) {
		t.Errorf("%v: %s", err, out)
	}
}
