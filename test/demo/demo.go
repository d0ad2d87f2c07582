package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"castpoint/internal/lab"
	"castpoint/test/image"
	"castpoint/test/point"
)

// demo is the part from the first machine's power-on to the table.
type demo struct {
	point    *point.Point
	content  point.Content
	wim      string    // path of the source
	size     int64     // of the source, bytes
	started  time.Time // when the machines were
	began    time.Time // when the session sent its first datagram
	machines []*machine
}

// A machine is one of the six that receive.
type machine struct {
	name   string
	kind   string
	member string // its name in the session
	out    string // what it writes: a file, or the image of its disk
	proc   *lab.Process
	vm     *lab.VM // nil for a client in a namespace

	status  member
	stage   string
	verdict string
	err     error

	mu   sync.Mutex
	done time.Time // when it said that it has everything, verified
}

// doneLine is what castpoint receive and the agent say when all blocks and the
// whole object's hash are right and on disk.
var doneLine = regexp.MustCompile(`"event":"done"|^sha256 [0-9a-f]+, every block verified`)

// listen notes when the machine is done and passes on what it says.
func (m *machine) listen(echo func(string)) func(string) {
	return func(line string) {
		if doneLine.MatchString(line) {
			m.mu.Lock()
			m.done = time.Now()
			m.mu.Unlock()
		}
		if echo != nil {
			echo(line)
		}
	}
}

// took is the time from the session's start until the machine was done.
func (m *machine) took(began time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done.IsZero() {
		return 0
	}
	return m.done.Sub(began)
}

// boot starts a virtual machine with an empty disk.
func (d *demo) boot(ctx context.Context, fw lab.Firmware, accel string, echo func(string)) error {
	m := &machine{name: strings.ToLower(string(fw)) + "-vm", kind: "QEMU, PXE by " + string(fw), stage: "power on"}
	m.out = filepath.Join(d.point.Network.Dir, m.name+".disk")
	f, err := os.Create(m.out)
	if err != nil {
		return err
	}
	// A disk has whole MiB and some room behind the image, as disks do.
	if err := errors.Join(f.Truncate((d.size>>20+16)<<20), f.Close()); err != nil {
		return err
	}
	m.vm, err = d.point.Network.Boot(ctx, lab.Machine{Name: m.name, Firmware: fw, Disk: m.out, Accel: accel, Echo: m.listen(echo)})
	if err != nil {
		return err
	}
	m.proc, m.member = m.vm.Process, m.vm.MAC
	d.machines = append(d.machines, m)
	return nil
}

// receive starts a client in a namespace.
func (d *demo) receive(ctx context.Context, h *lab.Host) error {
	m := &machine{name: h.Name, kind: "namespace", member: h.Name, stage: "joining",
		out: filepath.Join(d.point.Network.Dir, h.Name+".wim")}
	token, err := d.point.Token(ctx, d.content.ID)
	if err != nil {
		return err
	}
	if m.proc, err = d.point.Receive(h, m.listen(nil), d.content.ID, token, m.out, "--name", h.Name); err != nil {
		return err
	}
	d.machines = append(d.machines, m)
	return nil
}

// session and member are the parts of castpoint session list --json that the
// demo shows.
type session struct {
	State   string     `json:"state"`
	Rate    float64    `json:"rate"` // bits per second
	Blocks  int        `json:"blocks"`
	Began   *time.Time `json:"began"`
	WaitFor int        `json:"wait_for"`
	Members []member   `json:"members"`
}

type member struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Complete int    `json:"complete"` // blocks
	Repaired int    `json:"repaired"` // blocks
	Unicast  int    `json:"unicast"`  // blocks
	Reason   string `json:"reason"`
}

// stages are what a virtual machine's console shows on its way; the last that
// was shown counts.
var stages = []struct {
	name    string
	pattern *regexp.Regexp
}{
	{"firmware", regexp.MustCompile(`SeaBIOS|BdsDxe|PXE over IPv4`)},
	{"iPXE", regexp.MustCompile(`iPXE \d|iPXE initialising`)},
	{"loading Linux", regexp.MustCompile(`Loading the kernel`)},
	{"Linux", regexp.MustCompile(`boot environment, kernel`)},
	{"agent", regexp.MustCompile(`starting the agent`)},
}

