package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"castpoint/internal/lab"
	"castpoint/test/point"
)

// faultSequence is what machines install while things happen to them.
const faultSequence = `
name: faults
environment: linux
variables:
  AdminPassword: {secret: true, required: true}
  ComputerName: {value: PC-TEST}
steps:
  - name: Ready
    check-readiness: {memory: 256MiB, firmware: bios}
  - name: Disk
    partition-disk:
      partitions:
        - {name: System, size: 32MiB, active: true}
        - {name: Windows, size: rest, variable: WindowsFolder}
  - name: Image
    apply-image: {content: stand-in, target: Windows}
  - name: Boot files
    install-bootloader: {os: Windows, system: System}
  - name: Drivers
    apply-drivers: {content: drivers, target: Windows}
  - name: Answers
    steps:
      - name: Windows settings
        windows-settings: {target: Windows, computer-name: "${ComputerName}", admin-password: "${AdminPassword}", time-zone: UTC}
      - name: Network settings
        network-settings: {target: Windows, workgroup: TEST}
  - name: Variable
    set-variable: {name: Colour, value: green}
  - name: Environment
    restart: {into: boot-image}
  - name: Command
    run-command: {command: "sleep 0.2; echo $CP_Colour $CP_ComputerName >$CP_WindowsFolder/colour.txt; echo it said so"}
  - name: Data
    apply-data-image: {content: stand-in, target: Windows, folder: Copy}
  - name: Log
    copy-log: {}
  - name: Restart
    restart: {into: disk}
`

// faultSteps is how many steps it has.
const faultSteps = 13

// faultPassword is a secret of it.
const faultPassword = "correct horse"

// The faults: what happens, and when in a step.
type fault struct {
	what, when string
}

func (f fault) String() string { return f.what + " at the " + f.when }

const (
	powerFault  = "power cut"
	serverFault = "server killed"
	bothFault   = "power cut and server killed"
)

func allFaults() (list []fault) {
	for _, what := range []string{powerFault, serverFault, bothFault} {
		for _, when := range []string{"beginning", "middle", "end"} {
			list = append(list, fault{what, when})
		}
	}
	return list
}

// plant is a server with the sequence, and a machine for it that is off.
type plant struct {
	*body
	p        *point.Point
	api      *admin
	settings []string
	source   string
	wim      string
	device   string
	lines    chan string

	mu    sync.Mutex
	holds map[int]bool // steps at whose beginning the machine stands still
}

// makeDrivers makes a package of drivers.
func makeDrivers(t *testing.T, dir string) string {
	t.Helper()
	drivers := filepath.Join(dir, "drivers")
	if err := errors.Join(os.MkdirAll(filepath.Join(drivers, "net"), 0o755), os.WriteFile(filepath.Join(drivers, "net/card.inf"), []byte("[Version]\n"), 0o644),
		os.WriteFile(filepath.Join(drivers, "net/card.sys"), []byte("MZ"), 0o644)); err != nil {
		t.Fatal(err)
	}
	return drivers
}

func newPlant(t *testing.T) *plant {
	t.Helper()
	return newPlantOn(t, func(*point.Point) {})
}

