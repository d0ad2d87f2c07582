package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"castpoint/internal/lab"
)

// readyLimit is how long the server of a lab may take until it is ready.
const readyLimit = time.Minute

// adminPort is that of the admin listener, on the server's loopback.
const adminPort = 8069

// User is who may log in at the console of a lab.
const User = "lab"

// other is the last number of the address of a DHCP server beside castpoint.
const other = 2

// Options are what castpoint lab up is asked for.
type Options struct {
	Program  string // castpoint
	Net      *Net
	Machines []Kind
	Memory   int      // MiB of each machine
	Disk     int64    // bytes of each machine's disk; what is not written takes no room
	Data     string   // of the server; "" makes a folder that goes with the lab
	Serve    []string // arguments of castpoint serve
	Password string   // of User
	Out      io.Writer
	Plain    bool // screens line by line, whatever Out is
}

// Kind is what a machine starts with.
type Kind struct {
	Name    string // as people write it: bios, uefi, uefi-http, uefi-secure
	Machine lab.Machine
}

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{
		{"bios", lab.Machine{Firmware: lab.BIOS}},
		{"uefi", lab.Machine{Firmware: lab.UEFI}},
		{"uefi-http", lab.Machine{Firmware: lab.UEFI, HTTP: true}},
		{"uefi-secure", lab.Machine{Firmware: lab.UEFISecure}},
	}
}

// Bed is a running lab with a server and machines.
type Bed struct {
	network *lab.Network
	options Options
	started time.Time
	said    sync.Mutex // of options.Out

	// What is asked for while the lab is made.
	mu       sync.Mutex
	server   *lab.Process
	door     net.Listener // of this host, for browsers
	accel    string
	machines []*Machine
	ready    bool
	hosts    map[string]string // namespaces by the names of hosts

	control   *http.Server
	answering chan struct{} // closed when control has ended
}

// Machine is one of a bed.
type Machine struct {
	Number int
	Name   string
	Kind   string
	Disk   string // path of the image

	screen   *Screen
	progress *progress

	mu sync.Mutex
	vm *lab.VM // another one each time that it is switched on
}

// now is the machine as it is switched on now.
func (m *Machine) now() *lab.VM {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.vm
}

// on says whether it runs.
func (m *Machine) on() bool {
	select {
	case <-m.now().Done():
		return false
	default:
		return true
	}
}