// watch shows the machines until all have ended or one has failed.
func (d *demo) watch(ctx context.Context, s *screen) error {
	defer s.end()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := d.session(ctx)
		if err != nil {
			return err
		}
		d.update(now)
		s.show(time.Since(d.started), now, d.machines)
		running := 0
		for _, m := range d.machines {
			select {
			case <-m.proc.Done():
				if m.vm == nil {
					if code, err := m.proc.Wait(ctx); err != nil || code != 0 {
						return fmt.Errorf("%s ended with exit code %d: %w: %s", m.name, code, err, m.proc.Output.Tail(5))
					}
				} else if m.took(d.began) == 0 {
					return fmt.Errorf("%s ended before it had everything; its console:\n%s", m.name, m.proc.Output.Tail(25))
				}
			default:
				running++
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return d.late(ctx)
		case <-tick.C:
		}
	}
}

// late says who kept the demo waiting.
func (d *demo) late(ctx context.Context) error {
	err := fmt.Errorf("not done in time: %w", ctx.Err())
	for _, m := range d.machines {
		select {
		case <-m.proc.Done():
		default:
			err = fmt.Errorf("%w\n--- %s (%s) said last:\n%s", err, m.name, m.stage, m.proc.Output.Tail(12))
		}
	}
	return fmt.Errorf("%w\n--- castpoint serve said last:\n%s", err, d.point.Server.Output.Tail(12))
}

// session asks castpoint for the one session; it is empty while there is none.
func (d *demo) session(ctx context.Context) (session, error) {
	out, err := d.point.Run(ctx, "session", "list", "--data", d.point.Data, "--json")
	if err != nil {
		return session{}, err
	}
	var all []session
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return session{}, fmt.Errorf("castpoint session list: %w: %s", err, out)
	}
	if len(all) == 0 {
		return session{}, nil
	}
	return all[0], nil
}

// update sorts the session's members to the machines.
func (d *demo) update(s session) {
	if s.Began != nil {
		d.began = *s.Began
	}
	for _, m := range d.machines {
		for _, have := range s.Members {
			if strings.EqualFold(have.Name, m.member) {
				m.status = have
			}
		}
		switch {
		case m.took(d.began) > 0:
			m.stage = "done"
			continue
		case m.status.State != "" && s.Began == nil:
			m.stage = "ready"
			continue
		case m.status.State != "":
			m.stage = m.status.State
			continue
		}
		if m.vm != nil {
			said := m.vm.Output.String()
			for _, st := range stages {
				if st.pattern.MatchString(said) {
					m.stage = st.name
				}
			}
		}
	}
}

// verify checks what every machine has on disk: the source's bytes, by the
// judgement of wimlib.
func (d *demo) verify(ctx context.Context) {
	for _, m := range d.machines {
		m.err = func() error {
			if m.vm != nil {
				if err := os.Truncate(m.out, d.size); err != nil {
					return err
				}
			}
			if err := image.Same(d.wim, m.out); err != nil {
				return err
			}
			return image.Verify(ctx, m.out)
		}()
		m.verdict = "wimlib-imagex verify: ok"
		if m.err != nil {
			m.verdict = "BAD: " + m.err.Error()
		}
	}
}

func (d *demo) failure() error {
	for _, m := range d.machines {
		if m.err != nil {
			return fmt.Errorf("%s did not get what was sent: %w", m.name, m.err)
		}
	}
	return nil
}

func (d *demo) table(w io.Writer) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "machine\tbooted\ttime s\tMbit/s\tblocks repaired\tby unicast\twhat it got")
	for _, m := range d.machines {
		took, rate := m.took(d.began).Seconds(), 0.0
		if took > 0 {
			rate = float64(d.size) * 8 / 1e6 / took
		}
		fmt.Fprintf(t, "%s\t%s\t%.1f\t%.0f\t%d\t%d\t%s\n", m.name, m.kind, took, rate,
			m.status.Repaired, m.status.Unicast, m.verdict)
	}
	_ = t.Flush()
}
