package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"castpoint/test/image"
)

// demo is the part from the lab to the table.
type demo struct {
	*castpoint
	lab      *process // castpoint lab up
	address  string   // of the server
	content  string
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
	member string   // its name in the session
	out    string   // what it writes: a file, or the image of its disk
	proc   *process // nil for a virtual machine
	number int      // of a virtual machine
	off    bool     // a virtual machine that has switched itself off

	status  member
	stage   string
	verdict string
	err     error

	mu   sync.Mutex
	done time.Time // when it said that it has everything, verified
}

// doneLine is what castpoint receive says when all blocks and the whole object's hash
// are right and on disk.
var doneLine = regexp.MustCompile(`"event":"done"`)

// received is the stage of a virtual machine that has said the same.
const received = "received"

// finish notes when the machine was done.
func (m *machine) finish(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done.IsZero() {
		m.done = at
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

// labStatus is what the demo needs of castpoint lab status --json.
type labStatus struct {
	Ready  bool
	Server struct {
		Address string
		Log     string
	}
	Machines []struct {
		Number                     int
		Name, Firmware, MAC, Stage string
		On                         bool
		Since                      time.Time
		Disk, Line                 string
	}
}

// up starts the lab and waits until its machines are on.
func (d *demo) up(ctx context.Context, verbose bool, rate string) error {
	net := filepath.Join(d.dir, "net.yaml")
	if err := os.WriteFile(net, fmt.Appendf(nil, "clients: %d\noffload: true\n", clients), 0o600); err != nil {
		return err
	}
	var each func(string)
	if verbose {
		each = func(line string) { fmt.Println(line) }
	}
	// A disk has some room behind the image, as disks do.
	disk := (d.size+16<<20)>>30 + 1
	var err error
	// Its end is down's, and not ctx's: whoever interrupts wants it gone as well.
	d.lab, err = d.start(context.WithoutCancel(ctx), each, "lab", "up", "--plain", "--vms", "2", "--firmware", "bios,uefi", "--net", net,
		"--memory", "512", "--disk", fmt.Sprint(disk), "--data", d.data, "--",
		"--rate", rate, "--assign", d.content, "--target", "/dev/vda", "--after", "poweroff",
		// One session for all six: it waits until they are there.
		"--min-members", fmt.Sprint(clients+2), "--max-wait", "5m", "--kernel-args", "quiet")
	if err != nil {
		return err
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		var s labStatus
		if err := d.ask(ctx, &s, "lab", "status", "--json"); err == nil && s.Ready {
			d.address, d.started = s.Server.Address, time.Now()
			for _, vm := range s.Machines {
				d.machines = append(d.machines, &machine{name: vm.Firmware + "-vm", kind: "QEMU, PXE by " + strings.ToUpper(vm.Firmware),
					member: vm.MAC, out: vm.Disk, number: vm.Number, stage: "power on"})
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the lab is not ready: %w: %s", ctx.Err(), d.lab.said(12)), d.down())
		case <-d.lab.done:
			return fmt.Errorf("castpoint lab up: %w: %s", d.lab.err, d.lab.said(12))
		case <-tick.C:
		}
	}
}

// down removes the lab. It may be called more than once.
func (d *demo) down() error {
	if d.lab.ended() {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := d.run(ctx, "lab", "down"); err != nil {
		return err
	}
	<-d.lab.done
	return nil
}

// receive starts a client in a namespace.
func (d *demo) receive(ctx context.Context, host string) error {
	m := &machine{name: host, kind: "namespace", member: host, stage: "joining", out: filepath.Join(d.dir, host+".wim")}
	var t struct{ Token, Server, Pin string }
	if err := d.ask(ctx, &t, "token", "create", "--content", d.content, "--data", d.data, "--json"); err != nil {
		return err
	}
	var err error
	m.proc, err = d.start(ctx, func(line string) {
		if doneLine.MatchString(line) {
			m.finish(time.Now())
		}
	}, "lab", "exec", host, "--", d.program, "receive", d.content, "--server", "https://"+d.address+":8443",
		"--pin", t.Pin, "--token", t.Token, "--out", m.out, "--name", host, "--json")
	if err != nil {
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

// start orders sessions by when they began; those that wait are last.
func (s *session) start() int64 {
	if s.Began == nil {
		return math.MaxInt64
	}
	return s.Began.UnixNano()
}

type member struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	Complete int    `json:"complete"` // blocks
	Repaired int    `json:"repaired"` // blocks
	Unicast  int    `json:"unicast"`  // blocks
	Reason   string `json:"reason"`
}

// watch shows the machines until all have ended or one has failed.
func (d *demo) watch(ctx context.Context, s *screen) error {
	defer s.end()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		if d.lab.ended() {
			return fmt.Errorf("castpoint lab up has ended: %w: %s", d.lab.err, d.lab.said(12))
		}
		now, err := d.session(ctx)
		if err != nil {
			return d.late(ctx, err)
		}
		if err := d.update(ctx, now); err != nil {
			return d.late(ctx, err)
		}
		s.show(time.Since(d.started), now, d.machines)
		running := 0
		for _, m := range d.machines {
			switch {
			case m.proc == nil && !m.off || m.proc != nil && !m.proc.ended():
				running++
			case m.proc == nil && m.took(d.began) == 0:
				text, _ := d.run(ctx, "lab", "screen", fmt.Sprint(m.number))
				return fmt.Errorf("%s ended before it had everything; its screen:\n%s", m.name, text)
			case m.proc != nil && m.proc.err != nil:
				return fmt.Errorf("%s ended: %w: %s", m.name, m.proc.err, m.proc.said(5))
			}
		}
		if running == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return d.late(ctx, ctx.Err())
		case <-tick.C:
		}
	}
}

// late says who kept the demo waiting when its time is over.
func (d *demo) late(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	err = fmt.Errorf("not done in time: %w", ctx.Err())
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, m := range d.machines {
		switch {
		case m.proc == nil && !m.off:
			text, _ := d.run(ask, "lab", "screen", fmt.Sprint(m.number))
			err = fmt.Errorf("%w\n--- screen of %s (%s):\n%s", err, m.name, m.stage, text)
		case m.proc != nil && !m.proc.ended():
			err = fmt.Errorf("%w\n--- %s (%s) said last:\n%s", err, m.name, m.stage, m.proc.said(5))
		}
	}
	var s labStatus
	if d.ask(ask, &s, "lab", "status", "--json") == nil {
		err = fmt.Errorf("%w\n--- castpoint serve said last:\n%s", err, s.Server.Log)
	}
	return err
}

// session asks castpoint for the session; it is empty while there is none.
func (d *demo) session(ctx context.Context) (session, error) {
	var all []session
	if err := d.ask(ctx, &all, "session", "list", "--data", d.data, "--json"); err != nil || len(all) == 0 {
		return session{}, err
	}
	// Machines that are too slow for the session of the others get one of their own.
	slices.SortFunc(all, func(a, b session) int { return cmp.Compare(a.start(), b.start()) })
	first := all[0]
	for _, more := range all[1:] {
		first.Rate += more.Rate
		first.Members = append(first.Members, more.Members...)
	}
	return first, nil
}

// update asks the lab for its machines, and sorts the session's members to all.
func (d *demo) update(ctx context.Context, s session) error {
	if s.Began != nil {
		d.began = *s.Began
	}
	var now labStatus
	if err := d.ask(ctx, &now, "lab", "status", "--json"); err != nil {
		return err
	}
	for _, m := range d.machines {
		for _, have := range s.Members {
			if strings.EqualFold(have.Name, m.member) {
				m.status = have
			}
		}
		stage := ""
		for _, vm := range now.Machines {
			if m.proc == nil && vm.Number == m.number {
				m.off, stage = !vm.On, vm.Stage
				if vm.Stage == received {
					m.finish(vm.Since)
				}
			}
		}
		switch {
		case m.took(d.began) > 0:
			m.stage = "done"
		case m.status.State != "" && s.Began == nil:
			m.stage = "ready"
		case m.status.State != "":
			m.stage = m.status.State
		case stage != "":
			m.stage = stage
		}
	}
	return nil
}

// verify checks what every machine has on disk: the source's bytes, by the
// judgement of wimlib.
func (d *demo) verify(ctx context.Context) {
	for _, m := range d.machines {
		m.err = func() error {
			if m.proc == nil {
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