// newPlantOn has something done to the server before there is anything on it.
func newPlantOn(t *testing.T, prepare func(*point.Point)) *plant {
	t.Helper()
	p := newPoint(t, lab.Config{Clients: 1, Offload: true})
	prepare(p)
	wim, source := makeWindows(t, p.Network.Dir)
	drivers := makeDrivers(t, p.Network.Dir)
	if _, err := p.Add(t.Context(), "os-image", wim, "--name", "stand-in", "--multicast", "--encrypt"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Add(t.Context(), "package", drivers, "--name", "drivers"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.AddBootEnvironment(t.Context(), "--from", "host"); err != nil {
		t.Fatal(err)
	}
	f := &plant{p: p, api: newAdmin(p), settings: []string{"--dhcp", "off", "--tftp=false"}, source: source, wim: wim, lines: make(chan string, 10_000)}
	serve(t, p, f.settings...)
	f.api.call(t, http.MethodPost, "/sequences", faultSequence, nil)
	var d struct{ ID string }
	f.api.call(t, http.MethodPost, "/devices", map[string]any{"name": "body", "macs": []string{bodyMAC}}, &d)
	f.device = d.ID
	f.api.call(t, http.MethodPost, "/collections", map[string]any{"name": "all", "devices": []string{d.ID}}, nil)
	f.api.call(t, http.MethodPut, "/collections/all/secrets/AdminPassword", map[string]string{"value": faultPassword}, nil)
	f.api.call(t, http.MethodPost, "/deployments", map[string]any{"name": "faults", "sequence": "faults", "collection": "all", "purpose": "required"}, nil)
	f.body = newBody(t, p, p.Network.Clients[0], filepath.Join(p.Network.Dir, "bootenv"), 128<<20)
	f.out = func(line string) {
		// Steps take some milliseconds: the machine waits for what is to happen to it.
		if m := beginsLine.FindStringSubmatch(line); m != nil {
			f.mu.Lock()
			number, _ := strconv.Atoi(m[1])
			if f.holds[number] {
				f.signal(unix.SIGSTOP)
			}
			f.mu.Unlock()
		}
		select {
		case f.lines <- line:
		default: // more than anybody looks at
		}
	}
	return f
}

// lastRun is the last run of the machine; nil while the server is away or has none.
func (f *plant) lastRun() *runRecord {
	var page struct{ Items []runRecord }
	if err := f.api.try(f.t.Context(), http.MethodGet, "/devices/"+f.device+"/runs", nil, &page); err != nil || len(page.Items) == 0 {
		return nil
	}
	one := &runRecord{}
	if err := f.api.try(f.t.Context(), http.MethodGet, "/runs/"+page.Items[len(page.Items)-1].ID, nil, one); err != nil {
		return nil
	}
	return one
}

var beginsLine = regexp.MustCompile(`\[(\d+)/\d+\] ([^:]*)$`)

// install lets the machine install itself while faults happen: one in each step that
// has one. It returns what happened.
func (f *plant) install(ctx context.Context, faults map[int]fault, random *rand.Rand) (happened []string) {
	t := f.t
	t.Helper()
	f.mu.Lock()
	f.holds = make(map[int]bool)
	for number := range faults {
		f.holds[number] = true
	}
	f.mu.Unlock()
	for {
		if f.agent == nil {
			err := f.power(ctx)
			if errors.Is(err, errLocal) {
				if r := f.lastRun(); r == nil || r.State != "succeeded" {
					t.Fatalf("the machine boots from its disk, and its run is %+v: %v", r, err)
				}
				return happened
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %v: %v; the machine said last:\n%s", happened, ctx.Err(), f.agent.Output.Tail(30))
		case <-f.agent.Done():
			f.off() // it restarts
			continue
		case line := <-f.lines:
			if strings.Contains(line, faultPassword) {
				t.Errorf("the machine shows a secret: %s", line)
			}
			if strings.Contains(line, "FAILED:") {
				t.Fatalf("after %v: %s", happened, line)
			}
			m := beginsLine.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			number, _ := strconv.Atoi(m[1])
			one, ok := faults[number]
			if !ok {
				continue
			}
			delete(faults, number)
			f.mu.Lock()
			delete(f.holds, number)
			f.mu.Unlock()
			happened = append(happened, fmt.Sprintf("%s of step %d (%s)", one, number, m[2]))
			f.happen(ctx, one, number, random)
		}
	}
}

// disksize gives the machine another disk, which is empty.
func (f *plant) disksize(size int64) {
	f.t.Helper()
	if err := os.Remove(f.disk); err != nil {
		f.t.Fatal(err)
	}
	blankDisk(f.t, f.disk, size)
	f.write("block/sda/size", fmt.Sprint(size/512))
}

// untilFailure waits until the machine says that it has failed, and returns what it
// says. at is done when a step begins.
func (f *plant) untilFailure(ctx context.Context, at map[int]func()) string {
	for {
		select {
		case <-ctx.Done():
			f.t.Fatalf("it has not failed; the machine said last:\n%s", f.agent.Output.Tail(30))
		case <-f.agent.Done():
			f.off() // it restarts
			if err := f.power(ctx); err != nil {
				f.t.Fatal(err)
			}
		case line := <-f.lines:
			if strings.Contains(line, "FAILED:") {
				return line
			}
			if m := beginsLine.FindStringSubmatch(line); m != nil {
				if number, _ := strconv.Atoi(m[1]); at[number] != nil {
					at[number]()
				}
			}
		}
	}
}

// happen has a fault happen to a step that has just begun.
func (f *plant) happen(ctx context.Context, one fault, number int, random *rand.Rand) {
	if one.when != "beginning" {
		f.signal(unix.SIGCONT)
	}
	switch one.when {
	case "middle":
		time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
	case "end":
		f.awaitEnd(ctx, number)
	}
	away := time.Duration(random.IntN(1500)) * time.Millisecond
	if one.what != serverFault {
		if err := f.powerCut(); err != nil {
			f.t.Fatal(err)
		}
		f.drain()
	}
	if one.what != powerFault {
		f.p.Server.Kill()
		f.signal(unix.SIGCONT) // a machine that is on goes on without the server
		time.Sleep(away)
		serve(f.t, f.p, f.settings...)
	}
}

// drain forgets what a machine said that is off.
func (f *plant) drain() {
	for {
		select {
		case <-f.lines:
		default:
			return
		}
	}
}

// awaitEnd waits until a step is over, as the server knows or the machine shows.
func (f *plant) awaitEnd(ctx context.Context, number int) {
	for ctx.Err() == nil {
		select {
		case <-f.agent.Done():
			return
		default:
		}
		if r := f.lastRun(); r != nil {
			for _, s := range r.Steps {
				if s.Number == number && (s.State == "done" || s.State == "skipped" || s.State == "failed") {
					return
				}
			}
		}
	}
}

// check compares the machine's disk with the image, file by file, and the run with
// what should have happened.
func (f *plant) check() {
	f.t.Helper()
	checkFaulty(f.t, f.lastRun(), f.disk, f.source)
}

// checkFaulty compares a disk with the image, and the run with what should have
// happened.
func checkFaulty(t *testing.T, r *runRecord, disk, source string) {
	t.Helper()
	if r == nil || r.State != "succeeded" || len(r.Steps) != faultSteps || len(r.Logs) == 0 {
		t.Fatalf("%+v", r)
	}
	for _, s := range r.Steps {
		if s.State != "done" {
			t.Errorf("step %s: %+v", s.Name, s)
		}
		if strings.Contains(s.Output+s.Message, faultPassword) {
			t.Errorf("step %s shows the password", s.Name)
		}
	}
	extra := compareVolume(t, disk, source, "bios", faultPassword)
	want := []string{"Copy", "Windows/Panther", "castpoint", "Drivers", "colour.txt"}
	for _, name := range extra {
		if !slices.Contains(want, name) {
			t.Errorf("the disk has %s, which no step makes", name)
		}
	}
}

// every gives all steps the same fault.
func every(one fault) map[int]fault {
	faults := make(map[int]fault)
	for n := 1; n <= faultSteps; n++ {
		faults[n] = one
	}
	return faults
}

// TestFaultsInSteps: in each step of an installation something goes wrong, at random:
// the machine loses its power, the server is killed, or both; at its beginning, in its
// middle or at its end. The machine goes on, and in the end its disk is right.
func TestFaultsInSteps(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("CASTPOINT_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("CASTPOINT_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	all := allFaults()
	faults := make(map[int]fault)
	for n := 1; n <= faultSteps; n++ {
		faults[n] = all[random.IntN(len(all))]
	}
	f := newPlant(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	began := time.Now()
	happened := f.install(ctx, faults, random)
	for _, what := range happened {
		t.Log(what)
	}
	f.check()
	// A machine that is slow, or quick, may be past a step when its fault is due.
	if len(happened) < faultSteps/2 {
		t.Errorf("%d of %d faults have happened", len(happened), faultSteps)
	}
	t.Logf("%d starts of the machine, %.0f s", f.starts, time.Since(began).Seconds())
}

// mendedSequence takes the image that a variable names.
var mendedSequence = strings.NewReplacer(
	"name: faults\n", "name: mended\n", "ComputerName: {value: PC-TEST}\n", "ComputerName: {value: PC-TEST}\n  Image: {value: stand-in}\n  Fill: {value: \"\"}\ncontents: [stand-in, no-windows, noise]\n",
	`{content: stand-in, target: Windows}`, "{content: \"${Image}\", target: Windows}\n    patience: 15s", "{content: stand-in,", `{content: "${Image}",`,
	"sleep 0.2;", "rm -f $CP_WindowsFolder/fill; [ -z $CP_Fill ] || dd if=/dev/zero of=$CP_WindowsFolder/fill bs=1M || true;",
).Replace(faultSequence)

// TestFaultsThatPeopleMend: what a machine cannot mend by itself it says on its screen,
// in its run and in its timeline, and waits; somebody mends it, and it goes on from
// there to the same end.
func TestFaultsThatPeopleMend(t *testing.T) {
	takesMinutes(t)
	f := newPlant(t)
	noWindows := filepath.Join(f.p.Network.Dir, "no-windows")
	if err := os.MkdirAll(filepath.Join(noWindows, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, filepath.Join(noWindows, "etc/passwd"), 1000)
	wimlib(t, "capture", noWindows, noWindows+".wim", "No Windows", "--compress=none")
	noise := filepath.Join(f.p.Network.Dir, "noise")
	if err := os.MkdirAll(noise, 0o755); err != nil {
		t.Fatal(err)
	}
	writeRandom(t, filepath.Join(noise, "noise.bin"), 100_000)
	for _, args := range [][]string{{"os-image", noWindows + ".wim", "--name", "no-windows"}, {"package", noise, "--name", "noise"}} {
		if _, err := f.p.Add(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	f.api.call(t, http.MethodPost, "/sequences", mendedSequence, nil)
	f.api.call(t, http.MethodDelete, "/deployments/faults", nil, nil)
	f.api.call(t, http.MethodPost, "/deployments", map[string]any{"name": "faults", "sequence": "mended", "collection": "all", "purpose": "required"}, nil)
	castpoint := func(args ...string) {
		t.Helper()
		if _, err := f.p.Run(t.Context(), append(args, "--data", f.p.Data)...); err != nil {
			t.Fatal(err)
		}
	}
	client := func(script string) {
		t.Helper()
		sh(t, f.host, script)
	}
	image := func(name string) { castpoint("device", "set", "body", "--variable", "Image="+name) }
	type mend struct {
		step      string
		variables map[string]string
	}
	for _, c := range []struct {
		name   string
		size   int64
		before func()
		// at is done when a step begins: number -> what.
		at   map[int]func()
		step string // that fails
		says string
		mend func() mend
	}{
		{
			name: "full disk", size: 72 << 20, step: "Image", says: "make it larger",
			mend: func() mend {
				f.off()
				f.disksize(128 << 20)
				return mend{step: "Disk"}
			},
		}, {
			name: "no Windows in the image", before: func() { image("no-windows") }, step: "Boot files", says: "it is no Windows",
			mend: func() mend { return mend{"Image", map[string]string{"Image": "stand-in"}} },
		}, {
			name: "no image", before: func() { image("noise") }, step: "Image", says: "is no WIM that can be applied",
			mend: func() mend { return mend{variables: map[string]string{"Image": "stand-in"}} },
		}, {
			name: "content removed", at: map[int]func(){2: func() { castpoint("content", "remove", "drivers") }}, step: "Image", says: "drivers",
			mend: func() mend {
				castpoint("content", "add", "package", filepath.Join(f.p.Network.Dir, "drivers"), "--name", "drivers")
				return mend{}
			},
		}, {
			name: "multicast only, and none arrives", before: func() {
				castpoint("content", "set", "stand-in", "--multicast-only")
				client(dropMulticast)
			}, step: "Image", says: "nothing new has come for 15s",
			mend: func() mend {
				client(allowMulticast)
				return mend{}
			},
		}, {
			name: "image damaged, multicast only", before: func() { f.damage("stand-in", 2_000_000) },
			step: "Image", says: "castpoint content repair stand-in",
			mend: func() mend {
				f.mustBeDamaged("stand-in")
				castpoint("content", "repair", "stand-in")
				return mend{}
			},
		}, {
			name: "session cancelled, multicast only", before: func() { f.slowSession("stand-in") },
			at: map[int]func(){3: func() { f.cancelSession() }}, step: "Image", says: "was cancelled by root",
			mend: func() mend { return mend{} },
		}, {
			name: "image damaged, unicast", before: func() {
				castpoint("content", "set", "stand-in", "--multicast-only=false")
				client(dropMulticast)
				f.damage("stand-in", 2_000_000)
			}, step: "Image", says: "castpoint content repair stand-in",
			mend: func() mend {
				f.mustBeDamaged("stand-in")
				// Another content with the same file mends it too.
				castpoint("content", "add", "os-image", f.wim, "--name", "twin")
				castpoint("content", "validate", "stand-in")
				client(allowMulticast)
				return mend{}
			},
		}, {
			name: "image gone", before: func() {
				f.endSessions() // one that sends it has it open
				f.damage("stand-in", -1)
			}, step: "Image", says: "it is missing",
			mend: func() mend {
				castpoint("content", "repair", "stand-in")
				return mend{}
			},
		}, {
			name: "package damaged", before: func() { f.damage("drivers", 0) }, step: "Drivers", says: "receive drivers: file net/card.",
			mend: func() mend {
				eventually(t, "the server has found the damage", func() bool { return f.problem("drivers") != "" })
				castpoint("content", "repair", "drivers")
				return mend{}
			},
		}, {
			name: "volume full", before: func() { castpoint("device", "set", "body", "--variable", "Fill=yes") }, step: "Data", says: "castpoint-image.wim needs",
			mend: func() mend { return mend{"Command", map[string]string{"Fill": ""}} },
		}, {
			name: "cancelled from the console", at: map[int]func(){3: func() { castpoint("run", "cancel", "body") }}, step: "", says: "cancelled",
			mend: func() mend { return mend{} },
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			f.t = t
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			f.off()
			f.drain()
			if c.size == 0 {
				c.size = 128 << 20
			}
			f.disksize(c.size)
			castpoint("device", "set", "body", "--variable", "Image=stand-in", "--variable", "Fill=")
			if f.lastRun() != nil {
				f.api.call(t, http.MethodPost, "/deployments/faults/again", map[string]any{"devices": []string{f.device}}, nil)
			}
			if c.before != nil {
				c.before()
			}
			if err := f.power(ctx); err != nil {
				t.Fatal(err)
			}
			said := f.untilFailure(ctx, c.at)
			if !strings.Contains(said, c.says) {
				t.Errorf("the screen says %q, want %q", said, c.says)
			}
			eventually(t, "the run has ended", func() bool {
				r := f.lastRun()
				return r != nil && (r.State == "failed" || r.State == "cancelled")
			})
			r := f.lastRun()
			if last := r.Steps[len(r.Steps)-1]; c.step != "" && (last.Name != c.step || last.State != "failed" || !strings.Contains(last.Message, c.says)) {
				t.Errorf("%+v", last)
			}
			if !strings.Contains(r.Message, c.says) {
				t.Errorf("the run says %q", r.Message)
			}
			if timeline, err := f.p.Run(ctx, "device", "timeline", bodyMAC, "--data", f.p.Data); err != nil || !strings.Contains(timeline, c.says) {
				t.Errorf("%v; the timeline:\n%s", err, timeline)
			}
			m := c.mend()
			body := map[string]any{"variables": m.variables}
			if m.step != "" {
				body["step"] = m.step
			}
			f.api.call(t, http.MethodPost, "/runs/"+r.ID+"/retry", body, nil)
			f.install(ctx, nil, nil)
			f.check()
			t.Logf("%.0f s", time.Since(began).Seconds())
		})
	}
}

// What keeps multicast from a machine, and ends that.
const (
	dropMulticast  = "nft add table inet t; nft 'add chain inet t in { type filter hook input priority 0 ; policy accept ; }'; nft add rule inet t in ip daddr 224.0.0.0/4 drop"
	allowMulticast = "nft delete table inet t"
)

// damage changes the first file of a content on the server's disk, at a place; at -1 it
// takes the file away.
func (f *plant) damage(name string, at int64) {
	f.t.Helper()
	var c point.Content
	f.api.call(f.t, http.MethodGet, "/contents/"+name, nil, &c)
	if at < 0 {
		sum := c.Files[0].SHA256
		if err := os.Remove(filepath.Join(f.p.Data, "library/objects", sum[:2], sum)); err != nil {
			f.t.Fatal(err)
		}
		return
	}
	damage(f.t, f.p.Data, c.Files[0].SHA256, at)
}

// problem is what the server knows to be wrong with a content.
func (f *plant) problem(name string) string {
	f.t.Helper()
	var c struct{ Checked struct{ Problem string } }
	f.api.call(f.t, http.MethodGet, "/contents/"+name, nil, &c)
	return c.Checked.Problem
}

// mustBeDamaged checks that the server knows of a damage, and shows it.
func (f *plant) mustBeDamaged(name string) {
	f.t.Helper()
	if f.problem(name) == "" {
		f.t.Error("the server knows nothing of the damage")
	}
	if out, err := f.p.Run(f.t.Context(), "status", "--data", f.p.Data); err != nil || !strings.Contains(out, name) {
		f.t.Errorf("castpoint status does not name it: %v\n%s", err, out)
	}
	if out, err := f.p.Run(f.t.Context(), "deployment", "show", "faults", "--data", f.p.Data); err != nil || !strings.Contains(out, "castpoint content repair "+name) {
		f.t.Errorf("the deployment does not warn of it: %v\n%s", err, out)
	}
}

// sessionRecord is a session as the API shows it.
type sessionRecord struct {
	ID      string
	Ended   *time.Time
	Members []struct{ Complete int }
}

// endSessions ends those that still wait for members.
func (f *plant) endSessions() {
	f.t.Helper()
	var page struct{ Items []sessionRecord }
	f.api.call(f.t, http.MethodGet, "/sessions", nil, &page)
	for _, s := range page.Items {
		if s.Ended == nil {
			// It may end by itself just now.
			_ = f.api.try(f.t.Context(), http.MethodDelete, "/sessions/"+s.ID, nil, nil)
		}
	}
}

// slowSession opens a session that takes half a minute.
func (f *plant) slowSession(content string) {
	f.t.Helper()
	f.endSessions()
	f.api.call(f.t, http.MethodPost, "/sessions", map[string]any{"content": content, "rate": 2_000_000, "open": 120}, nil)
}

// cancelSession cancels the session when it has sent a part of what it has.
func (f *plant) cancelSession() {
	f.t.Helper()
	var running sessionRecord
	eventually(f.t, "the machine has a part of the image", func() bool {
		var page struct{ Items []sessionRecord }
		f.api.call(f.t, http.MethodGet, "/sessions", nil, &page)
		for _, s := range page.Items {
			if s.Ended == nil && len(s.Members) > 0 && s.Members[0].Complete > 2 {
				running = s
				return true
			}
		}
		return false
	})
	if _, err := f.p.Run(f.t.Context(), "session", "cancel", running.ID, "--data", f.p.Data); err != nil {
		f.t.Fatal(err)
	}
}

// until waits until the machine says one of some things, and returns the line.
func (f *plant) until(ctx context.Context, texts ...string) string {
	f.t.Helper()
	for {
		select {
		case <-ctx.Done():
			f.t.Fatalf("it does not say %q; it said last:\n%s", texts, f.agent.Output.Tail(30))
		case <-f.agent.Done():
			f.t.Fatalf("it has ended:\n%s", f.agent.Output.Tail(30))
		case line := <-f.lines:
			if strings.Contains(line, "FAILED:") {
				f.t.Fatal(line)
			}
			if slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(line, text) }) {
				return line
			}
		}
	}
}

// The session is cancelled while a step receives by it: the rest comes by unicast, from
// where multicast was.
func TestSessionCancelledInStep(t *testing.T) {
	f := newPlant(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.slowSession("stand-in")
	if err := f.power(ctx); err != nil {
		t.Fatal(err)
	}
	f.until(ctx, "[3/13]")
	f.cancelSession()
	if said := f.until(ctx, "the rest comes by unicast"); !strings.Contains(said, "was cancelled by root") {
		t.Errorf("it does not say why: %s", said)
	}
	f.install(ctx, nil, nil)
	f.check()
}

// The image is damaged on the server's disk while machines want it: the step fails and
// names it, the server knows, other machines are refused it at once, and after a repair
// the run goes on.
func TestDamagedImage(t *testing.T) {
	f := newPlant(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	f.damage("stand-in", 2_000_000)
	if err := f.power(ctx); err != nil {
		t.Fatal(err)
	}
	said := f.untilFailure(ctx, nil)
	for _, word := range []string{"receive stand-in", "the block at byte 1982464 is damaged", "castpoint content repair stand-in"} {
		if !strings.Contains(said, word) {
			t.Errorf("the screen says %q, not %q", said, word)
		}
	}
	f.mustBeDamaged("stand-in")
	eventually(t, "the run has failed", func() bool { r := f.lastRun(); return r != nil && r.State == "failed" })
	run := f.lastRun().ID
	retry := func() { f.api.call(t, http.MethodPost, "/runs/"+run+"/retry", map[string]any{}, nil) }
	// Without an order it does not go on, whatever restarts it.
	if err := f.powerCut(); err != nil {
		t.Fatal(err)
	}
	f.drain()
	if err := f.power(ctx); !errors.Is(err, errLocal) {
		t.Fatalf("after its failure the machine boots the boot environment: %v", err)
	}
	if r := f.lastRun(); r.ID != run || r.State != "failed" {
		t.Errorf("%+v", r)
	}
	retry()
	if err := f.power(ctx); err != nil {
		t.Fatal(err)
	}
	if said := f.untilFailure(ctx, nil); !strings.Contains(said, "castpoint content repair stand-in") {
		t.Errorf("the second time the screen says %q", said)
	}
	if _, err := f.p.Run(ctx, "content", "repair", "stand-in", "--data", f.p.Data); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the run has failed", func() bool { r := f.lastRun(); return r != nil && r.State == "failed" })
	retry()
	f.install(ctx, nil, nil)
	f.check()
}

// The server's disk is full while a machine installs itself: it waits, and goes on when
// there is room again.
func TestServerDiskFull(t *testing.T) {
	f := newPlantOn(t, func(p *point.Point) {
		disk := filepath.Join(p.Network.Dir, "server.disk")
		blankDisk(t, disk, 3<<30)
		for _, args := range [][]string{{"mkfs.ext4", "-q", "-m", "0", disk}, {"mount", "-o", "loop", disk, p.Data}} {
			if out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", args[0], err, out)
			}
		}
		t.Cleanup(func() {
			// The server runs until the network goes.
			if err := unix.Unmount(p.Data, unix.MNT_DETACH); err != nil {
				t.Error("unmount the server's disk: ", err)
			}
		})
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := f.power(ctx); err != nil {
		t.Fatal(err)
	}
	f.until(ctx, "[3/13]")
	full := filepath.Join(f.p.Data, "full")
	fillDisk(t, full)
	t.Log(f.until(ctx, "trying again", "the server is asked again")) // by whatever it wants to say first
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	f.install(ctx, nil, nil)
	f.check()
}

// fillDisk makes a file of all the room that there is.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	size := int64(0)
	for piece := int64(1 << 30); piece >= 4096; {
		if err := unix.Fallocate(int(out.Fd()), 0, size, piece); errors.Is(err, unix.ENOSPC) {
			piece /= 2
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		size += piece
	}
}

// TestEveryFaultInEveryStep is the same with all faults in all steps.
func TestEveryFaultInEveryStep(t *testing.T) {
	takesMinutes(t)
	f := newPlant(t)
	for _, one := range allFaults() {
		t.Run(strings.ReplaceAll(one.String(), " ", "-"), func(t *testing.T) {
			f.t = t
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			f.off() // after a fault that has failed
			f.drain()
			blankDisk(t, f.disk, 128<<20)
			f.starts = 0
			// What did not happen in one installation happens in the next.
			faults, random := every(one), rand.New(rand.NewPCG(rand.Uint64(), 1))
			for rounds := 1; len(faults) > 0; rounds++ {
				if f.lastRun() != nil {
					f.api.call(t, http.MethodPost, "/deployments/faults/again", map[string]any{"devices": []string{f.device}}, nil)
				}
				f.install(ctx, faults, random)
				f.check()
				if rounds == 5 && len(faults) > 0 {
					t.Errorf("in %d installations, %v has not happened in steps %v", rounds, one, slices.Sorted(maps.Keys(faults)))
					break
				}
			}
			t.Logf("%d starts of the machine", f.starts)
		})
	}
}
