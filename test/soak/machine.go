package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"castpoint/agent/protocol"
	"castpoint/internal/lab"
	"castpoint/test/client"
	"castpoint/test/image"
)

// machine is one of those that live in the network.
type machine struct {
	*soak
	host  *lab.Host
	rand  *rand.Rand
	dhcp  *client.DHCP
	self  client.Identity
	lease client.Lease // the last that was confirmed
	count int          // of receives, for the names of their files
}

// How many machines at a time do what needs programs, or connections that last.
const (
	receivesAtOnce = 4
	runsAtOnce     = 8
)

// live has the machine do one thing after the other until ctx ends.
func (m *machine) live(ctx context.Context) {
	deeds := []struct {
		weight int
		do     func(context.Context)
	}{
		{20, m.boot}, {20, m.fetchTFTP}, {20, m.fetchHTTP}, {8, m.stranger}, {10, m.rubbish}, {4, m.receive}, {5, m.run}, {6, m.dead},
	}
	sum := 0
	for _, d := range deeds {
		sum += d.weight
	}
	for ctx.Err() == nil {
		at := m.rand.IntN(sum)
		for _, d := range deeds {
			if at -= d.weight; at < 0 {
				d.do(ctx)
				break
			}
		}
	}
}

// done counts a deed by its error. Those that ended because the soak did do not count.
func (m *machine) done(ctx context.Context, kind string, began time.Time, err error) bool {
	switch {
	case err == nil:
		m.tally.right(kind)
		return true
	case ctx.Err() == nil:
		m.tally.failed(kind, began, fmt.Errorf("%s: %w", m.host.Name, err))
	}
	return false
}

// dead is a machine without power.
func (m *machine) dead(ctx context.Context) {
	select {
	case <-time.After(time.Duration(m.rand.IntN(3000)) * time.Millisecond):
	case <-ctx.Done():
	}
}

// boot gets an address, or keeps the one that the machine has, and asks what to boot.
func (m *machine) boot(ctx context.Context) {
	began := time.Now()
	old := m.lease
	var l client.Lease
	var err error
	kind := "DHCP"
	if renew := m.rand.IntN(3) == 0 && time.Now().Before(old.Until.Add(-10*time.Second)); renew {
		kind = "DHCP renewal"
		l, err = m.dhcp.Renew(ctx, m.self, old)
	} else {
		l, err = m.dhcp.Lease(ctx, m.self)
	}
	if !m.done(ctx, kind, began, err) {
		return
	}
	m.confirmed(m.self, l)
	m.lease = l
	if m.rand.IntN(4) == 0 {
		m.promises.forget(l.Address)
		m.lease = client.Lease{}
		if err := m.dhcp.Tell(m.self, dhcpv4.MessageTypeRelease, l); err != nil {
			m.tally.fault("release: %w", err)
		}
	}
	began = time.Now()
	file, err := m.dhcp.Boot(ctx, m.self, m.host.Addr)
	if !m.done(ctx, "DHCP port 4011", began, err) {
		return
	}
	if m.rand.IntN(2) == 0 {
		m.tftp(ctx, file, "")
	}
}

func (m *machine) confirmed(i client.Identity, l client.Lease) {
	if err := m.promises.lease(i.MAC.String(), l); err != nil {
		m.tally.fault("DHCP: %w", err)
	}
}

// strangersAtOnce bounds the addresses that strangers have, so that the pool always
// has one for each machine.
const strangersAtOnce = 60

// stranger is somebody who was never seen, gets an address, and goes: with a word or
// without, or because the address is in use.
func (m *machine) stranger(ctx context.Context) {
	if m.promises.held() > strangersAtOnce+len(m.machines) {
		return
	}
	i := rubbish{m.rand}.stranger()
	i.MAC[3] = m.host.MAC[5] // nobody is in two places: one would give back what the other has
	copy(i.UUID[8:], i.MAC)
	began := time.Now()
	l, err := m.dhcp.Lease(ctx, i)
	if !m.done(ctx, "DHCP of strangers", began, err) {
		return
	}
	m.confirmed(i, l)
	kind := dhcpv4.MessageTypeRelease
	switch m.rand.IntN(8) {
	case 0: // more than there are addresses, in the end
		kind = dhcpv4.MessageTypeDecline
	case 1, 2, 3:
		return
	}
	m.promises.forget(l.Address)
	if err := m.dhcp.Tell(i, kind, l); err != nil {
		m.tally.fault("%s: %w", kind, err)
	}
}

