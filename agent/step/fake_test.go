package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"castpoint/agent/disk"
	"castpoint/agent/machine"
	"castpoint/agent/protocol"
	"castpoint/deploy/sequence"
)

// world is a machine and a server that a test can hurt: every operation of either
// goes through op, which may fail it or pull the power.
type world struct {
	t   *testing.T
	dir string
	seq *sequence.Sequence

	mu     sync.Mutex
	ops    []string // names, in order
	hook   func(n int, name string) error
	off    context.CancelCauseFunc // pulls the power
	steps  map[string]protocol.StepStatus
	vars   map[string]protocol.VariableValue
	ends   []protocol.RunEnd
	orders []protocol.Order
	// answers are orders that come with the answer to a step's status, once: path and
	// state -> order.
	answers map[string]protocol.Order
	said    []string
	began   bool
	facts   sequence.Facts
	// applied is what the volumes hold: volume -> how often it was applied.
	applied map[string]int
	disk    string // path of the disk, a file
	env     string
	image   []byte  // what receiving an image brings
	machine Machine // instead of the fake one
	waits   bool    // the server says that the run has failed before
	stands  bool    // the run has failed, and nobody has ordered anything since
	flushed []string
	flush   error // what flushing comes to
}

var errPower = errors.New("power gone")

func newWorld(t *testing.T, yaml string) *world {
	t.Helper()
	seq, problems := sequence.Check([]byte(yaml))
	for _, p := range problems {
		if !p.Warning {
			t.Fatalf("sequence: %v", p)
		}
	}
	w := &world{t: t, dir: tempDir(t), seq: seq, steps: map[string]protocol.StepStatus{}, vars: map[string]protocol.VariableValue{},
		applied: map[string]int{}, env: sequence.EnvironmentLinux, image: []byte("wim"), facts: sequence.Facts{Manufacturer: "Maker", Model: "Model 1", Memory: 4096, Cores: 2, Architecture: "amd64"}}
	w.disk = filepath.Join(w.dir, "disk")
	if err := errors.Join(os.WriteFile(w.disk, nil, 0o600), os.Truncate(w.disk, 64<<30)); err != nil {
		t.Fatal(err)
	}
	return w
}

// op is one thing that happens to the machine or the server.
func (w *world) op(ctx context.Context, name string) error {
	w.mu.Lock()
	w.ops = append(w.ops, name)
	n, hook := len(w.ops), w.hook
	w.mu.Unlock()
	if hook != nil {
		if err := hook(n, name); err != nil {
			if errors.Is(err, errPower) {
				w.off(errPower)
			}
			return err
		}
	}
	return ctx.Err()
}

// start is a start of the machine: it runs until its end, or until the power goes.
func (w *world) start() (string, error) {
	ctx, off := context.WithCancelCause(w.t.Context())
	defer off(nil)
	w.mu.Lock()
	w.off = off
	run := &protocol.Run{ID: "run1", Ticket: "t", Device: "pc-1", Deployment: "d", Sequence: w.seq, StateKey: make([]byte, disk.KeySize),
		Variables: maps.Clone(w.vars), Resumed: w.began, Server: "https://192.0.2.1:8443", After: "reboot",
		Contents: []protocol.RunContent{
			{ID: "os1", Names: []string{"windows"}, Name: "windows", Size: 3, Files: []protocol.File{{Name: "install.wim", Size: 3}}},
			{ID: "drv1", Names: []string{"drivers"}, Name: "drivers", Size: 3, Files: []protocol.File{{Name: "drivers.zip", Size: 3}}},
		}}
	if w.began {
		run.Next, run.Interrupted = w.next()
		run.Waits = w.waits
	}
	w.began = true
	w.mu.Unlock()
	for name, v := range w.seq.Variables {
		if _, ok := run.Variables[name]; !ok && v.Value != "" {
			run.Variables[name] = protocol.VariableValue{Value: v.Value}
		}
	}
	m := w.machine
	if m == nil {
		m = (*fakeMachine)(w)
	}
	return Execute(ctx, Options{Run: run, Machine: m, Server: (*fakeServer)(w), Person: (*fakePerson)(w),
		Facts: w.facts, MAC: "52:54:00:00:00:01", Memory: filepath.Join(w.dir, "memory"), Resident: sequence.OnDisk(w.env),
		Continue: func(ctx context.Context, folder string) error {
			return w.op(ctx, "settle "+strings.TrimPrefix(filepath.ToSlash(folder), filepath.ToSlash(w.dir)))
		}})
}