// Start makes the network, starts the server and the machines. The caller closes the
// bed; when Start fails there is nothing to close.
func Start(ctx context.Context, o Options) (b *Bed, err error) {
	n, err := lab.New(ctx, o.Net.lab())
	if err != nil {
		return nil, err
	}
	b = &Bed{network: n, options: o, started: time.Now(), hosts: map[string]string{"server": n.Server.Namespace, "switch": n.Switch.Namespace}}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	for _, h := range n.Clients {
		b.hosts[h.Name] = h.Namespace
	}
	if b.options.Data == "" {
		b.options.Data = filepath.Join(n.Dir, "data")
	}
	// From here on other commands can ask what is going on.
	if err := b.listen(); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	accel := n.Accelerator(ctx)
	b.mu.Lock()
	b.accel = accel
	b.mu.Unlock()
	arguments, err := b.segments(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.serve(ctx, arguments); err != nil {
		return nil, err
	}
	for _, line := range b.Head() {
		b.say("%s", line)
	}
	b.say("starting %d machines, %s", len(o.Machines), How(accel))
	for i, k := range o.Machines {
		if err := b.boot(ctx, i+1, k); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	b.ready = true
	b.mu.Unlock()
	return b, nil
}

// How says for people how machines run.
func How(accel string) string {
	if accel == "kvm" {
		return "by KVM"
	}
	return "in software, because KVM does not work here: their firmware takes some 20 s"
}

func (b *Bed) say(format string, args ...any) {
	b.said.Lock()
	defer b.said.Unlock()
	fmt.Fprintf(b.options.Out, format+"\n", args...)
}

// boot starts one machine.
func (b *Bed) boot(ctx context.Context, number int, k Kind) error {
	m := &Machine{Number: number, Name: fmt.Sprintf("%d-%s", number, k.Name), Kind: k.Name,
		Disk:   filepath.Join(b.network.Dir, fmt.Sprintf("disk%d", number)),
		screen: NewScreen(), progress: newProgress()}
	f, err := os.Create(m.Disk)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(b.options.Disk), f.Close()); err != nil {
		return err
	}
	what := k.Machine
	what.Name, what.Memory, what.Accel, what.Disk = m.Name, b.options.Memory, b.accel, m.Disk
	what.Restarts, what.IPv6, what.Link = true, b.options.Net.IPv6, b.options.Net.Link(number)
	what.Console = io.MultiWriter(m.screen, m.progress)
	if f, ok := b.options.Out.(*os.File); !ok || b.options.Plain || !term.IsTerminal(int(f.Fd())) {
		what.Console = io.MultiWriter(what.Console, &echo{mu: &b.said, out: b.options.Out, name: m.Name})
	}
	if m.vm, err = b.network.Boot(ctx, what); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.machines = append(b.machines, m)
	return nil
}

// run runs a command of the program on the server.
func (b *Bed) run(ctx context.Context, input string, args ...string) (string, error) {
	p, err := b.network.Server.Start(lab.Command{Args: append([]string{b.options.Program}, args...), Input: input != "",
		Env: []string{"TMPDIR=" + b.network.Dir}}) // what it leaves when it is killed goes with the lab
	if err != nil {
		return "", err
	}
	if input != "" {
		_, err = io.WriteString(p.Input, input)
		if err = errors.Join(err, p.Input.Close()); err != nil {
			return "", err
		}
	}
	code, err := p.Wait(ctx)
	if err == nil && code != 0 {
		err = fmt.Errorf("castpoint %s: %s", strings.Join(args, " "), strings.TrimSpace(p.Output.String()))
	}
	return p.Stdout.String(), err
}

// prepare makes sure that there is something to boot.
func (b *Bed) prepare(ctx context.Context) error {
	data := b.options.Data
	text, err := b.run(ctx, "", "content", "list", "--json", "--data", data)
	if err != nil {
		return err
	}
	var list []struct{ Kind string }
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return fmt.Errorf("castpoint content list: %w", err)
	}
	for _, c := range list {
		if c.Kind == "boot-image" {
			return nil
		}
	}
	b.say("making a boot environment of this host's kernel")
	dir := filepath.Join(b.network.Dir, "bootenv")
	if _, err := b.run(ctx, "", "bootenv", "build", "--out", dir); err != nil {
		return err
	}
	_, err = b.run(ctx, "", "content", "add", "boot-image", "--kernel", filepath.Join(dir, "vmlinuz"), "--initrd", filepath.Join(dir, "initrd"),
		"--arch", "amd64", "--name", "linux", "--data", data)
	return err
}

// segments makes the networks that the machines are in, and says how the server is
// told of them.
func (b *Bed) segments(ctx context.Context) ([]string, error) {
	pool := func(server [4]byte) string {
		return fmt.Sprintf("%d.%d.%d.100-%d.%d.%d.199", server[0], server[1], server[2], server[0], server[1], server[2])
	}
	args := []string{"--interface", "eth0"}
	var pools []string
	own := b.options.Net.DHCP == DHCPCastpoint
	if own {
		pools = append(pools, "--pool", pool(lab.ServerAddr.As4()))
	}
	seen := map[int]bool{0: true}
	for i := range b.options.Machines {
		id := b.options.Net.Link(i + 1).VLAN
		if seen[id] {
			continue
		}
		seen[id] = true
		s, err := b.network.VLAN(ctx, id)
		if err != nil {
			return nil, err
		}
		args = append(args, "--interface", s.Interface)
		pools = append(pools, "--pool", pool(s.Server.As4()))
	}
	if !own {
		return append(args, "--dhcp", "proxy"), b.foreign(ctx)
	}
	args = append(append(args, "--dhcp", "server"), pools...)
	if b.options.Net.IPv6 {
		args = append(args, "--dhcp6", "--pool6", "fd77::1000-fd77::1fff")
	}
	return args, nil
}

// foreign starts dnsmasq, which gives addresses beside castpoint.
func (b *Bed) foreign(ctx context.Context) error {
	h, err := b.network.AddHost(ctx, "dhcp", other, 0)
	if err != nil {
		return err
	}
	b.hosts[h.Name] = h.Namespace
	args := []string{"dnsmasq", "--keep-in-foreground", "--log-facility=-", "--conf-file=/dev/null", "--pid-file=", "--port=0", "--user=root",
		"--interface=eth0", "--dhcp-leasefile=" + filepath.Join(b.network.Dir, "dnsmasq.leases"), "--dhcp-range=10.77.0.200,10.77.0.240,1h"}
	if b.options.Net.IPv6 {
		args = append(args, "--enable-ra", "--dhcp-range=fd77::2000,fd77::2fff,64,1h")
	}
	p, err := h.Start(lab.Command{Args: args})
	if err != nil {
		return err
	}
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err := p.WaitUDP(ready, 67); err != nil {
		return fmt.Errorf("dnsmasq in the lab: %w", err)
	}
	return nil
}