func (m *machine) rubbish(ctx context.Context) {
	if err := (rubbish{m.rand}).throw(ctx, m.host, m.files[0].name); err != nil {
		m.tally.fault("rubbish: %w", err)
		return
	}
	m.tally.left("rubbish")
}

// fetchTFTP reads one of the boot files.
func (m *machine) fetchTFTP(ctx context.Context) {
	f := m.files[m.rand.IntN(len(m.files))]
	m.tftp(ctx, f.name, f.sha256)
}

// tftp reads a file with some set of options, to the end or not; sha256 may be "".
func (m *machine) tftp(ctx context.Context, name, sha256 string) {
	o := client.TFTP{Size: m.rand.IntN(2) == 0, BlockSize: []int{0, 512, 1024, 1432, 1456, 1468, 8192, 65464}[m.rand.IntN(8)],
		Window: []int{0, 1, 4, 8, 16, 64}[m.rand.IntN(6)]}
	if sha256 == m.files[len(m.files)-1].sha256 { // the large one in lock-step takes too long
		o.BlockSize, o.Window = max(o.BlockSize, 1024), max(o.Window, 8)
	}
	if m.rand.IntN(4) == 0 {
		o.Abandon, o.Polite = 1+m.rand.Int64N(1<<20), m.rand.IntN(2) == 0
	}
	if m.rand.IntN(30) == 0 {
		name, sha256 = "no/such/file", ""
	}
	began := time.Now()
	f, err := o.Fetch(ctx, m.host, lab.ServerAddr, name)
	if name == "no/such/file" && client.IsStated(err) {
		m.tally.refused("TFTP")
		return
	}
	if err == nil && f.Abandoned {
		m.tally.left("TFTP")
		return
	}
	if m.done(ctx, "TFTP", began, err) && sha256 != "" && f.SHA256 != sha256 {
		m.tally.fault("TFTP of %s brought %d bytes of another file", name, f.Bytes)
	}
}

// fetchHTTP reads one of the boot files, or a part of it.
func (m *machine) fetchHTTP(ctx context.Context) {
	f := m.files[m.rand.IntN(len(m.files))]
	want, o := f.sha256, client.HTTP{}
	switch m.rand.IntN(6) {
	case 0:
		from := m.rand.Int64N(f.size)
		to := from + m.rand.Int64N(f.size-from)
		o.Range, want = fmt.Sprintf("bytes=%d-%d", from, to), f.part(from, to+1)
	case 1:
		o.Range, want = fmt.Sprintf("bytes=-%d", 1+m.rand.Int64N(1000)), ""
	case 2:
		o.Abandon = 1 + m.rand.Int64N(f.size)
	case 3:
		o.Range = fmt.Sprintf("bytes=%d-", f.size+m.rand.Int64N(1<<40))
	}
	began := time.Now()
	got, err := o.Fetch(ctx, m.host, lab.ServerAddr, f.name)
	var s *client.Stated
	if errors.As(err, &s) && strings.Contains(s.By, "416") {
		m.tally.refused("HTTP")
		return
	}
	if err == nil && got.Abandoned {
		m.tally.left("HTTP")
		return
	}
	if m.done(ctx, "HTTP", began, err) && want != "" && got.SHA256 != want {
		m.tally.fault("HTTP of %s %s brought %d bytes that are not its", f.name, o.Range, got.Bytes)
	}
}

// run boots the machine and runs the task sequence; now and then its power goes.
func (m *machine) run(ctx context.Context) {
	select {
	case m.runs <- struct{}{}:
		defer func() { <-m.runs }()
	default:
		return
	}
	began := time.Now()
	power, cut := context.WithTimeout(ctx, runPatience)
	defer cut()
	fails := m.rand.IntN(3) == 0
	if fails {
		power, cut = context.WithTimeout(ctx, time.Duration(m.rand.IntN(1500))*time.Millisecond)
		defer cut()
	}
	a := client.NewAgent(m.host, m.self.MAC.String())
	a.Pause = time.Duration(m.rand.IntN(300)) * time.Millisecond
	err := a.Run(power)
	if fails && power.Err() != nil {
		m.tally.left("task sequence")
		return
	}
	if m.done(ctx, "task sequence", began, err) {
		m.promises.ran(m.deviceName())
	}
}