// next is what the server says of a run that goes on, as package rollout does.
func (w *world) next() (string, bool) {
	for _, l := range w.seq.Leaves() {
		s, known := w.steps[l.Path]
		over := s.State == protocol.StepDone || s.State == protocol.StepSkipped || s.State == protocol.StepFailed && s.Continue
		if !known {
			return l.Path, false
		}
		if !over {
			return l.Path, s.State != protocol.StepFailed
		}
	}
	return "", false
}

// states are the steps as the server has them.
func (w *world) states() string {
	var list []string
	for _, l := range w.seq.Leaves() {
		list = append(list, fmt.Sprintf("%s %s", l.Step.Title(), w.steps[l.Path].State))
	}
	return strings.Join(list, ", ")
}

// afterRestart starts the machine in the environment that its run wants.
func (w *world) afterRestart() (string, error) {
	w.env = sequence.EnvironmentLinux
	if n := len(w.ends); n > 0 && w.ends[n-1].State == protocol.RunRestart && w.ends[n-1].Into == sequence.RestartDisk {
		w.env = sequence.EnvironmentLinuxDisk
	}
	return w.start()
}

type fakeServer world

func (s *fakeServer) Step(ctx context.Context, st protocol.StepStatus) (protocol.Order, error) {
	w := (*world)(s)
	if st.State == protocol.StepProgress {
		return protocol.Order{}, nil
	}
	if err := w.op(ctx, "server: "+st.Path+" "+st.State); err != nil {
		return protocol.Order{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps[st.Path] = st
	maps.Copy(w.vars, st.Variables)
	order := w.answers[st.Path+" "+st.State]
	delete(w.answers, st.Path+" "+st.State)
	return order, nil
}

func (s *fakeServer) End(ctx context.Context, e protocol.RunEnd) error {
	w := (*world)(s)
	if err := w.op(ctx, "server: end "+e.State); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, e)
	w.stands = true
	return nil
}

func (s *fakeServer) Order(ctx context.Context) (protocol.Order, error) {
	w := (*world)(s)
	w.mu.Lock()
	// Only a run that has failed is ordered to go on or to restart.
	if len(w.orders) > 0 && (w.stands || w.waits || w.orders[0].Kind == protocol.OrderAnswer || w.orders[0].Kind == protocol.OrderCancel) {
		o := w.orders[0]
		w.orders, w.stands = w.orders[1:], false
		w.mu.Unlock()
		return o, nil
	}
	w.mu.Unlock()
	<-ctx.Done()
	return protocol.Order{}, ctx.Err()
}

func (s *fakeServer) Ask(ctx context.Context, _ protocol.Questions) error {
	return (*world)(s).op(ctx, "server: questions")
}
func (s *fakeServer) TakeBack(context.Context, protocol.Questions) error { return nil }
func (s *fakeServer) Answer(context.Context, protocol.Answers) error     { return nil }

func (s *fakeServer) Log(ctx context.Context, name string, r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return errors.Join(err, (*world)(s).op(ctx, "server: log "+name))
}

func (s *fakeServer) Receive(ctx context.Context, wanted Wanted) error {
	what := "receive " + wanted.Content.ID
	if wanted.Patience > 0 {
		what += " within " + wanted.Patience.String()
	}
	if err := (*world)(s).op(ctx, what); err != nil {
		return err
	}
	wanted.Percent(100)
	if strings.HasSuffix(wanted.Out, ".zip") {
		return os.WriteFile(wanted.Out, zipWith("net/card.inf"), 0o600)
	}
	return os.WriteFile(wanted.Out, s.image, 0o600)
}

type fakePerson world

func (p *fakePerson) Say(text string) {
	w := (*world)(p)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}
func (p *fakePerson) Progress(string, float64) {}
func (p *fakePerson) Trouble(lines []string) {
	for _, line := range lines {
		p.Say(line)
	}
}

func (p *fakePerson) Ask(ctx context.Context, q []sequence.Question) (map[string]string, error) {
	if err := (*world)(p).op(ctx, "person asked"); err != nil {
		return nil, err
	}
	return map[string]string{q[0].Variable: "Ada"}, nil
}

type fakeMachine world

func (m *fakeMachine) op(ctx context.Context, name string) error { return (*world)(m).op(ctx, name) }

func (m *fakeMachine) Environment() string { return m.env }
func (m *fakeMachine) Firmware() string    { return "uefi" }
func (m *fakeMachine) Disks() ([]disk.Disk, error) {
	return []disk.Disk{{Path: m.disk, Size: 64 << 30, Sector: 512}}, nil
}
func (m *fakeMachine) OpenRecord(d disk.Disk) (*os.File, error) {
	return os.OpenFile(d.Path, os.O_RDWR, 0)
}

func (m *fakeMachine) Partition(ctx context.Context, p *disk.Plan) error {
	if err := m.op(ctx, "partition"); err != nil {
		return err
	}
	for _, v := range p.Volumes {
		m.applied[v.Name] = 0
		if err := os.RemoveAll(filepath.Join(m.dir, "volumes", v.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *fakeMachine) Wipe(ctx context.Context, _ disk.Disk, _ *sequence.WipeDisk, _ func(float64)) error {
	return m.op(ctx, "wipe")
}

func (m *fakeMachine) Folder(_ context.Context, v disk.Volume) (string, error) {
	at := filepath.Join(m.dir, "volumes", v.Name)
	return at, os.MkdirAll(at, 0o755)
}
func (m *fakeMachine) Release() error { return nil }
func (m *fakeMachine) Flush(volumes []disk.Volume) error {
	var names []string
	for _, v := range volumes {
		names = append(names, v.Name)
	}
	m.flushed = append(m.flushed, strings.Join(names, " "))
	return m.flush
}
func (m *fakeMachine) BootNetwork(ctx context.Context, mac string) (string, error) {
	return "0003 PXE", m.op(ctx, "boot network "+mac)
}

func (m *fakeMachine) ApplyImage(ctx context.Context, _ *disk.Plan, v disk.Volume, im machine.Image) error {
	if err := im.Receive(ctx, filepath.Join(m.dir, "image.wim")); err != nil {
		return err
	}
	if err := m.op(ctx, "apply"); err != nil {
		return err
	}
	m.applied[v.Name]++
	at, err := m.Folder(ctx, v)
	return errors.Join(err, os.MkdirAll(filepath.Join(at, "Windows"), 0o755))
}

func (m *fakeMachine) ApplyFiles(ctx context.Context, v disk.Volume, _ string, im machine.Image) error {
	return m.ApplyImage(ctx, nil, v, im)
}
func (m *fakeMachine) Extract(ctx context.Context, _, folder string) error {
	return errors.Join(os.MkdirAll(folder, 0o755), m.op(ctx, "extract"))
}
func (m *fakeMachine) Capture(ctx context.Context, _ disk.Volume, _, _, _ string, _ func(float64)) error {
	return m.op(ctx, "capture")
}
func (m *fakeMachine) Bootloader(ctx context.Context, _ *disk.Plan, system, os disk.Volume, _ *sequence.InstallBootloader) error {
	return m.op(ctx, "bootloader "+system.Name+" "+os.Name)
}
func (m *fakeMachine) AddDrivers(ctx context.Context, v disk.Volume, _, _, _ string, _ bool) error {
	return m.op(ctx, "drivers "+v.Name)
}
func (m *fakeMachine) ApplyAnswers(ctx context.Context, _ disk.Volume) error {
	return m.op(ctx, "answers")
}
func (m *fakeMachine) Programs() machine.Programs { return m }
func (m *fakeMachine) Shell(command string) machine.Program {
	return machine.Program{Args: []string{"sh", "-c", command}}
}
func (m *fakeMachine) PowerShell(_ *sequence.RunPowerShell, file string) (machine.Program, error) {
	return machine.Program{Args: []string{"powershell", file}}, nil
}
func (m *fakeMachine) JoinDomain(ctx context.Context, _ *sequence.Domain) error {
	return m.op(ctx, "join")
}
func (m *fakeMachine) EnableBitLocker(ctx context.Context, _ string, _ *sequence.EnableBitLocker) (string, error) {
	return "111111-222222-333333-444444-555555-666666-777777-888888", m.op(ctx, "bitlocker")
}
func (m *fakeMachine) SuspendBitLocker(ctx context.Context, _ string, _ int) error {
	return m.op(ctx, "suspend")
}
func (m *fakeMachine) Sysprep(ctx context.Context, _, _, _ string) error { return m.op(ctx, "sysprep") }

// Run implements machine.Programs: the command line says how the program ends.
func (m *fakeMachine) Run(ctx context.Context, p machine.Program) (machine.Result, error) {
	command := p.Args[len(p.Args)-1]
	if err := m.op(ctx, "run "+command); err != nil {
		return machine.Result{}, err
	}
	text, code := command+"\n", 0
	if i := slices.IndexFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "CP_Secret=") }); i >= 0 {
		text += p.Env[i] + "\n"
	}
	if _, err := fmt.Sscanf(command, "exit %d", &code); err != nil {
		code = 0
	}
	if p.Output != nil {
		p.Output([]byte(text))
	}
	return machine.Result{Code: code, Tail: text}, nil
}

// unavailable is what a server answers that is being restarted.
var unavailable = &protocol.Problem{Status: http.StatusServiceUnavailable, Detail: "it restarts"}

// tempDir is a folder for a test. Wine lacks what Go takes folders away with, so
// what cannot be removed stays.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "castpoint-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