// serve starts castpoint serve, waits until it is ready, and makes a user of its
// console.
func (b *Bed) serve(ctx context.Context, args []string) error {
	// Settings of the host are those of its own server; another file can be named.
	args = append([]string{b.options.Program, "serve", "--config", os.DevNull, "--data", b.options.Data}, args...)
	for i, k := range b.options.Machines {
		// This firmware starts nothing but the signed chain.
		if k.Machine.Firmware == lab.UEFISecure {
			args = append(args, "--chain", b.network.NextMAC(i)+"=grub")
		}
	}
	// Emulated machines on a busy host are too slow for the kernel to find its timer.
	args = append(args, "--kernel-args", "console=ttyS0", "--kernel-args", "no_timer_check")
	server, err := b.network.Server.Start(lab.Command{Args: append(args, b.options.Serve...), Output: io.Discard})
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.server = server
	b.mu.Unlock()
	ready, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if err := server.WaitTCP(ready, adminPort); err != nil {
		return fmt.Errorf("castpoint serve in the lab: %w", err)
	}
	door, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("a port for the console: %w", err)
	}
	b.mu.Lock()
	b.door = door
	b.mu.Unlock()
	// A library that was in a lab before has the user already.
	data, password := []string{"--data", b.options.Data}, b.options.Password+"\n"
	if _, err := b.run(ctx, password, append([]string{"access", "user", "add", User, "--scope", "admin"}, data...)...); err != nil {
		if _, again := b.run(ctx, password, append([]string{"access", "user", "set", User, "--scope", "admin", "--password"}, data...)...); again != nil {
			return fmt.Errorf("make a user of the console: %w", err)
		}
	}
	return nil
}

// Head is what people need to know of the lab.
func (b *Bed) Head() []string {
	return []string{
		fmt.Sprintf("castpoint at %s in a closed network; from another shell: castpoint status --data %s", b.network.Server.Addr, b.options.Data),
		fmt.Sprintf("its console: http://%s, user %s, password %s", b.door.Addr(), User, b.options.Password),
	}
}

// Run answers at the lab's doors until the server has ended, ctx ends, or, with
// untilOff, all machines are off.
func (b *Bed) Run(ctx context.Context, untilOff bool) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	group.Go(func() error { return b.forward(ctx) })
	group.Go(func() error {
		defer done()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-b.server.Done():
				return fmt.Errorf("castpoint serve in the lab has ended: %s", b.server.Output.Tail(10))
			case <-tick.C:
			}
			if untilOff && !b.anyOn() {
				return nil
			}
		}
	})
	return group.Wait()
}

func (b *Bed) anyOn() bool {
	for _, m := range b.machines {
		if m.on() {
			return true
		}
	}
	return false
}

// Close removes everything.
func (b *Bed) Close() error {
	if b.control != nil {
		_ = b.control.Close()
		<-b.answering
	}
	if b.door != nil {
		_ = b.door.Close()
	}
	return b.network.Close()
}

// forward brings connections of this host to the console in the lab.
func (b *Bed) forward(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	defer context.AfterFunc(ctx, func() { _ = b.door.Close() })()
	for {
		outer, err := b.door.Accept()
		if err != nil {
			return group.Wait() // closed
		}
		group.Go(func() error {
			defer outer.Close()
			var inner net.Conn
			err := b.network.Server.Do(func() (err error) {
				inner, err = (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", adminPort))
				return err
			})
			if err != nil {
				return nil // the browser sees it
			}
			defer inner.Close()
			defer context.AfterFunc(ctx, func() { _ = inner.Close(); _ = outer.Close() })()
			back := make(chan struct{})
			go func() {
				defer close(back)
				_, _ = io.Copy(outer, inner)
				_ = outer.Close()
			}()
			_, _ = io.Copy(inner, outer)
			_ = inner.Close()
			<-back
			return nil
		})
	}
}