// runPatience is how long a run may take: a restart of the server, a full disk and
// a pulled cable one after the other.
const runPatience = 3 * time.Minute

func (m *machine) deviceName() string { return "pc-" + strings.TrimPrefix(m.host.Name, "client") }

// receive gets the image by castpoint receive, which is killed and started again now
// and then, and has to be right in the end.
func (m *machine) receive(ctx context.Context) {
	select {
	case m.receives <- struct{}{}:
		defer func() { <-m.receives }()
	default:
		return
	}
	began := time.Now()
	m.count++
	out := filepath.Join(m.network.Dir, fmt.Sprintf("%s-%d.wim", m.host.Name, m.count))
	defer func() {
		left, _ := filepath.Glob(out + "*")
		for _, f := range left {
			_ = os.Remove(f)
		}
	}()
	limit, cancel := context.WithTimeout(ctx, receivePatience)
	defer cancel()
	err := m.received(limit, out)
	if ctx.Err() != nil {
		return
	}
	m.done(ctx, "multicast", began, err)
}

// receivePatience is how long a receive may take with all that happens to it.
const receivePatience = 4 * time.Minute

// received starts the program until it has ended well.
func (m *machine) received(ctx context.Context, out string) error {
	token, err := m.token(ctx)
	if err != nil {
		return err
	}
	args := []string{"--name", m.host.Name}
	if m.rand.IntN(2) == 0 {
		args = append(args, "--no-unicast")
	}
	for {
		proc, err := m.user.Receive(m.host, nil, m.image.id, token, out, args...)
		if err != nil {
			return err
		}
		if m.rand.IntN(2) == 0 {
			killed := time.AfterFunc(time.Duration(m.rand.IntN(4000))*time.Millisecond, func() { _ = proc.Signal(os.Kill) })
			defer killed.Stop()
		}
		code, err := proc.Wait(ctx)
		if err != nil {
			return err
		}
		same := image.Same(m.image.path, out)
		said := proc.Output.String()
		switch {
		case same == nil:
			return nil // with code 1 it was killed when the file was in place
		case code == 0:
			m.tally.fault("castpoint receive ended well: %w", same)
			return nil
		case code == -1, code == 3: // killed, or interrupted with blocks kept
		case code == 5 && (strings.Contains(said, "already used") || strings.Contains(said, protocol.CodeTicketUnknown)):
			if token, err = m.token(ctx); err != nil {
				return err
			}
		case m.weather.excuse(time.Now().Add(-proc.Took()), time.Now()) != "":
			select { // it says why, and is started again
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return fmt.Errorf("castpoint receive ended with code %d: %s", code, proc.Output.Tail(5))
		}
	}
}

// token makes a token, by a command that works whether a server runs or not; while
// one starts or dies it may not.
func (m *machine) token(ctx context.Context) (string, error) {
	for {
		began := time.Now()
		token, err := m.user.Token(ctx, m.image.id)
		if err == nil {
			return token, nil
		}
		if m.weather.excuse(began, time.Now()) == "" || ctx.Err() != nil {
			return "", err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", errors.Join(ctx.Err(), err)
		}
	}
}

// newMachine gives a host the socket and the identity of its machine.
func (s *soak) newMachine(number int, h *lab.Host) (*machine, error) {
	m := &machine{soak: s, host: h, rand: rand.New(rand.NewPCG(s.seed, uint64(number))),
		self: client.Identity{MAC: h.MAC, Arch: []iana.Arch{iana.EFI_X86_64, iana.INTEL_X86PC}[number%2]}}
	copy(m.self.UUID[:], fmt.Sprintf("machine %8d", number))
	var err error
	m.dhcp, err = client.OpenDHCP(h)
	return m, err
}
